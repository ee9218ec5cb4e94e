// The ladder: which transport plays, when it falls, and when it climbs. Sans-IO: time comes in as an argument, what is to
// be done goes out as commands.
//
// Theory of operation. There are two places: `current` shows pictures, `attempt` is being tried. An attempt with its first
// picture becomes current, and the old current is stopped only then, so that nobody loses a picture to a climb.
//
// Rules:
// 1. Without a current, the best rung that is not barred is attempted; where all are barred, all but the refused ones are
//    tried again after RETRY_MS, from the top. Coming back after an outage takes no longer than that.
// 2. A rung that fails is barred. It is tried again while a lower one plays: after CLIMB_FIRST_MS, then twice as long each
//    time, up to CLIMB_MAX_MS.
// 3. A current without pictures is asked about before it is given up: while the camera itself is down, no other rung would
//    have pictures either, and the connection stays for the moment when it is back. So is an attempt that takes its time:
//    the gateway may hold its answer until the camera is there.
// 4. Nothing is judged while nobody looks: a hidden tab presents no pictures.
// 5. Denied (401, 403) ends everything until there is another token.

export const RUNGS = ["webrtc", "hls", "jpeg", "mjpeg"] as const;
export type RungName = (typeof RUNGS)[number];

export type FailureKind =
  | "refused" // the server says that this rung cannot play this camera
  | "unavailable" // the camera is not there: no rung could play it
  | "denied" // 401 or 403
  | "missing" // 404: there is no such camera
  | "broken" // the connection, the server or the media
  | "timeout" // no first picture in time
  | "stalled"; // pictures stopped

export interface Failure {
  kind: FailureKind;
  /** A sentence, of the server's where it gave one. */
  message: string;
  status?: number;
  /** The camera's state, where it is the camera's fault. */
  state?: string;
}

export type Command =
  | { do: "start"; id: number; rung: RungName }
  | { do: "show"; id: number; rung: RungName }
  | { do: "stop"; id: number }
  | { do: "ask" }; // how is the camera? answered by cameraIs()

export type Phase = "idle" | "starting" | "playing" | "interrupted" | "waiting" | "denied";

interface Place {
  id: number;
  rung: RungName;
  since: number;
  lastPicture: number;
  /** Mean distance of pictures, ms. */
  interval: number;
}

/** Time for the first picture. ICE over a blocked network fails only after 15 s and more: nobody waits for that. */
export const PATIENCE_MS: Record<RungName, number> = { webrtc: 4000, hls: 8000, jpeg: 5000, mjpeg: 8000 };
/** Pictures are missed after this long, and after STALL_INTERVALS of the stream's own picture distance. */
export const STALL_MS = 2000;
export const STALL_INTERVALS = 6;
/** Between rounds while nothing works: a restarted gateway is found again in less than a second. */
export const RETRY_MS = 700;
/** A camera that does not exist may come to exist, but not every second. */
export const MISSING_RETRY_MS = 5000;
export const CLIMB_FIRST_MS = 5000;
export const CLIMB_MAX_MS = 60_000;
/** A refusal holds as long as the camera sends what it sends. */
export const REFUSED_MS = 120_000;
export const ASK_EVERY_MS = 1000;
/** Long enough to know that the rung is good again: its failures are forgotten. */
export const PROVEN_MS = 20_000;

export class Ladder {
  phase: Phase = "idle";
  current: Place | null = null;
  attempt: Place | null = null;
  /** Why the camera itself has no pictures, as far as it is known. */
  cameraDown: { state: string; message: string } | null = null;
  /** Each rung's last failure, until it plays again. */
  readonly failures = new Map<RungName, Failure>();

  private readonly barredUntil = new Map<RungName, number>();
  private readonly counts = new Map<RungName, number>();
  private waitUntil = 0;
  private askedAt: number | null = null;
  private nextId = 1;
  private watched = true;

  constructor(private readonly rungs: readonly RungName[] = RUNGS) {}

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
    const commands: Command[] = [this.current, this.attempt].flatMap((place) => (place ? [{ do: "stop", id: place.id }] : []));
    this.current = this.attempt = null;
    this.phase = "idle";
    this.askedAt = null;
    return commands;
  }

  /** A new picture is on the screen (or would be, if it were shown). */
  picture(id: number, now: number): Command[] {
    const place = this.place(id);
    if (!place) return [];
    if (place.lastPicture > place.since) place.interval += (Math.min(now - place.lastPicture, 5000) - place.interval) / 8;
    place.lastPicture = Math.max(now, place.since + 1);
    this.askedAt = null;
    if (place === this.current) {
      this.cameraDown = null;
      this.phase = "playing";
      if (now - place.since > PROVEN_MS) this.counts.delete(place.rung);
      return [];
    }
    const old = this.current;
    this.current = place;
    this.attempt = null;
    this.cameraDown = null;
    this.phase = "playing";
    place.since = now;
    for (const rung of this.rungs.slice(this.rungs.indexOf(place.rung))) this.failures.delete(rung);
    this.barredUntil.delete(place.rung);
    const commands: Command[] = [{ do: "show", id, rung: place.rung }];
    if (old) commands.push({ do: "stop", id: old.id });
    return commands;
  }

  failed(id: number, failure: Failure, now: number): Command[] {
    const place = this.place(id);
    if (!place) return [];
    const commands: Command[] = [{ do: "stop", id }];
    const wasCurrent = place === this.current;
    if (wasCurrent) this.current = null;
    else this.attempt = null;
    if (failure.kind === "denied") {
      commands.push(...this.stop());
      this.failures.set(place.rung, failure);
      this.phase = "denied";
      return commands;
    }
    this.failures.set(place.rung, failure);
    if (failure.kind === "unavailable" || failure.kind === "missing") {
      if (this.current) return [...commands, ...this.bar(place.rung, failure, now)];
      this.cameraDown = { state: failure.state ?? failure.kind, message: failure.message };
      this.phase = "waiting";
      this.waitUntil = now + (failure.kind === "missing" ? MISSING_RETRY_MS : RETRY_MS);
      return commands;
    }
    this.cameraDown = null;
    // What has played may play again at once: it is barred only if that fails.
    if (!wasCurrent || failure.kind === "refused") this.bar(place.rung, failure, now);
    if (wasCurrent && this.attempt) return commands;
    if (this.current) return [...commands, ...this.tryBetter(now)];
    return [...commands, ...this.tryBest(now, wasCurrent ? 0 : this.rungs.indexOf(place.rung) + 1)];
  }

  /** How the camera is, answering `ask`; state null where that could not be learnt. */
  cameraIs(state: string | null, message: string, now: number): Command[] {
    if (this.askedAt === null) return [];
    if (!this.current) {
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
      return [];
    }
    if (state === "live" && this.cameraDown) {
      // It has just come back: pictures get their time again.
      this.cameraDown = null;
      this.current.lastPicture = now;
      this.askedAt = null;
      return [];
    }
    this.askedAt = null;
    return this.failed(this.current.id, { kind: "stalled", message: "" }, now);
  }

  /** The clock has moved. `watched` is false while the tab is hidden. Call it a few times a second. */
  tick(now: number, watched = true): Command[] {
    if (this.phase === "idle" || this.phase === "denied") return [];
    if (watched && !this.watched) this.excuse(now);
    this.watched = watched;
    if (!watched) {
      this.excuse(now);
      return [];
    }
    if (this.attempt && !this.current && now - Math.max(this.attempt.since, this.askedAt ?? 0) >= ASK_EVERY_MS) {
      this.askedAt = now;
      return [{ do: "ask" }];
    }
    if (this.attempt && now - this.attempt.since > PATIENCE_MS[this.attempt.rung]) {
      return this.failed(this.attempt.id, { kind: "timeout", message: "" }, now);
    }
    if (this.current) return this.tickCurrent(this.current, now);
    if (!this.attempt && now >= this.waitUntil) {
      for (const [rung, failure] of this.failures) if (failure.kind !== "refused") this.barredUntil.delete(rung);
      return this.tryBest(now);
    }
    return [];
  }

  /** The network changed, the tab is back: whatever was waited for is tried now. */
  wake(now: number): Command[] {
    if (this.phase === "idle" || this.phase === "denied") return [];
    this.waitUntil = now;
    for (const [rung, failure] of this.failures) if (failure.kind !== "refused") this.barredUntil.delete(rung);
    return this.tick(now, this.watched);
  }

  /** Why the best rung does not play: the failure of the best one above the current. */
  get reason(): { rung: RungName; failure: Failure } | null {
    for (const rung of this.rungs) {
      if (rung === this.current?.rung) return null;
      const failure = this.failures.get(rung);
      if (failure) return { rung, failure };
    }
    return null;
  }

  private tickCurrent(current: Place, now: number): Command[] {
    const quiet = now - current.lastPicture;
    if (quiet > Math.max(STALL_MS, STALL_INTERVALS * current.interval)) {
      this.phase = "interrupted";
      if (this.askedAt === null || now - this.askedAt >= ASK_EVERY_MS) {
        this.askedAt = now;
        return [{ do: "ask" }];
      }
      return [];
    }
    return this.attempt ? [] : this.tryBetter(now);
  }

  /** `from`: a fall goes on downwards, whatever might be tried again above meanwhile. */
  private tryBest(now: number, from = 0): Command[] {
    const rung = this.rungs.slice(from).find((name) => (this.barredUntil.get(name) ?? 0) <= now);
    if (rung) {
      if (!this.current) this.phase = "starting";
      return this.begin(rung, now);
    }
    this.phase = "waiting";
    this.waitUntil = now + RETRY_MS;
    return [];
  }

  private tryBetter(now: number): Command[] {
    const better = this.rungs.slice(0, this.current ? this.rungs.indexOf(this.current.rung) : 0);
    const rung = better.find((name) => (this.barredUntil.get(name) ?? 0) <= now);
    return rung ? this.begin(rung, now) : [];
  }

  private begin(rung: RungName, now: number): Command[] {
    const id = this.nextId++;
    this.attempt = { id, rung, since: now, lastPicture: now, interval: 0 };
    return [{ do: "start", id, rung }];
  }

  private bar(rung: RungName, failure: Failure, now: number): Command[] {
    const count = (this.counts.get(rung) ?? 0) + 1;
    this.counts.set(rung, count);
    const pause = failure.kind === "refused" ? REFUSED_MS : Math.min(CLIMB_FIRST_MS * 2 ** (count - 1), CLIMB_MAX_MS);
    this.barredUntil.set(rung, now + pause);
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
