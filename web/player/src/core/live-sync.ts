// How a buffered stream stays at the live edge: faster playback if it is a little late, a seek if it is very late.
//
// Rules:
// 1. Less than TOLERANCE_S late, play at the normal rate: position and target jitter by a frame.
// 2. Later, play faster, as long as BUFFER_MIN_S of buffer is ahead. An empty buffer would cost more than is gained.
// 3. More than SEEK_S late (after a suspend or an outage), seek as far as the buffer goes. If the buffer has nothing newer,
//    seek to the target itself; the loader has to load there.
// 4. Seek over a gap in the buffer (the camera was away) as soon as there is something behind it.
// 5. A player whose buffer has run empty stays further from the live edge for a while, because a network with half a
//    second of jitter will do it again. See StallMargin.

/** Seconds. */
export const TOLERANCE_S = 0.1;
export const BUFFER_MIN_S = 0.4;
export const SEEK_S = 1.5;
/** 5 % cannot be heard. From FAST_S on, catching up soon matters more. */
const RATE = 1.05;
const FAST_RATE = 1.2;
const FAST_S = 0.4;
/** A decoder needs this much ahead of the position. */
const DECODABLE_S = 0.15;
/** Playback stops this close to the end of a buffered range. */
const RANGE_END_S = 0.05;

/** About the length of a part: a part that came too late was late by that much. */
export const MARGIN_STEP_S = 0.2;
export const MARGIN_MAX_S = 2;
/** The margin is kept for so long after a stall, and then loses one step in the same time. */
export const MARGIN_HOLD_MS = 30_000;

/** Start and end of a buffered range, s. */
export type Range = readonly [number, number];

export interface Correction {
  /** Where to seek to, s; null for no seek. */
  seek: number | null;
  playbackRate: number;
}

/** How to get from `position` to `target`. Both are in seconds on the media timeline. */
export function liveSync(position: number, target: number, ranges: readonly Range[]): Correction {
  const current = ranges.find(([start, end]) => start - RANGE_END_S <= position && position <= end);
  const ahead = current ? current[1] - position : 0;
  const late = target - position;
  const newest = [...ranges]
    .reverse()
    .find(([start, end]) => end - start >= DECODABLE_S && end > position + RANGE_END_S);
  if (late > SEEK_S) {
    if (!newest || newest[1] < position + SEEK_S) return { seek: target, playbackRate: 1 };
    return { seek: clamp(newest, target), playbackRate: 1 };
  }
  if (ahead < RANGE_END_S && newest && newest[0] > position) return { seek: clamp(newest, target), playbackRate: 1 };
  if (late <= TOLERANCE_S || ahead <= BUFFER_MIN_S) return { seek: null, playbackRate: 1 };
  return { seek: null, playbackRate: late > FAST_S ? FAST_RATE : RATE };
}

/** The playable position in a range that is nearest to the target. */
function clamp([start, end]: Range, target: number): number {
  return Math.max(start, Math.min(target, end - DECODABLE_S));
}

/** Extra distance from the live edge. It grows with each stall, and shrinks without stalls. */
export class StallMargin {
  private seconds = 0;
  private since = 0;

  /** The buffer ran empty at `now`, ms. */
  stalled(now: number): void {
    this.seconds = Math.min(this.at(now) + MARGIN_STEP_S, MARGIN_MAX_S);
    this.since = now;
  }

  /** The margin at `now` (ms), in seconds. */
  at(now: number): number {
    const decaying = Math.max(0, now - this.since - MARGIN_HOLD_MS);
    return Math.max(0, this.seconds - (decaying / MARGIN_HOLD_MS) * MARGIN_STEP_S);
  }
}
