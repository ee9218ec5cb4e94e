// Live playback of one camera: executes the commands of TransportFallback, and reports to it. It creates surfaces, but
// leaves it to its owner to put them on a page.

import { type Api, toFailure } from "./core/api.ts";
import { askCamera, checkOf, isDown, knownCamera, pollCamera, tellCameras } from "./core/camera-states.ts";
import { Latency } from "./core/clock.ts";
import { clockOf, localNow, sampleClock } from "./core/clock-sync.ts";
import { type CameraCheck, type Command, TransportFallback } from "./core/fallback.ts";
import { isGatewayResponse, refusesOrigin, whenReachable } from "./core/reachability.ts";
import type { RenditionRequest, ShownRendition, Tile } from "./core/rendition.ts";
import type { Failure, TransportName } from "./core/transports.ts";
import type { Camera } from "./generated/api.ts";
import { HlsTransport } from "./transports/hls.ts";
import { JpegTransport } from "./transports/jpeg.ts";
import { MjpegTransport } from "./transports/mjpeg.ts";
import { play, type Transport, type TransportContext, type TransportStats } from "./transports/transport.ts";
import { WebRtcTransport } from "./transports/webrtc.ts";

const TICK_MS = 100;
/** Longer than the slowest round trip on which anything plays. */
const CHECK_TIMEOUT_MS = 1200;
/** When the latency jumps, the clocks are asked for, but not more often than this. */
const CLOCK_CHECK_MS = 2000;

/** The gateway holds the first requests of these until the camera is live. A browser has six connections for a host. */
const HOLDS_CONNECTION: ReadonlySet<TransportName> = new Set(["hls", "mjpeg"]);

const TRANSPORT_CLASSES: Record<TransportName, new (context: TransportContext) => Transport> = {
  webrtc: WebRtcTransport,
  hls: HlsTransport,
  jpeg: JpegTransport,
  mjpeg: MjpegTransport,
};

export interface LiveOptions {
  api: Api;
  camera: string;
  transports: readonly TransportName[];
  muted: boolean;
  signaling: "whep" | "socketio";
  width: number;
  rendition: RenditionRequest;
  tile(): Tile | null;
}

export interface LiveEvents {
  /** A new surface, to be placed below the one that is shown. */
  mount(surface: HTMLElement): void;
  /** Show this surface, and hide the others. */
  show(surface: HTMLElement): void;
  unmount(surface: HTMLElement): void;
  /** A public property has changed. */
  changed(): void;
  frame(captured: number | null): void;
}

export class LivePlayback {
  readonly fallback: TransportFallback;
  readonly latency = new Latency();
  private readonly transports = new Map<number, Transport>();
  private readonly shownOf = new Map<number, ShownRendition>();
  private readonly stopping = new AbortController();
  /** Which stream is shown; null if it is not known. */
  shown: ShownRendition | null = null;
  private lastState = "";
  private clockCheckedAt = Number.NEGATIVE_INFINITY;
  private isCheckingClock = false;
  private polling = new AbortController();

  constructor(
    private readonly options: LiveOptions,
    private readonly events: LiveEvents,
  ) {
    this.fallback = new TransportFallback(options.transports);
    const { signal } = this.stopping;
    const timer = setInterval(() => this.execute(this.fallback.tick(performance.now(), !document.hidden)), TICK_MS);
    const resume = () => document.hidden || this.resume();
    document.addEventListener("visibilitychange", resume, { signal });
    document.addEventListener("resume", resume, { signal });
    window.addEventListener("online", resume, { signal });
    window.addEventListener("pageshow", resume, { signal });
    signal.addEventListener("abort", () => {
      clearInterval(timer);
      this.polling.abort();
    });
    // An answer that comes before the first offer is sent saves one that would be refused. Nothing waits for it.
    if (!knownCamera(options.api, options.camera)) void askCamera(options.api, options.camera).catch(() => {});
    this.execute(this.fallback.start(performance.now()));
  }

  stop(): void {
    this.stopping.abort();
    this.execute(this.fallback.stop());
  }

  get transport(): Transport | null {
    return this.transports.get(this.fallback.current?.id ?? 0) ?? null;
  }

  /** Capture time of the picture that is shown, ms on the gateway's clock; null if it is not known, or there is none. */
  get captureTime(): number | null {
    return this.transport ? this.latency.captured : null;
  }

  /** How old the picture is that is shown, ms; null if it is not known. */
  get latencyMs(): number | null {
    return this.transport ? this.latency.at(localNow(), clockOf(this.options.api).offset) : null;
  }

  /** Ask for this stream, or tell the size of the video again. */
  changeRendition(rendition: RenditionRequest): void {
    this.options.rendition = rendition;
    for (const transport of this.transports.values()) transport.changeRendition?.();
  }

  /** Mute or unmute the current transport and all later ones. */
  mute(muted: boolean): void {
    this.options.muted = muted;
    for (const { surface } of this.transports.values()) if (surface instanceof HTMLVideoElement) surface.muted = muted;
  }

  async statistics(): Promise<TransportStats> {
    return (await this.transport?.statistics()) ?? {};
  }

  private execute(commands: Command[]): void {
    for (const command of commands) {
      switch (command.type) {
        case "start":
          this.startTransport(command.id, command.transport);
          break;
        case "show": {
          const transport = this.transports.get(command.id);
          this.latency.reset();
          this.shown = this.shownOf.get(command.id) ?? null;
          if (transport) this.events.show(transport.surface);
          break;
        }
        case "stop":
          this.stopTransport(command.id);
          break;
        case "check-camera":
          void this.checkCamera();
          break;
        case "wait-for-camera":
          this.pollCamera();
          break;
        case "wait-for-gateway":
          whenReachable(this.options.api, this.stopping.signal, () =>
            this.execute(this.fallback.gatewayReachable(performance.now())),
          );
          void this.checkOrigin();
          break;
      }
    }
    const { phase, current, attempt, cameraDown, reason } = this.fallback;
    const state = JSON.stringify([
      phase,
      current?.transport,
      current?.isDegraded,
      attempt?.transport,
      cameraDown,
      reason,
      this.shown,
    ]);
    if (state !== this.lastState) {
      this.lastState = state;
      this.events.changed();
    }
  }

  private resume(): void {
    // A browser pauses the videos of a frozen tab, and does not resume them.
    for (const { surface } of this.transports.values()) {
      if (surface instanceof HTMLVideoElement && surface.paused) void play(surface);
    }
    this.execute(this.fallback.resume(performance.now()));
  }

  private startTransport(id: number, name: TransportName): void {
    const refusal = this.refusal();
    if (refusal) {
      this.execute(this.fallback.failed(id, refusal, performance.now()));
      return;
    }
    const transport = new TRANSPORT_CLASSES[name]({
      ...this.options,
      rendition: () => this.options.rendition,
      onRendition: (shown) => {
        this.shownOf.set(id, shown);
        if (id === this.fallback.current?.id) this.shown = shown;
        this.execute([]);
      },
      onFrame: (captured) => this.frame(id, captured),
      onDegraded: (isDegraded) => {
        this.fallback.setDegraded(id, isDegraded);
        this.execute([]);
      },
      starting: () => this.notLive(false),
      refusal: () => this.refusal(),
      onFailure: (failure) => void this.failed(id, failure),
    });
    this.transports.set(id, transport);
    this.events.mount(transport.surface);
    if (HOLDS_CONNECTION.has(name)) void this.startIfReady(id, transport);
    else transport.start();
  }

  /** Why no transport has frames of the camera at present; null if one may have. */
  private refusal(): Failure | null {
    return this.notLive(true);
  }

  /** What is known of a camera that is down, or of one that is about to start; null if it is another, or not known. */
  private notLive(isWantedDown: boolean): Failure | null {
    const { api, camera } = this.options;
    const known = knownCamera(api, camera);
    if (!known || isDown(known) !== isWantedDown) return null;
    const { state, message } = checkOf(api, known);
    return state === null || state === "live" ? null : { kind: "unavailable", message, state };
  }

  /** Start a transport unless the camera is only starting: its request would hold a connection that others need. */
  private async startIfReady(id: number, transport: Transport): Promise<void> {
    const camera = await this.fetchCamera();
    if (!this.transports.has(id)) return;
    if (camera && camera.state !== null && camera.state !== "live" && camera.state !== "stopped") {
      const { state, message } = camera;
      this.execute(this.fallback.failed(id, { kind: "unavailable", message, state }, performance.now()));
    } else transport.start();
  }

  /** Until the camera is live. */
  private pollCamera(): void {
    this.polling.abort();
    this.polling = new AbortController();
    const { api, camera } = this.options;
    pollCamera(api, camera, this.polling.signal, (check) => {
      const { fallback } = this;
      const commands = check === null ? fallback.gatewayUnreachable() : fallback.cameraPolled(check, performance.now());
      if (!fallback.isWaitingForCamera) this.polling.abort();
      this.execute(commands);
    });
  }

  private stopTransport(id: number): void {
    const transport = this.transports.get(id);
    if (!transport) return;
    this.transports.delete(id);
    this.shownOf.delete(id);
    transport.stop();
    this.events.unmount(transport.surface);
  }

  private frame(id: number, captured: number | null): void {
    // A picture that is sent again is no sign of life of the camera.
    if (id === this.fallback.current?.id && this.latency.isShown(captured)) return;
    this.execute(this.fallback.frame(id, performance.now()));
    if (id !== this.fallback.current?.id) return;
    this.latency.captured = captured;
    if (captured !== null && !this.isCheckingClock) {
      const { offset } = clockOf(this.options.api);
      const now = performance.now();
      if (now - this.clockCheckedAt > CLOCK_CHECK_MS && this.latency.isJump(captured, localNow(), offset)) {
        void this.checkClock(now);
      } else {
        this.latency.add(captured, localNow(), offset);
      }
    }
    this.events.frame(captured);
  }

  /** The latency has jumped: ask whether the gateway's clock was set. Until then the latency is that from before. */
  private async checkClock(now: number): Promise<void> {
    this.clockCheckedAt = now;
    this.isCheckingClock = true;
    await Promise.allSettled([sampleClock(this.options.api, CHECK_TIMEOUT_MS), this.transport?.syncClock?.()]);
    this.isCheckingClock = false;
  }

  /** 503 can be about the camera or the transport, and a lost connection about the transport or the gateway: ask which. */
  private async failed(id: number, reported: Failure): Promise<void> {
    let failure = reported;
    if (failure.kind === "unavailable" || failure.kind === "connectionLost") {
      const camera = await this.fetchCamera();
      if (!this.transports.has(id)) return;
      if (camera === null) failure = { ...failure, kind: "unreachable" };
      else if (camera.refusal !== undefined) failure = camera.refusal;
      else if (camera.state === null || camera.state === "live") failure = { ...failure, kind: "connectionLost" };
      else if (failure.kind === "unavailable") failure = { ...failure, state: camera.state, message: camera.message };
    }
    this.execute(this.fallback.failed(id, failure, performance.now()));
  }

  private async checkOrigin(): Promise<void> {
    this.fallback.refusedOrigin = (await refusesOrigin(this.options.api)) ? location.origin : null;
    this.lastState = "";
    this.execute([]);
  }

  private async checkCamera(): Promise<void> {
    const camera = await this.fetchCamera();
    const { fallback } = this;
    this.execute(camera === null ? fallback.gatewayUnreachable() : fallback.cameraChecked(camera, performance.now()));
  }

  /** The state of the camera; null if the gateway does not answer. */
  private async fetchCamera(): Promise<CameraCheck | null> {
    const { api, camera } = this.options;
    try {
      // Safari has AbortSignal.any, which could add our own signal, only from 17.4 on. A late answer changes nothing.
      const signal = AbortSignal.timeout(CHECK_TIMEOUT_MS);
      const found = await api.json<Camera>(`/api/cameras/${camera}`, { signal });
      tellCameras(api, [found]);
      return checkOf(api, found);
    } catch (error) {
      if (!isGatewayResponse(error)) return null;
      const failure = toFailure(error);
      const refusal = failure.kind === "unauthorized" ? { refusal: failure } : {};
      return { state: null, message: "", liveEdge: null, ...refusal };
    }
  }
}
