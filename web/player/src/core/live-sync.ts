// How a buffered stream stays where life is: faster playback for what is little, a jump for what is much.
//
// Rules:
// 1. Nearer than SLACK_S it plays as it is: target and position tremble by a frame.
// 2. Further, it plays faster, as long as KEEP_S of buffer stay ahead: running dry would cost more than is won.
// 3. Further than JUMP_S (a sleep, an outage), it jumps, as far as the buffer goes; where there is nothing newer in it, to
//    the target itself, and whoever loads has to load there.
// 4. A hole in the buffer (the camera was away) is jumped over as soon as there is something behind it.
// 5. Who runs dry keeps more distance for a while: a line that trembles by half a second does so again. See StallMargin.

/** Seconds. */
export const SLACK_S = 0.1;
export const KEEP_S = 0.4;
export const JUMP_S = 1.5;
/** Heard by nobody, and so far behind that half of it is better lost quickly. */
const RATE = 1.05;
const FAST_RATE = 1.2;
const FAST_S = 0.4;
/** A decoder wants something ahead of it. */
const LEAST_S = 0.15;
/** Nearer to the end of a range than this, it plays no more. */
const END_S = 0.05;

/** A part's length, more or less: what came too late did so by that much. */
export const MARGIN_STEP_S = 0.2;
export const MARGIN_MAX_S = 2;
/** So long it is kept, and so long it takes to lose a step again. */
export const MARGIN_HOLD_MS = 30_000;

/** Beginning and end of what is buffered, s. */
export type Range = readonly [number, number];

export interface Correction {
  /** Where to jump to, s; null for nowhere. */
  seek: number | null;
  rate: number;
}

/** What to do at `position` in order to be at `target`; all in seconds of the media. */
export function liveSync(position: number, target: number, ranges: readonly Range[]): Correction {
  const here = ranges.find(([start, end]) => start - END_S <= position && position <= end);
  const ahead = here ? here[1] - position : 0;
  const late = target - position;
  const newest = [...ranges].reverse().find(([start, end]) => end - start >= LEAST_S && end > position + END_S);
  if (late > JUMP_S) {
    if (!newest || newest[1] < position + JUMP_S) return { seek: target, rate: 1 };
    return { seek: within(newest, target), rate: 1 };
  }
  if (ahead < END_S && newest && newest[0] > position) return { seek: within(newest, target), rate: 1 };
  if (late <= SLACK_S || ahead <= KEEP_S) return { seek: null, rate: 1 };
  return { seek: null, rate: late > FAST_S ? FAST_RATE : RATE };
}

/** The place in a range that is nearest to the target, and plays. */
function within([start, end]: Range, target: number): number {
  return Math.max(start, Math.min(target, end - LEAST_S));
}

/** How much further from the live edge than asked for it is safe to be. Grows with each stall, shrinks without. */
export class StallMargin {
  private seconds = 0;
  private since = 0;

  /** It ran dry at `now`, ms. */
  stalled(now: number): void {
    this.seconds = Math.min(this.at(now) + MARGIN_STEP_S, MARGIN_MAX_S);
    this.since = now;
  }

  /** Seconds. */
  at(now: number): number {
    const calm = Math.max(0, now - this.since - MARGIN_HOLD_MS);
    return Math.max(0, this.seconds - (calm / MARGIN_HOLD_MS) * MARGIN_STEP_S);
  }
}
