// Live playback of one camera: the fallback's hands and eyes. It has surfaces but no page.

import type { Api, Camera } from "./core/api.ts";
import { Latency } from "./core/clock.ts";
import { clockOf, isGatewayResponse, localNow, whenReachable } from "./core/clock-sync.ts";
import {
  type CameraAnswer,
  type Command,
  type Failure,
  TransportFallback,
  type TransportName,
} from "./core/fallback.ts";
import { HlsTransport } from "./transports/hls.ts";
import { JpegTransport } from "./transports/jpeg.ts";
import { MjpegTransport } from "./transports/mjpeg.ts";
import { play, type Transport, type TransportContext, type TransportStats } from "./transports/transport.ts";
import { WebRtcTransport } from "./transports/webrtc.ts";

const TICK_MS = 100;
/** Longer than the slowest round trip on which anything plays. */
const ASK_TIMEOUT_MS = 1200;

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
}

export interface LiveEvents {
  /** A surface has come; it is to be laid under what is shown. */
  mount(surface: HTMLElement): void;
  /** This surface is the one to be seen. */
  show(surface: HTMLElement): void;
  unmount(surface: HTMLElement): void;
  /** Something that can be read from here has changed. */
  changed(): void;
  picture(captured: number | null): void;
}

export class Live {
  readonly fallback: TransportFallback;
  readonly latency = new Latency();
  private readonly transports = new Map<number, Transport>();
  private readonly ending = new AbortController();
  private told = "";

  constructor(
    private readonly options: LiveOptions,
    private readonly events: LiveEvents,
  ) {
    this.fallback = new TransportFallback(options.transports);
    const { signal } = this.ending;
    const timer = setInterval(() => this.obey(this.fallback.tick(performance.now(), !document.hidden)), TICK_MS);
    const wake = () => document.hidden || this.wake();
    document.addEventListener("visibilitychange", wake, { signal });
    document.addEventListener("resume", wake, { signal });
    window.addEventListener("online", wake, { signal });
    window.addEventListener("pageshow", wake, { signal });
    signal.addEventListener("abort", () => clearInterval(timer));
    this.obey(this.fallback.start(performance.now()));
  }

  stop(): void {
    this.ending.abort();
    this.obey(this.fallback.stop());
  }

  get transport(): Transport | null {
    return this.transports.get(this.fallback.current?.id ?? 0) ?? null;
  }

  /** Sound of whatever plays, now and later. */
  mute(muted: boolean): void {
    this.options.muted = muted;
    for (const { surface } of this.transports.values()) if (surface instanceof HTMLVideoElement) surface.muted = muted;
  }

  async statistics(): Promise<TransportStats> {
    return (await this.transport?.statistics()) ?? {};
  }

  private obey(commands: Command[]): void {
    for (const command of commands) {
      switch (command.do) {
        case "start":
          this.begin(command.id, command.transport);
          break;
        case "show": {
          const transport = this.transports.get(command.id);
          this.latency.reset();
          if (transport) this.events.show(transport.surface);
          break;
        }
        case "stop":
          this.end(command.id);
          break;
        case "ask":
          void this.ask();
          break;
        case "reach":
          whenReachable(this.options.api, this.ending.signal, () =>
            this.obey(this.fallback.reachable(performance.now())),
          );
          break;
      }
    }
    const { phase, current, attempt, cameraDown, reason } = this.fallback;
    const told = JSON.stringify([phase, current?.transport, current?.slow, attempt?.transport, cameraDown, reason]);
    if (told !== this.told) {
      this.told = told;
      this.events.changed();
    }
  }

  private wake(): void {
    // A browser pauses what it freezes, and leaves it so.
    for (const { surface } of this.transports.values())
      if (surface instanceof HTMLVideoElement && surface.paused) void play(surface);
    this.obey(this.fallback.wake(performance.now()));
  }

  private begin(id: number, name: TransportName): void {
    const transport = new TRANSPORT_CLASSES[name]({
      ...this.options,
      picture: (captured) => this.picture(id, captured),
      slow: (isSlow) => {
        this.fallback.slow(id, isSlow);
        this.obey([]);
      },
      failed: (failure) => void this.failed(id, failure),
    });
    this.transports.set(id, transport);
    this.events.mount(transport.surface);
    transport.start();
  }

  private end(id: number): void {
    const transport = this.transports.get(id);
    if (!transport) return;
    this.transports.delete(id);
    transport.stop();
    this.events.unmount(transport.surface);
  }

  private picture(id: number, captured: number | null): void {
    this.obey(this.fallback.picture(id, performance.now()));
    if (id !== this.fallback.current?.id) return;
    if (captured !== null) this.latency.add(captured, localNow(), clockOf(this.options.api).offset);
    this.events.picture(captured);
  }

  /** 503 may mean the camera or this transport, and no answer this transport or the gateway: only asking tells. */
  private async failed(id: number, reported: Failure): Promise<void> {
    let failure = reported;
    if (failure.kind === "unavailable" || failure.kind === "broken") {
      const answer = await this.camera();
      if (!this.transports.has(id)) return;
      if (answer === null) failure = { ...failure, kind: "unreachable" };
      else if (answer.state === null || answer.state === "live") failure = { ...failure, kind: "broken" };
      else if (failure.kind === "unavailable") failure = { ...failure, state: answer.state, message: answer.message };
    }
    this.obey(this.fallback.failed(id, failure, performance.now()));
  }

  private async ask(): Promise<void> {
    const answer = await this.camera();
    this.obey(answer === null ? this.fallback.unreachable() : this.fallback.cameraIs(answer, performance.now()));
  }

  /** How the camera is; null where the gateway does not answer. */
  private async camera(): Promise<CameraAnswer | null> {
    const { api, camera } = this.options;
    try {
      const { state, error_message, live_edge } = await api.json<Camera>(`/api/cameras/${camera}`, {
        // Not AbortSignal.any with our ending: Safari has it from 17.4 on only, and what comes after the end is not heard.
        signal: AbortSignal.timeout(ASK_TIMEOUT_MS),
      });
      return { state, message: error_message ?? "", edge: live_edge ? Date.parse(live_edge.time) : null };
    } catch (error) {
      return isGatewayResponse(error) ? { state: null, message: "", edge: null } : null;
    }
  }
}
