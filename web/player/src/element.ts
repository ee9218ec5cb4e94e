// <live-edge-player>: one camera at its live edge, for any page. Its reference is docs/player.md.

import { ControlButtons } from "./control-buttons.ts";
import { gatewayNow } from "./core/clock-sync.ts";
import { translate } from "./core/i18n.ts";
import { recordedRendition } from "./core/rendition.ts";
import { type Statistics, StatsTracker } from "./core/stats.ts";
import { DigitalZoom } from "./digital-zoom.ts";
import css from "./element.css?inline";
import { LiveControl } from "./live-control.ts";
import { createPart, Overlay } from "./overlay.ts";
import { keepFloating } from "./picture-in-picture.ts";
import { PlayerAttributes, PROPERTIES } from "./player-attributes.ts";
import { isSameState, liveState, type PlayerState, pausedState, recordingState } from "./player-state.ts";
import { Poster } from "./poster.ts";
import { Presence } from "./presence.ts";
import { RecordingControl } from "./recording-control.ts";
import { toBlob } from "./snapshot.ts";
import { TalkButton } from "./talk-button.ts";
import { Visibility } from "./visibility.ts";

let sheet: CSSStyleSheet | null = null;

// A constructed sheet and not a <style>: the content security policy of a page need not allow inline styles.
function styles(): CSSStyleSheet {
  if (!sheet) {
    sheet = new CSSStyleSheet();
    sheet.replaceSync(css);
  }
  return sheet;
}

const STATISTICS_INTERVAL_MS = 1000;

/** The events of the element, by name. */
export interface LiveEdgePlayerEventMap extends HTMLElementEventMap {
  statechange: CustomEvent<PlayerState>;
  statistics: CustomEvent<Statistics>;
}

export interface LiveEdgePlayer {
  addEventListener<Name extends keyof LiveEdgePlayerEventMap>(
    type: Name,
    listener: (this: LiveEdgePlayer, event: LiveEdgePlayerEventMap[Name]) => unknown,
    options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject,
    options?: boolean | AddEventListenerOptions,
  ): void;
}

declare global {
  interface HTMLElementTagNameMap {
    "live-edge-player": LiveEdgePlayer;
  }
}

/**
 * One camera at its live edge.
 *
 * @tag live-edge-player
 *
 * @attr {string} [camera=default] - id of the camera
 * @attr {string} src - URL of the gateway; by default, the one that served `player.js`, or with the package from npm, the origin of the page
 * @attr {string} [transports=webrtc hls jpeg mjpeg] - the transports that may be used
 * @attr {"whep" | "socketio"} [signaling=whep] - how a WebRTC connection is made
 * @attr {string} token - bearer token, if the gateway requires one
 * @attr {"true" | "false"} [muted=true] - no sound
 * @attr {"auto" | "main" | "sub"} [rendition=auto] - the stream of the camera: `auto` chooses by size and network
 * @attr {boolean} controls - buttons for sound, full screen and picture-in-picture, for the stream where there are two, and for zoom
 * @attr {boolean} zoom - digital zoom, by two fingers, the wheel with Ctrl, and keys
 * @attr {boolean} talk - a button to talk to the camera, held while one speaks, if the camera has a back channel and the token the scope `talk`
 * @attr {"en" | "ko"} lang - by default the language of the browser
 *
 * @fires {CustomEvent<PlayerState>} statechange - `state` has changed in more than its latency; bubbles
 * @fires {CustomEvent<Statistics>} statistics - once a second during playback. A recording has no latency and no loss
 *
 * @csspart surfaces - the box of the picture
 * @csspart surface - each `<video>` or `<canvas>` in it
 * @csspart poster - the newest snapshot, until the first frame
 * @csspart badge - state and transport
 * @csspart notice - why the picture is missing, or not as good as it could be
 * @csspart controls - the buttons of `controls`
 * @csspart talk - the button of `talk`
 * @csspart talk-message - the message of that button
 *
 * @cssprop [--live-edge-fit=contain] - `cover` crops the video to fill the element
 * @cssprop [--live-edge-font-size=14px] - the size of the text
 * @cssprop [--live-edge-bottom=0] - moves the notice up, to leave space for a caption
 * @cssprop [--live-edge-notice-lines=none] - cuts the notice off after so many lines
 */
// biome-ignore lint/suspicious/noUnsafeDeclarationMerging: as lib.dom.d.ts types the events of an element
export class LiveEdgePlayer extends PlayerAttributes {
  static readonly observedAttributes = [...PROPERTIES, "signaling", "lang", "controls", "talk", "zoom"];

  private readonly root = this.attachShadow({ mode: "open", delegatesFocus: true });
  private readonly poster = new Poster();
  private readonly overlay = new Overlay();
  private readonly surfaces = createPart("div", "surfaces");
  private readonly stats = new StatsTracker();
  private readonly digitalZoom = new DigitalZoom(this, this.surfaces, () => {
    // The stream that fits is another one, perhaps.
    this.visibility.sizeChanged();
    this.controlButtons.update();
  });
  private readonly controlButtons = new ControlButtons(
    this,
    this.root,
    this.overlay,
    this.digitalZoom,
    () => this.language,
  );
  private readonly visibility = new Visibility(this, this.root, {
    changed: () => this.update(),
    resized: () => this.live?.changeRendition(this.rendition),
  });
  private readonly liveControl = new LiveControl(this, this.visibility, {
    api: () => this.api,
    isMuted: () => this.isSilent,
    scale: () => this.digitalZoom.scale,
    starting: () => {
      const isWanted = () => this.live?.fallback.current == null && this.recording === null;
      void this.poster.load(this.api, this.camera, this.presence.signal, isWanted);
    },
    mount: (surface) => this.surfaces.append(asSurface(surface)),
    show: (surface) => this.showSurface(surface),
    unmount: (surface) => surface.remove(),
    frame: () => this.poster.hide(),
    changed: () => this.notify(),
    stopped: () => {
      this.stats.reset();
      this.notify();
    },
  });

  private readonly presence = new Presence(this.root, {
    began: (signal) => this.begin(signal),
    ended: () => this.end(),
  });
  private readonly recordingControl = new RecordingControl(this, {
    isActive: () => this.presence.isActive,
    api: () => this.api,
    now: () => this.now,
    rendition: () => recordedRendition(this.rendition, this.liveControl.rendition),
    mount: (surface) => {
      this.surfaces.append(asSurface(surface));
      this.update();
    },
    show: (surface) => this.showSurface(surface),
    changed: () => this.notify(),
    goLive: () => this.seekToLiveEdge(),
  });
  private isPausedByUser = false;
  private lastState: PlayerState | null = null;
  private looking = new AbortController();
  private readonly talkButton: TalkButton;

  constructor() {
    super();
    this.root.adoptedStyleSheets = [styles()];
    const { badge, notice, controls } = this.overlay;
    const player = this;
    this.talkButton = new TalkButton({
      get api() {
        return player.api;
      },
      get camera() {
        return player.camera;
      },
      get language() {
        return player.language;
      },
      changed: () => this.applyMuted(),
    });
    this.root.append(this.surfaces, this.poster.element, badge, notice, this.talkButton.element, controls);
  }

  // --- state

  /** The current state. `statechange` is dispatched when it changes. */
  get state(): PlayerState {
    const { recording, live, language } = this;
    if (recording) return recordingState(recording, language);
    if (this.isPausedByUser || !live) return pausedState(language);
    return liveState(live, this.camera, language);
  }

  /** Of the last second: `fps`, `bitrateBps`, `loss`, `roundTripMs`, `jitterBufferMs`, `latencyMs`, `width`, `height`, … */
  get statistics(): Statistics | null {
    return this.stats.latest;
  }

  /** The element that shows the video, or will show it with its first frame. */
  get surface(): HTMLVideoElement | HTMLCanvasElement | null {
    return this.recording?.surface ?? this.live?.transport?.surface ?? null;
  }

  /** Capture time of the frame on the screen, ms since the Unix epoch on the gateway's clock; null if unknown. */
  get captureTime(): number | null {
    if (this.recordingControl.isShown) return this.recording?.captureTime ?? null;
    return this.live?.captureTime ?? null;
  }

  /** Where playback is, or was sent by `seek()`: `captureTime` follows with the first frame from there. */
  get playbackTime(): number | null {
    return this.recording ? this.recording.position : this.captureTime;
  }

  /** Whether the video was paused, live or recorded. */
  get paused(): boolean {
    return this.recording ? this.recording.surface.paused : this.isPausedByUser;
  }

  // --- methods

  /** Go on after `pause()`: a recording where it was, live video at its live edge. */
  play(): void {
    if (this.recording) this.recording.play();
    else {
      this.isPausedByUser = false;
      this.update();
    }
  }

  /** Stop playback. */
  pause(): void {
    if (this.recording) this.recording.pause();
    else {
      this.isPausedByUser = true;
      this.update();
    }
  }

  /** Return to live. */
  seekToLiveEdge(): void {
    this.isPausedByUser = false;
    this.recordingControl.stop();
    this.update();
    this.notify();
  }

  /** Play the recording from a time (ms since the Unix epoch). In a gap, play the next one; past the live edge, live. */
  async seek(time: number): Promise<void> {
    await this.recordingControl.seek(time);
  }

  /** Speed of a recording. It is always 1 while live. */
  get playbackRate(): number {
    return this.recording?.surface.playbackRate ?? 1;
  }
  set playbackRate(rate: number) {
    if (this.recording) this.recording.playbackRate = rate;
  }

  /** Step forward by a number of frames in a recording, or back if it is negative. */
  step(frames: number): void {
    void this.recording?.step(frames);
  }

  /** The frame on the screen as an image file. */
  async snapshot(type = "image/jpeg"): Promise<Blob | null> {
    // The live picture stays until the first one of a recording.
    const surface = this.recordingControl.isShown ? this.surface : (this.live?.transport?.surface ?? null);
    return surface && toBlob(surface, type);
  }

  // --- lifecycle

  connectedCallback(): void {
    this.presence.connected();
  }

  disconnectedCallback(): void {
    this.talkButton.end();
    this.presence.disconnected();
  }

  /** With `moveBefore()`, all stays as it is. Without this method, the browser would call the two above. */
  connectedMoveCallback(): void {}

  /** In another document, the player begins anew. */
  adoptedCallback(): void {
    this.presence.end();
  }

  attributeChangedCallback(name: string, before: string | null, after: string | null): void {
    if (before === after || !this.presence.isActive) return;
    if (name === "muted") {
      this.applyMuted();
      this.controlButtons.update();
    } else if (name === "rendition") {
      this.live?.changeRendition(this.rendition);
      this.controlButtons.update();
    } else if (name === "talk") {
      this.updateTalk();
    } else if (name === "zoom") {
      this.digitalZoom.reset();
      this.controlButtons.update();
    } else if (name === "lang" || name === "controls") {
      this.controlButtons.update();
      this.talkButton.show();
      this.notify();
    } else {
      this.digitalZoom.reset();
      this.recordingControl.stop();
      this.liveControl.stop();
      this.updateTalk();
      this.update();
    }
  }

  // --- internals

  private begin(signal: AbortSignal): void {
    this.visibility.watch(signal);
    const timer = setInterval(() => void this.updateStatistics(), STATISTICS_INTERVAL_MS);
    signal.addEventListener("abort", () => clearInterval(timer));
    this.upgradeProperties();
    this.setAttribute("role", "group");
    this.controlButtons.update();
    this.updateTalk();
    document.addEventListener("visibilitychange", () => document.hidden && this.talkButton.end(), { signal });
    window.addEventListener("pagehide", () => this.talkButton.end(), { signal });
    this.notify();
  }

  private end(): void {
    this.looking.abort();
    this.talkButton.hide();
    this.overlay.close();
    this.recordingControl.stop();
    this.liveControl.stop();
  }

  /** Half duplex: while somebody talks, the player is silent, so that the camera does not hear itself. */
  private get isSilent(): boolean {
    return this.muted || this.talkButton.state !== "idle";
  }

  private applyMuted(): void {
    const { isSilent } = this;
    this.live?.mute(isSilent);
    if (this.recording) this.recording.surface.muted = isSilent;
  }

  private updateTalk(): void {
    this.looking.abort();
    this.looking = new AbortController();
    this.talkButton.hide();
    if (this.hasAttribute("talk")) void this.talkButton.look(this.looking.signal);
  }

  /** The gateway's clock, ms. */
  private get now(): number {
    return gatewayNow(this.api);
  }

  /** Start or stop live playback. */
  private update(): void {
    if (this.presence.isActive && !this.isPausedByUser && !this.recording) this.liveControl.play();
    // A recording takes over with its first frame. Until then the live video stays.
    else if (!this.recording || this.recordingControl.isShown) this.liveControl.stop();
    else this.liveControl.keep();
  }

  private showSurface(surface: HTMLElement): void {
    for (const other of this.surfaces.children) other.classList.toggle("shown", other === surface);
    this.poster.hide();
    keepFloating(this.root, surface);
    if (surface === this.recording?.surface) this.liveControl.stop();
    this.notify();
  }

  /** Update the overlay, and dispatch `statechange` if more than the latency has changed. */
  private notify(): void {
    const { state, lastState } = this;
    this.overlay.show(state);
    this.controlButtons.setChoice(this.live?.shown?.available.length ?? 0);
    this.surfaces.classList.toggle("stale", state.mode === "live" && state.status !== "live");
    const label = state.mode === "recording" ? "recordingOf" : "player";
    this.ariaLabel = translate(this.language, label, { camera: this.camera });
    this.lastState = state;
    if (!isSameState(lastState, state)) {
      this.dispatchEvent(new CustomEvent<PlayerState>("statechange", { detail: state, bubbles: true, composed: true }));
    }
  }

  private async updateStatistics(): Promise<void> {
    const source = this.recording ?? this.live;
    if (!source) return;
    const live = this.recording ? null : this.live;
    const transport = live?.fallback.current?.transport ?? null;
    const counters = await source.statistics();
    if (source !== (this.recording ?? this.live)) return;
    const statistics = this.stats.add(performance.now(), transport, live?.latencyMs ?? null, counters);
    this.notify();
    this.dispatchEvent(new CustomEvent<Statistics>("statistics", { detail: statistics }));
  }

  private get live() {
    return this.liveControl.current;
  }

  private get recording() {
    return this.recordingControl.current;
  }
}

function asSurface<T extends HTMLElement>(element: T): T {
  element.classList.add("surface");
  element.setAttribute("part", "surface");
  return element;
}
