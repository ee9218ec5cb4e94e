// The fallback: which transport plays, when it falls, and when it climbs. Sans-IO: time comes in as an argument, what is to
// be done goes out as commands.
//
// Theory of operation. There are two places: `current` shows pictures, `attempt` is being tried. An attempt with its first
// picture becomes current, and the old current is stopped only then, so that nobody loses a picture to a climb.
//
// Rules:
// 1. Without a current, the best transport that is not barred is attempted; where all are barred, all but the refused ones are
//    tried again after RETRY_MS, from the top. Coming back after an outage takes no longer than that.
// 2. A transport that fails is barred. It is tried again while a lower one plays: after UPGRADE_DELAY_MS, then twice as long each
//    time, up to UPGRADE_DELAY_MAX_MS.
// 3. A current without pictures is asked about soon (NO_FRAME_MS), long before it is given up. While the camera itself is
//    down, no other transport would have pictures either, and the connection stays for the moment when it is back. So does it
//    while the camera is silent, or slow: the transport is at fault only where the gateway has had newer pictures for
//    FRAME_DELAY_MAX_MS. An attempt that takes its time is asked about as well: the gateway may hold its answer until the camera
//    is there.
// 4. While the gateway cannot be reached, nothing is judged and nothing tried. The moment it answers again, what has had
//    no picture since is begun anew: its connection may be dead without knowing.
// 5. Nothing is judged while nobody looks: a hidden tab presents no pictures. Looked at again, after a sleep or on another
//    network, it is asked at once.
// 6. Denied (401, 403) ends everything until there is another token.
// 7. Whose network is too narrow for the camera, as the gateway says, is sent few pictures, and has time for them
//    (DEGRADED_MS): no other transport would bring more of them, and this one knows when the network is good again.

import type { MessageKey } from "./i18n.ts";

export const TRANSPORTS = ["webrtc", "hls", "jpeg", "mjpeg"] as const;
export type TransportName = (typeof TRANSPORTS)[number];

export type FailureKind =
  | "refused" // the server says that this transport cannot play this camera
  | "unavailable" // the camera is not there: no transport could play it
  | "denied" // 401 or 403
  | "missing" // 404: there is no such camera
  | "unreachable" // the gateway does not answer at all
  | "broken" // the connection, the server or the media
  | "timeout" // no first picture in time
  | "stalled"; // pictures stopped

export interface Failure {
  kind: FailureKind;
  /** A sentence, of the server's where it gave one. */
  message: string;
  /** What the player itself knows of the reason, to be said in the reader's language. */
  word?: MessageKey;
  status?: number;
  /** The camera's state, where it is the camera's fault. */
  state?: string;
}

export type Command =
  | { do: "start"; id: number; transport: TransportName }
  | { do: "show"; id: number; transport: TransportName }
  | { do: "stop"; id: number }
  | { do: "ask" } // how is the camera? answered by cameraIs() or unreachable()
  | { do: "reach" }; // try the gateway until it answers, then call reachable()

export type Phase = "idle" | "starting" | "playing" | "interrupted" | "waiting" | "denied";

/** What the gateway says of the camera; null where it does not translate. */
export interface CameraAnswer {
  state: string | null;
  message: string;
  /** Capture time of the gateway's newest picture, ms. */
  edge: number | null;
}

interface Place {
  id: number;
  transport: TransportName;
  since: number;
  lastPicture: number;
  /** Mean distance of pictures, ms; null before the second one. */
  interval: number | null;
  /** The gateway says that the network is too narrow. */
  slow: boolean;
}

/** A current without pictures: what the gateway has had since. */
interface Doubt {
  edge: number | null;
  /** When it was first known that the gateway has newer pictures. */
  newerSince: number | null;
}

/** Time for the first picture. ICE over a blocked network fails only after 15 s and more: nobody waits for that. */
export const FIRST_FRAME_TIMEOUT_MS: Record<TransportName, number> = {
  webrtc: 4000,
  hls: 8000,
  jpeg: 5000,
  mjpeg: 8000,
};
/** Pictures are missed after this long, and after NO_FRAME_INTERVALS of the stream's own picture distance: somebody asks. */
export const NO_FRAME_MS = 600;
export const NO_FRAME_INTERVALS = 6;
/** A picture that the gateway has is on the screen after this long, or the transport is at fault. */
export const FRAME_DELAY_MAX_MS: Record<TransportName, number> = { webrtc: 500, hls: 2500, jpeg: 800, mjpeg: 800 };
/** So long without a picture is an interruption, whoever's fault it is; where the gateway says nothing of its pictures, the transport's. */
export const STALL_MS = 2000;
/** Between pictures over a network that is too narrow: a large keyframe over 64 kbit/s. */
export const DEGRADED_MS = 10_000;
/** Between rounds while nothing works. */
export const RETRY_MS = 700;
/** A camera that does not exist may come to exist, but not every second. */
export const MISSING_RETRY_MS = 5000;
export const UPGRADE_DELAY_MS = 5000;
export const UPGRADE_DELAY_MAX_MS = 60_000;
/** A refusal holds as long as the camera sends what it sends. */
export const UNSUPPORTED_RETRY_MS = 120_000;
export const CHECK_INTERVAL_MS = 1000;
/** While it is in doubt whose fault it is. */
export const STALL_CHECK_INTERVAL_MS = 250;
/** Between two ticks, which come several times a second: everything slept. */
export const SUSPENDED_MS = 2000;
const FRAME_INTERVAL_MAX_MS = 5000;
/** Long enough to know that the transport is good again: its failures are forgotten. */
export const STABLE_MS = 20_000;

export class TransportFallback {
  phase: Phase = "idle";
  current: Place | null = null;
  attempt: Place | null = null;
  /** Why the camera itself has no pictures, as far as it is known. */
  cameraDown: { state: string; message: string } | null = null;
  /** Each transport's last failure, until it plays again. */
  readonly failures = new Map<TransportName, Failure>();

  private readonly barredUntil = new Map<TransportName, number>();
  private readonly counts = new Map<TransportName, number>();
  private waitUntil = 0;
  private askedAt: number | null = null;
  private doubt: Doubt | null = null;
  /** The gateway cannot be reached. */
  away = false;
  private nextId = 1;
  private watched = true;
  private ticked: number | null = null;

  constructor(private readonly transports: readonly TransportName[] = TRANSPORTS) {}

  /** Begin, or begin anew (another token, another camera). */
  start(now: number): Command[] {
    const commands = this.stop();
    this.phase = "starting";
    this.failures.clear();
    this.barredUntil.clear();
    this.counts.clear();
    this.cameraDown = null;
    return [...commands, ...this.tryBest(now)];
  }

  stop(): Command[] {
    const commands: Command[] = [this.current, this.attempt].flatMap((place) =>
      place ? [{ do: "stop", id: place.id }] : [],
    );
    this.current = this.attempt = null;
    this.phase = "idle";
    this.believe();
    this.away = false;
    return commands;
  }

  /** A new picture is on the screen (or would be, if it were shown). */
  picture(id: number, now: number): Command[] {
    const place = this.place(id);
    if (!place) return [];
    if (place.lastPicture > place.since) {
      const distance = Math.min(now - place.lastPicture, FRAME_INTERVAL_MAX_MS);
      place.interval = place.interval === null ? distance : place.interval + (distance - place.interval) / 8;
    }
    place.lastPicture = Math.max(now, place.since + 1);
    if (place === this.current) {
      this.believe();
      this.away = false;
      this.cameraDown = null;
      this.phase = "playing";
      if (now - place.since > STABLE_MS) this.counts.delete(place.transport);
      return [];
    }
    const old = this.current;
    this.current = place;
    this.attempt = null;
    this.believe();
    this.away = false;
    this.cameraDown = null;
    this.phase = "playing";
    place.since = now;
    for (const transport of this.transports.slice(this.transports.indexOf(place.transport)))
      this.failures.delete(transport);
    this.barredUntil.delete(place.transport);
    const commands: Command[] = [{ do: "show", id, transport: place.transport }];
    if (old) commands.push({ do: "stop", id: old.id });
    return commands;
  }

  /** Whether the gateway says that the network of this transport is too narrow for the camera. */
  slow(id: number, isSlow: boolean): void {
    const place = this.place(id);
    if (place) place.slow = isSlow;
  }

  failed(id: number, reported: Failure, now: number): Command[] {
    let failure = reported;
    const place = this.place(id);
    if (!place) return [];
    const commands: Command[] = [{ do: "stop", id }];
    const wasCurrent = place === this.current;
    if (wasCurrent) {
      this.current = null;
      this.believe();
    } else this.attempt = null;
    if (failure.kind === "denied") {
      commands.push(...this.stop());
      this.failures.set(place.transport, failure);
      this.phase = "denied";
      return commands;
    }
    if (failure.kind === "unreachable" || this.away) {
      if (!this.current && !this.attempt) return [...commands, ...this.reach()];
      failure = { ...failure, kind: "broken" };
    }
    this.failures.set(place.transport, failure);
    if (failure.kind === "unavailable" || failure.kind === "missing") {
      if (this.current) return [...commands, ...this.bar(place.transport, failure, now)];
      this.cameraDown = { state: failure.state ?? failure.kind, message: failure.message };
      this.phase = "waiting";
      this.waitUntil = now + (failure.kind === "missing" ? MISSING_RETRY_MS : RETRY_MS);
      return commands;
    }
    this.cameraDown = null;
    // What has played may play again at once: it is barred only if that fails.
    if (!wasCurrent || failure.kind === "refused") this.bar(place.transport, failure, now);
    if (wasCurrent && this.attempt) return commands;
    if (this.current) return [...commands, ...this.tryBetter(now)];
    return [...commands, ...this.tryBest(now, wasCurrent ? 0 : this.transports.indexOf(place.transport) + 1)];
  }

  /** How the camera is, answering `ask`. */
  cameraIs({ state, message, edge }: CameraAnswer, now: number): Command[] {
    if (this.askedAt === null) return [];
    const { current } = this;
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
      this.doubt = null;
      return [];
    }
    if (this.cameraDown) {
      // It has just come back: pictures get their time again.
      this.cameraDown = null;
      current.lastPicture = now;
      this.believe();
      return [];
    }
    this.doubt ??= { edge, newerSince: null };
    if (edge !== null && this.doubt.edge !== null && edge > this.doubt.edge) this.doubt.newerSince ??= now;
    return this.judge(current, now);
  }

  /** The gateway did not answer `ask`. */
  unreachable(): Command[] {
    return this.askedAt === null ? [] : this.reach();
  }

  /** The gateway answers again. */
  reachable(now: number): Command[] {
    if (!this.away) return [];
    this.away = false;
    this.forgive();
    const commands: Command[] = this.attempt ? [{ do: "stop", id: this.attempt.id }] : [];
    this.attempt = null;
    if (!this.current) return [...commands, ...this.tryBest(now)];
    return [...commands, ...this.failed(this.current.id, { kind: "stalled", message: "" }, now)];
  }

  /** The clock has moved. `watched` is false while the tab is hidden. Call it a few times a second. */
  tick(now: number, watched = true): Command[] {
    if (this.phase === "idle" || this.phase === "denied") return [];
    const woken = watched && (!this.watched || (this.ticked !== null && now - this.ticked > SUSPENDED_MS));
    this.watched = watched;
    this.ticked = now;
    if (!watched || woken) this.excuse(now);
    if (!watched || this.away) return [];
    if (woken && this.current) return this.ask(now);
    if (this.attempt && !this.current && now - Math.max(this.attempt.since, this.askedAt ?? 0) >= CHECK_INTERVAL_MS) {
      return this.ask(now);
    }
    if (
      this.attempt &&
      now - this.attempt.since > (this.attempt.slow ? DEGRADED_MS : FIRST_FRAME_TIMEOUT_MS[this.attempt.transport])
    ) {
      return this.failed(this.attempt.id, { kind: "timeout", message: "" }, now);
    }
    if (this.current) return this.tickCurrent(this.current, now);
    if (!this.attempt && now >= this.waitUntil) {
      this.forgive();
      return this.tryBest(now);
    }
    return [];
  }

  /** The network changed, the tab is back: whatever was waited for is tried now. */
  wake(now: number): Command[] {
    if (this.phase === "idle" || this.phase === "denied") return [];
    this.waitUntil = now;
    this.forgive();
    const commands = this.tick(now, true);
    if (commands.length > 0 || this.away || !this.current || this.askedAt !== null) return commands;
    return this.ask(now);
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

  private tickCurrent(current: Place, now: number): Command[] {
    const quiet = now - current.lastPicture;
    if (quiet > Math.max(current.slow ? DEGRADED_MS : STALL_MS, NO_FRAME_INTERVALS * (current.interval ?? 0)))
      this.phase = "interrupted";
    const isQuiet = quiet > Math.max(NO_FRAME_MS, NO_FRAME_INTERVALS * (current.interval ?? 0));
    if (this.askedAt === null && !isQuiet) return this.attempt ? [] : this.tryBetter(now);
    const commands = this.judge(current, now);
    if (
      commands.length > 0 ||
      now - (this.askedAt ?? 0) < (this.cameraDown ? CHECK_INTERVAL_MS : STALL_CHECK_INTERVAL_MS)
    )
      return commands;
    return this.ask(now);
  }

  /** Is the transport at fault for having no pictures? */
  private judge(current: Place, now: number): Command[] {
    const { doubt } = this;
    if (!doubt) return [];
    const isLate =
      doubt.edge === null
        ? now - current.lastPicture >
          Math.max(current.slow ? DEGRADED_MS : STALL_MS, NO_FRAME_INTERVALS * (current.interval ?? 0))
        : doubt.newerSince !== null &&
          now - doubt.newerSince >= (current.slow ? DEGRADED_MS : FRAME_DELAY_MAX_MS[current.transport]);
    return isLate ? this.failed(current.id, { kind: "stalled", message: "" }, now) : [];
  }

  private ask(now: number): Command[] {
    this.askedAt = now;
    return [{ do: "ask" }];
  }

  private reach(): Command[] {
    this.believe();
    this.phase = this.current ? "interrupted" : "waiting";
    if (this.away) return [];
    this.away = true;
    this.cameraDown = null;
    return [{ do: "reach" }];
  }

  /** No question is open any more. */
  private believe(): void {
    this.askedAt = null;
    this.doubt = null;
  }

  /** What has failed may be tried again, but for what cannot be. */
  private forgive(): void {
    for (const [transport, failure] of this.failures)
      if (failure.kind !== "refused") this.barredUntil.delete(transport);
  }

  /** `from`: a fall goes on downwards, whatever might be tried again above meanwhile. */
  private tryBest(now: number, from = 0): Command[] {
    const transport = this.transports.slice(from).find((name) => (this.barredUntil.get(name) ?? 0) <= now);
    if (transport) {
      if (!this.current) this.phase = "starting";
      return this.begin(transport, now);
    }
    this.phase = "waiting";
    this.waitUntil = now + RETRY_MS;
    return [];
  }

  private tryBetter(now: number): Command[] {
    const better = this.transports.slice(0, this.current ? this.transports.indexOf(this.current.transport) : 0);
    const transport = better.find((name) => (this.barredUntil.get(name) ?? 0) <= now);
    return transport ? this.begin(transport, now) : [];
  }

  private begin(transport: TransportName, now: number): Command[] {
    const id = this.nextId++;
    this.attempt = { id, transport, since: now, lastPicture: now, interval: null, slow: false };
    return [{ do: "start", id, transport }];
  }

  private bar(transport: TransportName, failure: Failure, now: number): Command[] {
    const count = (this.counts.get(transport) ?? 0) + 1;
    this.counts.set(transport, count);
    const pause =
      failure.kind === "refused"
        ? UNSUPPORTED_RETRY_MS
        : Math.min(UPGRADE_DELAY_MS * 2 ** (count - 1), UPGRADE_DELAY_MAX_MS);
    this.barredUntil.set(transport, now + pause);
    return [];
  }

  private excuse(now: number): void {
    if (this.current) this.current.lastPicture = now;
    if (this.attempt) this.attempt.since = this.attempt.lastPicture = now;
  }

  private place(id: number): Place | null {
    return this.current?.id === id ? this.current : this.attempt?.id === id ? this.attempt : null;
  }
}
