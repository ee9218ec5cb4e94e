// Live playback of one camera: the ladder's hands and eyes. It has surfaces but no page.

import type { Api, Camera } from "./core/api.ts";
import { Latency } from "./core/clock.ts";
import { clockOf, isAnswer, localNow, whenReachable } from "./core/clock-sync.ts";
import { type CameraAnswer, type Command, type Failure, Ladder, type RungName } from "./core/fallback.ts";
import { HlsRung } from "./transports/hls.ts";
import { JpegRung } from "./transports/jpeg.ts";
import { MjpegRung } from "./transports/mjpeg.ts";
import { play, type Rung, type RungContext, type RungStatistics } from "./transports/transport.ts";
import { WebRtcRung } from "./transports/webrtc.ts";

const TICK_MS = 100;
/** Longer than the slowest round trip on which anything plays. */
const ASK_TIMEOUT_MS = 1200;

const MAKERS: Record<RungName, new (context: RungContext) => Rung> = {
  webrtc: WebRtcRung,
  hls: HlsRung,
  jpeg: JpegRung,
  mjpeg: MjpegRung,
};

export interface LiveOptions {
  api: Api;
  camera: string;
  rungs: readonly RungName[];
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
  readonly ladder: Ladder;
  readonly latency = new Latency();
  private readonly rungs = new Map<number, Rung>();
  private readonly ending = new AbortController();
  private told = "";

  constructor(
    private readonly options: LiveOptions,
    private readonly events: LiveEvents,
  ) {
    this.ladder = new Ladder(options.rungs);
    const { signal } = this.ending;
    const timer = setInterval(() => this.obey(this.ladder.tick(performance.now(), !document.hidden)), TICK_MS);
    const wake = () => document.hidden || this.wake();
    document.addEventListener("visibilitychange", wake, { signal });
    document.addEventListener("resume", wake, { signal });
    window.addEventListener("online", wake, { signal });
    window.addEventListener("pageshow", wake, { signal });
    signal.addEventListener("abort", () => clearInterval(timer));
    this.obey(this.ladder.start(performance.now()));
  }

  stop(): void {
    this.ending.abort();
    this.obey(this.ladder.stop());
  }

  get rung(): Rung | null {
    return this.rungs.get(this.ladder.current?.id ?? 0) ?? null;
  }

  /** Sound of whatever plays, now and later. */
  mute(muted: boolean): void {
    this.options.muted = muted;
    for (const { surface } of this.rungs.values()) if (surface instanceof HTMLVideoElement) surface.muted = muted;
  }

  async statistics(): Promise<RungStatistics> {
    return (await this.rung?.statistics()) ?? {};
  }

  private obey(commands: Command[]): void {
    for (const command of commands) {
      switch (command.do) {
        case "start":
          this.begin(command.id, command.rung);
          break;
        case "show": {
          const rung = this.rungs.get(command.id);
          this.latency.reset();
          if (rung) this.events.show(rung.surface);
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
            this.obey(this.ladder.reachable(performance.now())),
          );
          break;
      }
    }
    const { phase, current, attempt, cameraDown, reason } = this.ladder;
    const told = JSON.stringify([phase, current?.rung, current?.slow, attempt?.rung, cameraDown, reason]);
    if (told !== this.told) {
      this.told = told;
      this.events.changed();
    }
  }

  private wake(): void {
    // A browser pauses what it freezes, and leaves it so.
    for (const { surface } of this.rungs.values())
      if (surface instanceof HTMLVideoElement && surface.paused) void play(surface);
    this.obey(this.ladder.wake(performance.now()));
  }

  private begin(id: number, name: RungName): void {
    const rung = new MAKERS[name]({
      ...this.options,
      picture: (captured) => this.picture(id, captured),
      slow: (isSlow) => {
        this.ladder.slow(id, isSlow);
        this.obey([]);
      },
      failed: (failure) => void this.failed(id, failure),
    });
    this.rungs.set(id, rung);
    this.events.mount(rung.surface);
    rung.start();
  }

  private end(id: number): void {
    const rung = this.rungs.get(id);
    if (!rung) return;
    this.rungs.delete(id);
    rung.stop();
    this.events.unmount(rung.surface);
  }

  private picture(id: number, captured: number | null): void {
    this.obey(this.ladder.picture(id, performance.now()));
    if (id !== this.ladder.current?.id) return;
    if (captured !== null) this.latency.add(captured, localNow(), clockOf(this.options.api).offset);
    this.events.picture(captured);
  }

  /** 503 may mean the camera or this transport, and no answer this transport or the gateway: only asking tells. */
  private async failed(id: number, reported: Failure): Promise<void> {
    let failure = reported;
    if (failure.kind === "unavailable" || failure.kind === "broken") {
      const answer = await this.camera();
      if (!this.rungs.has(id)) return;
      if (answer === null) failure = { ...failure, kind: "unreachable" };
      else if (answer.state === null || answer.state === "live") failure = { ...failure, kind: "broken" };
      else if (failure.kind === "unavailable") failure = { ...failure, state: answer.state, message: answer.message };
    }
    this.obey(this.ladder.failed(id, failure, performance.now()));
  }

  private async ask(): Promise<void> {
    const answer = await this.camera();
    this.obey(answer === null ? this.ladder.unreachable() : this.ladder.cameraIs(answer, performance.now()));
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
      return isAnswer(error) ? { state: null, message: "", edge: null } : null;
    }
  }
}
