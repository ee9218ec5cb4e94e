// Where the events of a camera are on its timeline: a span, or a tick for a moment. An event that goes on ends now.

import type { Event as CameraEvent } from "../generated/api.ts";
import { toX, type View } from "./timeline.ts";

/** An event with its times, ms since the Unix epoch. */
export interface EventMark {
  id: string;
  label: string;
  source: string;
  start: number;
  /** null: it goes on. */
  end: number | null;
}

/** A shorter span is painted with this width. */
export const MARK_MIN_PX = 3;
/** A mark can be hit from this distance, which suits a finger. */
const HIT_PX = 6;

export function toMark({ id, label, source, start, end }: CameraEvent): EventMark {
  return { id, label, source, start: Date.parse(start), end: end === null ? null : Date.parse(end) };
}

export function isMoment({ start, end }: EventMark): boolean {
  return start === end;
}

/** The pixels of a mark, cut to the view; null if it is not in it. That of a moment is around its time. */
export function extentOf(
  mark: EventMark,
  view: View,
  width: number,
  now: number,
): { left: number; width: number } | null {
  // The clock of the sender of an event may be ahead.
  const end = Math.max(mark.start, mark.end ?? now);
  if (end < view.from || mark.start > view.to) return null;
  if (isMoment(mark)) return { left: toX(view, mark.start, width) - MARK_MIN_PX / 2, width: MARK_MIN_PX };
  const left = Math.max(0, toX(view, mark.start, width));
  return { left, width: Math.max(MARK_MIN_PX, Math.min(width, toX(view, end, width)) - left) };
}

/** The mark at a pixel. Of several the shortest: it lies on top of the others. Of moments the nearest. */
export function markAt(
  marks: readonly EventMark[],
  view: View,
  width: number,
  now: number,
  x: number,
): EventMark | null {
  let best: { mark: EventMark; width: number; distance: number } | null = null;
  for (const mark of marks) {
    const extent = extentOf(mark, view, width, now);
    if (!extent) continue;
    const distance = Math.max(0, extent.left - x, x - extent.left - extent.width);
    if (distance > HIT_PX) continue;
    if (!best || extent.width < best.width || (extent.width === best.width && distance < best.distance))
      best = { mark, width: extent.width, distance };
  }
  return best?.mark ?? null;
}
