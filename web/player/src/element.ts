// <live-edge-player>: one camera at its live edge, in anybody's page. docs/player.md is its reference.

import { Api } from "./core/api.ts";
import { clockOf } from "./core/clock-sync.ts";
import { TRANSPORTS, type TransportName } from "./core/fallback.ts";
import { LANGUAGES, type Language, pickLanguage, translate } from "./core/i18n.ts";
import { type Statistics, StatsTracker } from "./core/stats.ts";
import { liveStatusText, type StatusText } from "./core/status-text.ts";
import css from "./element.css?inline";
import { toggleFullscreen } from "./fullscreen.ts";
import { Live } from "./live-playback.ts";
import { type Button, Overlay, part } from "./overlay.ts";
import { RecordingControl } from "./recording-control.ts";

// From a variable: a literal would be taken for an asset by the bundler.
const HERE = import.meta.url;
const GATEWAY = new URL("..", HERE).href.replace(/\/$/, "");

const sheet = new CSSStyleSheet();
sheet.replaceSync(css);

/** Out of sight for so long, it stops; a grid that is scrolled back and forth goes on. */
const UNSEEN_MS = 10_000;
/** A hidden tab plays on for so long: switching between two tabs costs nothing. */
const HIDDEN_MS = 60_000;
const STATS_INTERVAL_MS = 1000;

export type PlayerMode = "live" | "recording" | "paused";

export interface PlayerState extends StatusText {
  mode: PlayerMode;
  transport: TransportName | null;
  /** ms behind the camera's clock, as far as it is known. */
  latencyMs: number | null;
}

export class LiveEdgePlayer extends HTMLElement {
  static readonly observedAttributes = [
    "camera",
    "src",
    "transports",
    "token",
    "signaling",
    "muted",
    "lang",
    "controls",
  ];

  private readonly root = this.attachShadow({ mode: "open", delegatesFocus: true });
  private readonly poster = document.createElement("img");
  private readonly overlay = new Overlay();
  private readonly surfaces = part("div", "surfaces");
  private readonly meter = new StatsTracker();

  private ending = new AbortController();
  private live: Live | null = null;
  private readonly past = new RecordingControl(this, {
    api: () => this.api,
    now: () => this.now,
    mount: (surface) => {
      this.surfaces.append(dress(surface));
      this.update();
    },
    show: (surface) => this.showSurface(surface),
    changed: () => this.tell(),
    goLive: () => this.goLive(),
  });
  private seen = false;
  private stopTimer = 0;
  private userPaused = false;
  private shownState: PlayerState | null = null;

  constructor() {
    super();
    this.poster.className = "poster";
    this.poster.alt = "";
    this.poster.hidden = true;
    this.poster.setAttribute("part", "poster");
    // Constructed, and no <style>: a page's content security policy need not allow inline styles.
    this.root.adoptedStyleSheets = [sheet];
    const { badge, notice, controls } = this.overlay;
    this.root.append(this.surfaces, this.poster, badge, notice, controls);
  }

  // --- attributes as properties

  /** Which camera. */
  get camera(): string {
    return this.getAttribute("camera") ?? "default";
  }
  set camera(value: string) {
    this.setAttribute("camera", value);
  }

  /** Where the gateway is; by default, where this script came from. */
  get src(): string {
    return new URL(this.getAttribute("src") ?? GATEWAY, document.baseURI).href.replace(/\/$/, "");
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

  /** A bearer token, where the gateway wants one. */
  get token(): string | null {
    return this.getAttribute("token");
  }
  set token(value: string | null) {
    if (value === null) this.removeAttribute("token");
    else this.setAttribute("token", value);
  }

  get muted(): boolean {
    return this.getAttribute("muted") !== "false";
  }
  set muted(value: boolean) {
    this.setAttribute("muted", String(value));
  }

  // --- state

  /** What is going on; `statechange` tells when it is something else. */
  get state(): PlayerState {
    const transport = this.live?.fallback.current?.transport ?? null;
    const latencyMs = this.live?.latency.value ?? null;
    if (this.recording)
      return { ...this.recording.describe(this.language), mode: "recording", transport: null, latencyMs: null };
    if (this.userPaused || !this.live) {
      return {
        tone: "off",
        label: translate(this.language, "paused"),
        more: "",
        notice: "",
        mode: "paused",
        transport: null,
        latencyMs: null,
      };
    }
    const description = liveStatusText(this.live.fallback, this.camera, latencyMs, this.language);
    return { ...description, mode: "live", transport, latencyMs };
  }

  /** The last second in figures. */
  get statistics(): Statistics | null {
    return this.meter.latest;
  }

  /** The surface with the picture: for tests, for canvases. */
  get surface(): HTMLVideoElement | HTMLCanvasElement | null {
    return this.recording?.surface ?? this.live?.transport?.surface ?? null;
  }

  /** The capture time of what is seen, ms since the Unix epoch on the gateway's clock; null where it is not known. */
  get currentTime(): number | null {
    if (this.recording) return this.recording.time;
    const { offset } = clockOf(this.api);
    const latency = this.live?.latency.value ?? null;
    return offset === null || latency === null ? null : Date.now() + offset - latency;
  }

  get paused(): boolean {
    return this.recording ? this.recording.surface.paused : this.userPaused;
  }

  // --- commands

  play(): void {
    if (this.recording) this.recording.play();
    else {
      this.userPaused = false;
      this.update();
    }
  }

  pause(): void {
    if (this.recording) this.recording.pause();
    else {
      this.userPaused = true;
      this.update();
    }
  }

  /** Back to the live edge, from wherever. */
  goLive(): void {
    this.userPaused = false;
    this.past.stop();
    this.update();
    this.tell();
  }

  /** Show what was recorded at a moment (ms since the Unix epoch). Past the live edge it is live. */
  async seek(time: number): Promise<void> {
    await this.past.seek(time);
  }

  /** Speed of a recording; live has one speed only. */
  get playbackRate(): number {
    return this.recording?.surface.playbackRate ?? 1;
  }
  set playbackRate(rate: number) {
    if (this.recording) this.recording.rate = rate;
  }

  /** One picture forward or back, in a recording. */
  step(pictures: number): void {
    void this.recording?.step(pictures);
  }

  /** The picture on the screen as a file. */
  async capture(type = "image/jpeg"): Promise<Blob | null> {
    const { surface } = this;
    if (!surface) return null;
    const canvas = document.createElement("canvas");
    canvas.width = surface instanceof HTMLVideoElement ? surface.videoWidth : surface.width;
    canvas.height = surface instanceof HTMLVideoElement ? surface.videoHeight : surface.height;
    canvas.getContext("2d")?.drawImage(surface, 0, 0);
    return new Promise((resolve) => canvas.toBlob(resolve, type, 0.92));
  }

  // --- life

  connectedCallback(): void {
    this.ending = new AbortController();
    const { signal } = this.ending;
    const observer = new IntersectionObserver(
      ([entry]) => {
        this.seen = entry?.isIntersecting ?? true;
        this.update();
      },
      { rootMargin: "100px" },
    );
    observer.observe(this);
    signal.addEventListener("abort", () => observer.disconnect());
    document.addEventListener("visibilitychange", () => this.update(), { signal });
    const timer = setInterval(() => void this.measure(), STATS_INTERVAL_MS);
    signal.addEventListener("abort", () => clearInterval(timer));
    for (const name of ["camera", "src", "transports", "token", "muted"] as const) this.adopt(name);
    this.setAttribute("role", "group");
    this.buildControls();
    this.tell();
  }

  disconnectedCallback(): void {
    this.ending.abort();
    clearTimeout(this.stopTimer);
    this.overlay.close();
    this.past.stop();
    this.stopLive();
    this.seen = false;
  }

  attributeChangedCallback(name: string, before: string | null, after: string | null): void {
    if (before === after || !this.isConnected) return;
    if (name === "muted") {
      this.live?.mute(this.muted);
      if (this.recording) this.recording.surface.muted = this.muted;
      this.buildControls();
    } else if (name === "lang" || name === "controls") {
      this.buildControls();
      this.tell();
    } else {
      this.past.stop();
      this.stopLive();
      this.update();
    }
  }

  // --- inside

  /** A property that was set before this script had come hides the one of the class. */
  private adopt(name: "camera" | "src" | "transports" | "token" | "muted"): void {
    if (!Object.hasOwn(this, name)) return;
    const value: unknown = this[name];
    delete (this as Record<string, unknown>)[name];
    Object.assign(this, { [name]: value });
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

  /** Play live exactly while somebody can see it and wants it. */
  private update(): void {
    const wanted = this.isConnected && !this.userPaused && !this.recording;
    clearTimeout(this.stopTimer);
    if (!wanted) {
      // A recording takes over with its first picture; until then the live picture stays.
      if (!this.recording || this.past.isShown) this.stopLive();
    } else if (this.seen && !document.hidden) {
      if (!this.live) this.startLive();
    } else if (this.live) {
      this.stopTimer = window.setTimeout(() => this.stopLive(), document.hidden ? HIDDEN_MS : UNSEEN_MS);
    }
  }

  private startLive(): void {
    const { api, camera, muted, transports } = this;
    clockOf(api);
    void this.showPoster(api);
    const width = Math.min(1920, Math.max(320, Math.ceil((this.clientWidth * devicePixelRatio) / 320) * 320));
    this.live = new Live(
      {
        api,
        camera,
        transports: transports,
        muted,
        width,
        signaling: this.getAttribute("signaling") === "socketio" ? "socketio" : "whep",
      },
      {
        mount: (surface) => this.surfaces.append(dress(surface)),
        show: (surface) => this.showSurface(surface),
        unmount: (surface) => surface.remove(),
        changed: () => this.tell(),
        picture: () => {
          if (!this.poster.hidden) this.poster.hidden = true;
        },
      },
    );
  }

  private stopLive(): void {
    const { live } = this;
    this.live = null;
    live?.stop();
    this.meter.reset();
    this.tell();
  }

  private showSurface(surface: HTMLElement): void {
    for (const other of this.surfaces.children) other.classList.toggle("shown", other === surface);
    this.poster.hidden = true;
    if (surface === this.recording?.surface) this.stopLive();
    this.tell();
  }

  /** The newest picture that the gateway has, while the first one of ours is on its way. */
  private async showPoster(api: Api): Promise<void> {
    try {
      const response = await api.fetch(`/snapshot/${this.camera}.jpg?width=640`, { signal: this.ending.signal });
      const url = URL.createObjectURL(await response.blob());
      this.poster.onload = () => URL.revokeObjectURL(url);
      this.poster.src = url;
      this.poster.hidden = this.live?.fallback.current != null || this.recording !== null;
    } catch {
      // There is none.
    }
  }

  private tell(): void {
    const { state } = this;
    this.overlay.show(state);
    this.surfaces.classList.toggle("stale", state.mode === "live" && state.tone !== "live");
    this.ariaLabel = translate(this.language, state.mode === "recording" ? "recordingOf" : "player", {
      camera: this.camera,
    });
    const { shownState } = this;
    this.shownState = state;
    if (
      JSON.stringify({ ...shownState, latencyMs: 0, more: 0 }) !== JSON.stringify({ ...state, latencyMs: 0, more: 0 })
    ) {
      this.dispatchEvent(new CustomEvent<PlayerState>("statechange", { detail: state, bubbles: true, composed: true }));
    }
  }

  private async measure(): Promise<void> {
    const { live, recording } = this;
    const source = recording ?? live;
    if (!source) return;
    const transport = recording ? null : (live?.fallback.current?.transport ?? null);
    const counted = await source.statistics();
    if (source !== (this.recording ?? this.live)) return;
    const statistics = this.meter.add(
      performance.now(),
      transport,
      recording ? null : (live?.latency.value ?? null),
      counted,
    );
    this.tell();
    this.dispatchEvent(new CustomEvent<Statistics>("statistics", { detail: statistics }));
  }

  private buildControls(): void {
    const buttons: Button[] = [
      [this.muted ? "mute" : "sound", this.muted ? "unmute" : "mute", () => (this.muted = !this.muted)],
      ["fullscreen", "fullscreen", () => toggleFullscreen(this, this.surface)],
    ];
    this.overlay.setControls(this.language, this.hasAttribute("controls") ? buttons : []);
  }

  private get recording() {
    return this.past.current;
  }
}

function dress<T extends HTMLElement>(surface: T): T {
  surface.classList.add("surface");
  surface.setAttribute("part", "surface");
  return surface;
}
