// Which transport plays, when the player falls back to a lower one, and when it upgrades to a better one. Sans-IO: time
// comes in as an argument, and actions go out as commands.
//
// Theory of operation. There are two places: `current` shows frames, `attempt` is being tried. With its first frame, the
// attempt becomes current. The old current stops only then, so that an upgrade never interrupts the picture.
//
// Rules:
// 1. Without a current transport, try the best one that is due in the retry schedule. If none is due, wait RETRY_MS, then
//    try again from the top, except the unsupported ones. So recovery after an outage takes RETRY_MS at most.
// 2. A transport that fails is delayed in the retry schedule, and tried again while a lower one plays.
// 3. When a current transport has no frames for NO_FRAME_MS, check the camera, long before giving the transport up.
//    - While the camera is down, no other transport would have frames either: keep the connection until it is back.
//    - While the camera is silent or slow, keep the connection too. The transport has stalled only if the gateway has had
//      a newer frame for FRAME_DELAY_MAX_MS.
//    - Check the camera during a slow attempt too: the gateway may hold its answer until the camera is live.
// 4. While the gateway cannot be reached, judge nothing and try nothing. When it answers again, restart what has had no
//    frame since, because its connection may be dead.
// 5. Judge nothing while the tab is hidden, because a hidden tab presents no frames. Check the camera at once when the tab
//    is visible again, after a suspend, and when the network has changed.
// 6. 401 and 403 end everything until there is another token.
// 7. A camera that is known not to be live is asked for on no transport: its state is polled, for all players of a page at
//    once, until it is. The attempts that the gateway refuses are errors in the console of the browser, and cost as much as
//    those that it answers.
// 8. If the gateway reports the network as degraded, it sends few frames, and each may take DEGRADED_MS. No other
//    transport would carry more, and this one recovers with the network.

import { CameraChecks, CHECK_INTERVAL_MS, STALL_CHECK_INTERVAL_MS } from "./camera-checks.ts";
import { RetrySchedule } from "./retry-schedule.ts";
import { StartedTransport } from "./started-transport.ts";
import { type Failure, TRANSPORTS, type TransportName } from "./transports.ts";

export type Command =
  | { type: "start"; id: number; transport: TransportName }
  | { type: "show"; id: number; transport: TransportName }
  | { type: "stop"; id: number }
  | { type: "check-camera" } // answered by cameraChecked() or gatewayUnreachable()
  | { type: "wait-for-camera" } // poll the camera: answered by cameraPolled() or gatewayUnreachable() until it is to end
  | { type: "wait-for-gateway" }; // poll the gateway until it answers, then call gatewayReachable()

export type Phase = "idle" | "starting" | "playing" | "interrupted" | "waiting" | "unauthorized";

/** The gateway's answer about the camera. */
export interface CameraCheck {
  /** null if the gateway refused to answer; `notFound` if there is no such camera. */
  state: string | null;
  message: string;
  /** Why it refused, if the token has ended or does not allow this camera. */
  refusal?: Failure;
  /** Capture time of the gateway's newest frame, ms; null if unknown. */
  liveEdge: number | null;
}

/** Between rounds while nothing works. */
export const RETRY_MS = 700;
/** More time than this between two ticks, which come several times a second: the machine or the tab was suspended. */
export const SUSPENDED_MS = 2000;
/** A transport that has played for so long works again: its failures are forgotten. */
export const STABLE_MS = 20_000;

export class TransportFallback {
  phase: Phase = "idle";
  current: StartedTransport | null = null;
  attempt: StartedTransport | null = null;
  /** Why the camera has no frames, as far as it is known. */
  cameraDown: { state: string; message: string } | null = null;
  /** Rule 7. */
  isWaitingForCamera = false;
  isGatewayUnreachable = false;
  /** The origin of this page, if the gateway is unreachable because it does not allow it. */
  refusedOrigin: string | null = null;
  /** The last failure of each transport, until it plays again. */
  readonly failures = new Map<TransportName, Failure>();

  private readonly schedule = new RetrySchedule();
  private retryAt = 0;
  private readonly checks = new CameraChecks();
  private nextId = 1;
  private isVisible = true;
  private lastTick: number | null = null;

  constructor(private readonly transports: readonly TransportName[] = TRANSPORTS) {}

  /** Start, or start again with another token or camera. */
  start(now: number): Command[] {
    const commands = this.stop();
    this.phase = "starting";
    this.failures.clear();
    this.schedule.reset();
    this.cameraDown = null;
    return [...commands, ...this.tryBest(now)];
  }

  stop(): Command[] {
    const commands: Command[] = [this.current, this.attempt].flatMap((started) =>
      started ? [{ type: "stop", id: started.id }] : [],
    );
    this.current = this.attempt = null;
    this.phase = "idle";
    this.checks.end();
    this.isGatewayUnreachable = this.isWaitingForCamera = false;
    return commands;
  }

  /** A frame was presented (or would be, if its surface were shown). */
  frame(id: number, now: number): Command[] {
    const started = this.find(id);
    if (!started) return [];
    started.frame(now);
    this.checks.end();
    this.isGatewayUnreachable = false;
    this.cameraDown = null;
    this.phase = "playing";
    if (started === this.current) {
      if (now - started.since > STABLE_MS) this.schedule.resetBackoff(started.transport);
      return [];
    }
    const previous = this.current;
    this.current = started;
    this.attempt = null;
    started.since = now;
    for (const transport of this.transports.slice(this.transports.indexOf(started.transport)))
      this.failures.delete(transport);
    this.schedule.allow(started.transport);
    const commands: Command[] = [{ type: "show", id, transport: started.transport }];
    if (previous) commands.push({ type: "stop", id: previous.id });
    return commands;
  }

  /** Whether the gateway reports that the network is too slow for this camera. */
  setDegraded(id: number, isDegraded: boolean): void {
    const started = this.find(id);
    if (started) started.isDegraded = isDegraded;
  }

  failed(id: number, reported: Failure, now: number): Command[] {
    let failure = reported;
    const started = this.find(id);
    if (!started) return [];
    const commands: Command[] = [{ type: "stop", id }];
    const wasCurrent = started === this.current;
    if (wasCurrent) {
      this.current = null;
      this.checks.end();
    } else this.attempt = null;
    if (failure.kind === "unauthorized") return [...commands, ...this.unauthorized(started.transport, failure)];
    if (failure.kind === "unreachable" || this.isGatewayUnreachable) {
      if (!this.current && !this.attempt) return [...commands, ...this.waitForGateway()];
      failure = { ...failure, kind: "connectionLost" };
    }
    this.failures.set(started.transport, failure);
    if (failure.kind === "unavailable" || failure.kind === "notFound") {
      if (this.current) {
        this.schedule.delay(started.transport, failure, now);
        return commands;
      }
      this.cameraDown = { state: failure.state ?? failure.kind, message: failure.message };
      this.phase = "waiting";
      this.isWaitingForCamera = true;
      return [...commands, { type: "wait-for-camera" }];
    }
    this.cameraDown = null;
    // A transport that has played may be tried again at once. It is delayed only if that fails.
    if (!wasCurrent || failure.kind === "unsupported") this.schedule.delay(started.transport, failure, now);
    if (wasCurrent && this.attempt) return commands;
    if (this.current) return [...commands, ...this.tryBetter(now)];
    return [...commands, ...this.tryBest(now, wasCurrent ? 0 : this.transports.indexOf(started.transport) + 1)];
  }

  /** The answer to `check-camera`. */
  cameraChecked({ state, message, refusal, liveEdge }: CameraCheck, now: number): Command[] {
    if (!this.checks.isChecking) return [];
    const { current } = this;
    const asking = current ?? this.attempt;
    if (refusal && asking) return this.unauthorized(asking.transport, refusal);
    if (!current) {
      if (state === "live") this.cameraDown = null;
      if (this.attempt && state !== null && state !== "live") {
        this.cameraDown = { state, message };
        this.attempt.since = now;
      }
      return [];
    }
    if (state !== null && state !== "live") {
      this.cameraDown = { state, message };
      this.phase = "interrupted";
      this.checks.forget();
      return [];
    }
    if (this.cameraDown) {
      // The camera has just come back: give the transport its time again.
      this.cameraDown = null;
      current.lastFrame = now;
      this.checks.end();
      return [];
    }
    this.checks.answered(liveEdge, now);
    return this.restartIfStalled(current, now);
  }

  /** An answer to `wait-for-camera`. */
  cameraPolled({ state, message, refusal }: CameraCheck, now: number): Command[] {
    if (!this.isWaitingForCamera) return [];
    if (refusal) return this.unauthorized(this.transports[0] ?? "webrtc", refusal);
    if (state !== null && state !== "live") {
      this.cameraDown = { state, message };
      return [];
    }
    this.isWaitingForCamera = false;
    this.allowFailed();
    if (state === "live") return this.tryBest(now);
    // What it refuses to tell about, the transports may tell more about.
    this.retryAt = now + RETRY_MS;
    return [];
  }

  /** The gateway did not answer `check-camera` or `wait-for-camera`. */
  gatewayUnreachable(): Command[] {
    return !this.checks.isChecking && !this.isWaitingForCamera ? [] : this.waitForGateway();
  }

  /** The gateway answers again. */
  gatewayReachable(now: number): Command[] {
    if (!this.isGatewayUnreachable) return [];
    this.isGatewayUnreachable = false;
    this.allowFailed();
    const commands: Command[] = this.attempt ? [{ type: "stop", id: this.attempt.id }] : [];
    this.attempt = null;
    if (!this.current) return [...commands, ...this.tryBest(now)];
    return [...commands, ...this.failed(this.current.id, { kind: "stalled", message: "" }, now)];
  }

  /** Time has passed. Call it a few times a second. `isVisible` is false while the tab is hidden. */
  tick(now: number, isVisible = true): Command[] {
    if (this.phase === "idle" || this.phase === "unauthorized") return [];
    const isResumed = isVisible && (!this.isVisible || (this.lastTick !== null && now - this.lastTick > SUSPENDED_MS));
    this.isVisible = isVisible;
    this.lastTick = now;
    if (!isVisible || isResumed) this.restartTimers(now);
    if (!isVisible || this.isGatewayUnreachable || this.isWaitingForCamera) return [];
    if (isResumed && this.current) return this.checkCamera(now);
    const { attempt } = this;
    if (attempt && !this.current && this.checks.isDue(now, CHECK_INTERVAL_MS, attempt.since)) {
      return this.checkCamera(now);
    }
    if (attempt && now - attempt.since > attempt.firstFrameTimeout) {
      return this.failed(attempt.id, { kind: "timeout", message: "" }, now);
    }
    if (this.current) return this.tickCurrent(this.current, now);
    if (!attempt && now >= this.retryAt) {
      this.allowFailed();
      return this.tryBest(now);
    }
    return [];
  }

  /** The network has changed, or the tab is visible again: try at once what waits for a retry. */
  resume(now: number): Command[] {
    if (this.phase === "idle" || this.phase === "unauthorized") return [];
    this.retryAt = now;
    this.allowFailed();
    const commands = this.tick(now, true);
    if (commands.length > 0 || this.isGatewayUnreachable || !this.current || this.checks.isChecking) return commands;
    return this.checkCamera(now);
  }

  /** Why the best transport does not play: the failure of the best one above the current. */
  get reason(): { transport: TransportName; failure: Failure } | null {
    for (const transport of this.transports) {
      if (transport === this.current?.transport) return null;
      const failure = this.failures.get(transport);
      if (failure) return { transport, failure };
    }
    return null;
  }

  private unauthorized(transport: TransportName, failure: Failure): Command[] {
    const commands = this.stop();
    this.failures.set(transport, failure);
    this.phase = "unauthorized";
    return commands;
  }

  private tickCurrent(current: StartedTransport, now: number): Command[] {
    const quiet = now - current.lastFrame;
    if (quiet > current.stallLimit) this.phase = "interrupted";
    if (!this.checks.isChecking && quiet <= current.quietLimit) return this.attempt ? [] : this.tryBetter(now);
    const commands = this.restartIfStalled(current, now);
    const interval = this.cameraDown ? CHECK_INTERVAL_MS : STALL_CHECK_INTERVAL_MS;
    if (commands.length > 0 || !this.checks.isDue(now, interval)) return commands;
    return this.checkCamera(now);
  }

  private restartIfStalled(current: StartedTransport, now: number): Command[] {
    return this.checks.isStalled(current, now) ? this.failed(current.id, { kind: "stalled", message: "" }, now) : [];
  }

  private checkCamera(now: number): Command[] {
    this.checks.begin(now);
    return [{ type: "check-camera" }];
  }

  private waitForGateway(): Command[] {
    this.checks.end();
    this.phase = this.current ? "interrupted" : "waiting";
    if (this.isGatewayUnreachable) return [];
    this.isGatewayUnreachable = true;
    this.isWaitingForCamera = false;
    this.cameraDown = null;
    return [{ type: "wait-for-gateway" }];
  }

  /** Let every failed transport be tried at once, except the unsupported ones. */
  private allowFailed(): void {
    for (const [transport, { kind }] of this.failures) if (kind !== "unsupported") this.schedule.allow(transport);
  }

  /** `from` keeps a fallback going downwards, even if a better transport has become due meanwhile. */
  private tryBest(now: number, from = 0): Command[] {
    const transport = this.transports.slice(from).find((name) => this.schedule.isDue(name, now));
    if (transport) {
      if (!this.current) this.phase = "starting";
      return this.startAttempt(transport, now);
    }
    this.phase = "waiting";
    this.retryAt = now + RETRY_MS;
    return [];
  }

  private tryBetter(now: number): Command[] {
    const better = this.transports.slice(0, this.current ? this.transports.indexOf(this.current.transport) : 0);
    const transport = better.find((name) => this.schedule.isDue(name, now));
    return transport ? this.startAttempt(transport, now) : [];
  }

  private startAttempt(transport: TransportName, now: number): Command[] {
    const id = this.nextId++;
    this.attempt = new StartedTransport(id, transport, now);
    return [{ type: "start", id, transport }];
  }

  private restartTimers(now: number): void {
    if (this.current) this.current.lastFrame = now;
    if (this.attempt) this.attempt.since = this.attempt.lastFrame = now;
  }

  private find(id: number): StartedTransport | null {
    return [this.current, this.attempt].find((started) => started?.id === id) ?? null;
  }
}
