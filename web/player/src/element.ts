// <live-edge-player>: one camera at its live edge, for any page. Its reference is docs/player.md.

import { ControlButtons } from "./control-buttons.ts";
import { Api } from "./core/api.ts";
import { clockOf } from "./core/clock-sync.ts";
import { LANGUAGES, type Language, pickLanguage, translate } from "./core/i18n.ts";
import { parseRendition, type Rendition, type RenditionRequest, recordedRendition, tileOf } from "./core/rendition.ts";
import { type Statistics, StatsTracker } from "./core/stats.ts";
import { liveStatusText, type StatusText } from "./core/status-text.ts";
import { TRANSPORTS, type TransportName } from "./core/transports.ts";
import { DigitalZoom } from "./digital-zoom.ts";
import css from "./element.css?inline";
import { LivePlayback } from "./live-playback.ts";
import { createPart, Overlay } from "./overlay.ts";
import { keepFloating } from "./picture-in-picture.ts";
import { Poster } from "./poster.ts";
import { RecordingControl } from "./recording-control.ts";
import { toBlob } from "./snapshot.ts";
import { TalkButton } from "./talk-button.ts";
import { Visibility } from "./visibility.ts";

// A server that renders pages (React, Vue) imports the class too, and has no DOM.
const BaseElement: typeof HTMLElement = globalThis.HTMLElement ?? class {};

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

export type PlayerMode = "live" | "recording" | "paused";

export interface PlayerState extends StatusText {
  mode: PlayerMode;
  transport: TransportName | null;
  /** Which stream of the camera is shown; null if it is not known, and for a recording. */
  rendition: Rendition | null;
  /** Age of the frame on the screen, ms; null if it is not known. */
  latencyMs: number | null;
}

const PROPERTIES = ["camera", "src", "transports", "token", "muted", "rendition"] as const;

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
export class LiveEdgePlayer extends BaseElement {
  /** URL of the gateway for players without `src`. */
  static defaultSrc = "";

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

  private disconnecting = new AbortController();
  private live: LivePlayback | null = null;
  private readonly recordingControl = new RecordingControl(this, {
    api: () => this.api,
    now: () => this.now,
    rendition: () => recordedRendition(this.rendition, this.live?.shown?.rendition ?? this.lastShown),
    mount: (surface) => {
      this.surfaces.append(asSurface(surface));
      this.update();
    },
    show: (surface) => this.showSurface(surface),
    changed: () => this.notify(),
    goLive: () => this.seekToLiveEdge(),
  });
  /** The stream that was shown when live playback was stopped. */
  private lastShown: Rendition | null = null;
  private stopTimer = 0;
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

  // --- attributes as properties

  /** The id of the camera. */
  get camera(): string {
    return this.getAttribute("camera") ?? "default";
  }
  set camera(value: string) {
    this.setAttribute("camera", value);
  }

  /** URL of the gateway. */
  get src(): string {
    return new URL(
      this.getAttribute("src") ?? (LiveEdgePlayer.defaultSrc || location.origin),
      document.baseURI,
    ).href.replace(/\/$/, "");
  }
  set src(value: string) {
    this.setAttribute("src", value);
  }

  /** The transports that may be used, best first. */
  get transports(): readonly TransportName[] {
    const names = (this.getAttribute("transports") ?? "").split(/[\s,]+/);
    const known = TRANSPORTS.filter((transport) => names.includes(transport));
    return known.length > 0 ? known : TRANSPORTS;
  }
  set transports(value: readonly TransportName[]) {
    this.setAttribute("transports", value.join(" "));
  }

  /** A bearer token, if the gateway requires one. */
  get token(): string | null {
    return this.getAttribute("token");
  }
  set token(value: string | null) {
    if (value === null) this.removeAttribute("token");
    else this.setAttribute("token", value);
  }

  /** No sound. */
  get muted(): boolean {
    return this.getAttribute("muted") !== "false";
  }
  set muted(value: boolean) {
    this.setAttribute("muted", String(value));
  }

  /** The stream of the camera: `auto` chooses by the size of the video and the network, `main` and `sub` pin one. */
  get rendition(): RenditionRequest {
    return parseRendition(this.getAttribute("rendition"));
  }
  set rendition(value: RenditionRequest) {
    this.setAttribute("rendition", value);
  }

  // --- state

  /** The current state. `statechange` is dispatched when it changes. */
  get state(): PlayerState {
    if (this.recording) {
      const text = this.recording.statusText(this.language);
      return { ...text, mode: "recording", transport: null, rendition: null, latencyMs: null };
    }
    if (this.isPausedByUser || !this.live) {
      const label = translate(this.language, "paused");
      const text = { status: "off", label, detail: "", notice: "" } as const;
      return { ...text, mode: "paused", transport: null, rendition: null, latencyMs: null };
    }
    const { fallback, latencyMs, shown } = this.live;
    const text = liveStatusText(fallback, this.camera, latencyMs, this.language, shown);
    const transport = fallback.current?.transport ?? null;
    return { ...text, mode: "live", transport, rendition: shown?.rendition ?? null, latencyMs };
  }

  /** Of the last second: `fps`, `bitrateBps`, `loss`, `roundTripMs`, `jitterBufferMs`, `latencyMs`, `width`, `height`, … */
  get statistics(): Statistics | null {
    return this.stats.latest;
  }

  /** The element that shows the video. */
  get surface(): HTMLVideoElement | HTMLCanvasElement | null {
    return this.recording?.surface ?? this.live?.transport?.surface ?? null;
  }

  /** Capture time of the frame on the screen, ms since the Unix epoch on the gateway's clock; null if unknown. */
  get captureTime(): number | null {
    return this.recording ? this.recording.captureTime : (this.live?.captureTime ?? null);
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
    return this.surface && toBlob(this.surface, type);
  }

  // --- lifecycle

  connectedCallback(): void {
    this.disconnecting = new AbortController();
    const { signal } = this.disconnecting;
    this.visibility.watch(signal);
    const timer = setInterval(() => void this.updateStatistics(), STATISTICS_INTERVAL_MS);
    signal.addEventListener("abort", () => clearInterval(timer));
    for (const name of PROPERTIES) this.upgradeProperty(name);
    this.setAttribute("role", "group");
    this.controlButtons.update();
    this.updateTalk();
    document.addEventListener("visibilitychange", () => document.hidden && this.talkButton.end(), { signal });
    window.addEventListener("pagehide", () => this.talkButton.end(), { signal });
    this.notify();
  }

  disconnectedCallback(): void {
    this.disconnecting.abort();
    this.looking.abort();
    this.talkButton.hide();
    clearTimeout(this.stopTimer);
    this.overlay.close();
    this.recordingControl.stop();
    this.stopLive();
  }

  attributeChangedCallback(name: string, before: string | null, after: string | null): void {
    if (before === after || !this.isConnected) return;
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
      this.stopLive();
      this.updateTalk();
      this.update();
    }
  }

  // --- internals

  /** A property that was set before the element was defined shadows the accessor of the class: set it again. */
  private upgradeProperty(name: (typeof PROPERTIES)[number]): void {
    if (!Object.hasOwn(this, name)) return;
    const value: unknown = this[name];
    delete (this as Record<string, unknown>)[name];
    Object.assign(this, { [name]: value });
  }

  /** Half duplex: while somebody talks, the player is silent, so that the camera does not hear itself. */
  private applyMuted(): void {
    const isSilent = this.muted || this.talkButton.state !== "idle";
    this.live?.mute(isSilent);
    if (this.recording) this.recording.surface.muted = isSilent;
  }

  private updateTalk(): void {
    this.looking.abort();
    this.looking = new AbortController();
    this.talkButton.hide();
    if (this.hasAttribute("talk")) void this.talkButton.look(this.looking.signal);
  }

  private get api(): Api {
    return new Api(this.src, this.token);
  }

  /** The gateway's clock, ms. */
  private get now(): number {
    return Date.now() + (clockOf(this.api).offset ?? 0);
  }

  private get language(): Language {
    const wanted = this.getAttribute("lang") ?? "";
    return wanted in LANGUAGES ? (wanted as Language) : pickLanguage(navigator.languages);
  }

  /** Start or stop live playback: it plays while it is wanted and in view. */
  private update(): void {
    const isWanted = this.isConnected && !this.isPausedByUser && !this.recording;
    clearTimeout(this.stopTimer);
    if (!isWanted) {
      // A recording takes over with its first frame. Until then the live video stays.
      if (!this.recording || this.recordingControl.isShown) this.stopLive();
    } else if (this.visibility.isSeen) {
      if (!this.live) this.startLive();
    } else if (this.live) {
      this.stopTimer = window.setTimeout(() => this.stopLive(), this.visibility.patienceMs);
    }
  }

  private startLive(): void {
    const { api, camera, transports } = this;
    const muted = this.muted || this.talkButton.state !== "idle";
    clockOf(api);
    const isWanted = () => this.live?.fallback.current == null && this.recording === null;
    void this.poster.load(api, camera, this.disconnecting.signal, isWanted);
    const width = Math.min(1920, Math.max(320, Math.ceil((this.clientWidth * devicePixelRatio) / 320) * 320));
    const signaling = this.getAttribute("signaling") === "socketio" ? "socketio" : "whep";
    this.live = new LivePlayback(
      {
        api,
        camera,
        transports,
        muted,
        width,
        signaling,
        rendition: this.rendition,
        tile: () => tileOf(this.clientWidth, this.clientHeight, devicePixelRatio * this.digitalZoom.scale),
      },
      {
        mount: (surface) => this.surfaces.append(asSurface(surface)),
        show: (surface) => this.showSurface(surface),
        unmount: (surface) => surface.remove(),
        changed: () => this.notify(),
        frame: () => this.poster.hide(),
      },
    );
  }

  private stopLive(): void {
    const { live } = this;
    this.lastShown = live?.shown?.rendition ?? this.lastShown;
    this.live = null;
    live?.stop();
    this.stats.reset();
    this.notify();
  }

  private showSurface(surface: HTMLElement): void {
    for (const other of this.surfaces.children) other.classList.toggle("shown", other === surface);
    this.poster.hide();
    keepFloating(this.root, surface);
    if (surface === this.recording?.surface) this.stopLive();
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
    const comparable = (other: PlayerState | null) => JSON.stringify({ ...other, latencyMs: 0, detail: 0 });
    if (comparable(lastState) !== comparable(state)) {
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

  private get recording() {
    return this.recordingControl.current;
  }
}

function asSurface<T extends HTMLElement>(element: T): T {
  element.classList.add("surface");
  element.setAttribute("part", "surface");
  return element;
}
