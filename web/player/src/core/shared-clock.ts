// One clock for the recordings of several cameras, and what each player has to do to show its time. Without a DOM: times of
// recordings are ms since the Unix epoch, those of the wall are ms of any clock that does not jump.
//
// Rules:
// 1. The clock runs at its rate. It stands still while a player that has something to show at its time cannot show it yet,
//    but for no player longer than HOLD_MAX_MS: one that is slow then catches up by a seek, and the others go on.
// 2. A player that is a little off plays a little faster or slower; one that is further ahead waits for the clock, and one
//    that is further behind seeks.
// 3. Where nothing of a camera was recorded, its player waits with the first picture that follows, and the clock runs on.

export interface Span {
  start: number;
  end: number;
}

/** What a player has. */
export interface PlayerPosition {
  /** The time of its picture; null without one. */
  time: number | null;
  /** Whether it has the data to play from there, and no seek is under way. */
  isReady: boolean;
  /** What was recorded, as far as it is loaded, in order. */
  recorded: readonly Span[];
  /** The time of its last seek, until another time is shown by playing; null without one. */
  sought: number | null;
}

export interface ClockState {
  time: number;
  rate: number;
  /** Whether it goes on: false while it is paused, and while it waits for a player. */
  isRunning: boolean;
  /** Whether all have to show exactly its time: while it is paused, and after a seek until it goes on. */
  isExact: boolean;
}

export type Order =
  | { kind: "play"; rate: number }
  | { kind: "pause" }
  | { kind: "seek"; time: number }
  /** Nothing was recorded. `next`: where the next recording of what is loaded begins. */
  | { kind: "gap"; next: number | null };

export const RATES = [0.25, 0.5, 1, 2, 4, 8, 16] as const;
/** Above this rate, keyframes alone are played. */
const ALL_FRAMES_MAX = 4;
const KEYFRAMES_PER_SECOND = 4;

/** No `<video>` plays slower or faster than this (Chromium). */
const RATE_MIN = 0.0625;
const RATE_MAX = 16;
/** A player that is no further off is right, ms of the wall. Four times as fast, two of them are 32 ms of the recording apart. */
const EXACT_MS = 4;
/** One that is further behind a clock that waits comes up to it, ms of the wall. */
const BEHIND_STILL_MS = 12;
/** One that is further ahead waits, ms of the wall: to slow down would take it a second or more. */
const AHEAD_MS = 80;
/** One that is further off than this seeks, ms of the wall. */
const SEEK_MS = 600;
/** An error is made good within about so long, ms of the wall, and the speed changes by no more than this part of it. */
const CORRECTION_MS = 700;
const CORRECTION_MAX = 0.25;
/** A seek while the clock runs aims at where it will be. */
const SEEK_LEAD_MS = 250;
/** While the clock stands, a picture that is this close is the right one. */
const STILL_MS = 2;
/** A hole between two files is not a gap. */
const HOLE_MS = 1500;
/** Before a gap ends, its player gets ready. */
const PREPARE_MS = 4000;
/** A clock whose players are that far behind waits for them, ms of the wall. */
const BEHIND_MS = 250;
/** Rule 1. */
export const HOLD_MAX_MS = 5000;

/** Of keyframes alone, the seconds between two of them, as many as a person can see; null for all frames. */
export function keyframeInterval(rate: number): number | null {
  return rate > ALL_FRAMES_MAX ? rate / KEYFRAMES_PER_SECOND : null;
}

/** Spans in order, those that follow each other joined. */
export function joinSpans(spans: readonly Span[], hole = HOLE_MS): Span[] {
  const joined: Span[] = [];
  for (const { start, end } of [...spans].sort((a, b) => a.start - b.start)) {
    const last = joined.at(-1);
    if (last && start - last.end <= hole) last.end = Math.max(last.end, end);
    else joined.push({ start, end });
  }
  return joined;
}

/** Whether something was recorded at a time. */
export function isRecorded(recorded: readonly Span[], time: number): boolean {
  return recorded.some(({ start, end }) => time >= start && time < end);
}

/** What a player has to do. */
export function orderFor(player: PlayerPosition, { time, rate, isRunning, isExact }: ClockState): Order {
  if (!isRecorded(player.recorded, time)) {
    const next = player.recorded.find(({ start }) => start > time)?.start ?? null;
    const isSoon = next !== null && next - time < PREPARE_MS * Math.max(1, rate);
    const isThere = player.time !== null && next !== null && Math.abs(player.time - next) < STILL_MS;
    if (isSoon && !isThere && player.sought !== next) return { kind: "seek", time: next };
    return { kind: "gap", next };
  }
  const far = isExact ? STILL_MS : SEEK_MS * Math.max(1, rate);
  if (player.time === null) {
    // A seek whose frame is not presented yet is not repeated.
    const isSought = player.sought !== null && Math.abs(player.sought - time) <= far;
    return isSought ? { kind: "pause" } : { kind: "seek", time };
  }
  const off = time - player.time;
  const isFar = Math.abs(off) > far;
  if (!isRunning) {
    // What was sought is shown as well as it can be: a frame begins where it begins.
    if (isFar) return player.sought === time ? { kind: "pause" } : { kind: "seek", time };
    // The clock waits: those that are behind come up to it.
    return !isExact && off > BEHIND_STILL_MS * Math.max(1, rate) ? { kind: "play", rate } : { kind: "pause" };
  }
  if (isFar) {
    if (!player.isReady) return { kind: "pause" };
    return { kind: "seek", time: time + SEEK_LEAD_MS * rate };
  }
  if (off < -AHEAD_MS * Math.max(1, rate)) return { kind: "pause" };
  if (Math.abs(off) <= EXACT_MS * Math.max(1, rate)) return { kind: "play", rate };
  const most = CORRECTION_MAX * rate;
  const correction = Math.max(-most, Math.min(most, off / CORRECTION_MS));
  return { kind: "play", rate: Math.max(RATE_MIN, Math.min(RATE_MAX, rate + correction)) };
}

export class SharedClock {
  private base: number;
  private since: number;
  private wantedRate = 1;
  private isPlaying = true;
  private isHeld = false;
  private isExact = true;
  /** Since when the clock has waited for each player; those that it no longer waits for have null. */
  private readonly waiting = new Map<string, number | null>();

  constructor(time: number, now: number) {
    this.base = time;
    this.since = now;
  }

  get rate(): number {
    return this.wantedRate;
  }

  get paused(): boolean {
    return !this.isPlaying;
  }

  state(now: number): ClockState {
    const isRunning = this.isPlaying && !this.isHeld;
    return { time: this.time(now), rate: this.wantedRate, isRunning, isExact: this.isExact && !isRunning };
  }

  time(now: number): number {
    return this.base + (this.isPlaying && !this.isHeld ? Math.max(0, now - this.since) * this.wantedRate : 0);
  }

  seek(time: number, now: number): void {
    this.base = time;
    this.since = now;
    this.isExact = true;
    this.waiting.clear();
  }

  setRate(rate: number, now: number): void {
    this.rebase(now);
    this.wantedRate = rate;
    this.waiting.clear();
  }

  play(now: number): void {
    this.rebase(now);
    this.isPlaying = true;
  }

  pause(now: number): void {
    this.rebase(now);
    this.isPlaying = false;
    this.isExact = true;
  }

  /** Rule 1: hold the clock, or let it go on, by what the players have. Those that are not loaded yet are null. */
  update(players: ReadonlyMap<string, PlayerPosition | null>, now: number): void {
    const time = this.time(now);
    let isHeld = false;
    for (const id of this.waiting.keys()) if (!players.has(id)) this.waiting.delete(id);
    for (const [id, player] of players) {
      if (!this.isLate(player, time)) {
        this.waiting.delete(id);
        continue;
      }
      const since = this.waiting.get(id);
      if (since === undefined) this.waiting.set(id, now);
      else if (since !== null && now - since > HOLD_MAX_MS) this.waiting.set(id, null);
      if (this.waiting.get(id) !== null) isHeld = true;
    }
    if (this.isPlaying && !isHeld) this.isExact = false;
    if (isHeld === this.isHeld) return;
    this.rebase(now);
    this.isHeld = isHeld;
  }

  /** Whether a player has something to show at a time and cannot. */
  private isLate(player: PlayerPosition | null, time: number): boolean {
    if (player === null) return true;
    if (!isRecorded(player.recorded, time)) return false;
    if (!player.isReady || player.time === null) return true;
    const behind = time - player.time;
    return behind > BEHIND_MS * Math.max(1, this.wantedRate) && behind < SEEK_MS * Math.max(1, this.wantedRate);
  }

  private rebase(now: number): void {
    this.base = this.time(now);
    this.since = now;
  }
}
