// Where the activity of a camera is on its timeline: a bar for each step of time, as high as the score says.

import type { ActivityTimeline } from "../generated/api.ts";
import { toX, type View } from "./timeline.ts";

/** Scores from 0 to 1, one for each `step` ms from `start` on; null where nothing is known. */
export interface ActivityScores {
  start: number;
  step: number;
  scores: readonly (number | null)[];
}

export interface Bar {
  left: number;
  width: number;
  /** From 0 to 1. */
  height: number;
}

/** A bar of this width can be seen beside the next one. */
const STEP_PX = 2;
/** What there is of a score can be seen. */
const HEIGHT_MIN = 0.15;

export function toScores({ start, step_s, activity }: ActivityTimeline): ActivityScores {
  return { start: Date.parse(start), step: step_s * 1000, scores: activity };
}

/** The length of a step for a view of that many pixels, in whole seconds. */
export function stepFor({ from, to }: View, width: number): number {
  return Math.max(1, Math.ceil(((to - from) / 1000) * (STEP_PX / Math.max(1, width))));
}

/**
 * The bars of a view, cut to it, on whole pixels: two neighbours on the same fraction of a pixel leave a seam. Small
 * scores are drawn higher than they are: they are what is easily missed.
 */
export function barsOf({ start, step, scores }: ActivityScores, view: View, width: number): Bar[] {
  const first = Math.max(0, Math.floor((view.from - start) / step));
  const last = Math.min(scores.length, Math.ceil((view.to - start) / step));
  const bars: Bar[] = [];
  for (let at = first; at < last; at++) {
    const score = scores[at];
    if (!score) continue;
    const left = Math.max(0, Math.round(toX(view, start + at * step, width)));
    const right = Math.min(width, Math.round(toX(view, start + (at + 1) * step, width)));
    bars.push({ left, width: Math.max(1, right - left), height: Math.max(HEIGHT_MIN, Math.sqrt(score)) });
  }
  return bars;
}
