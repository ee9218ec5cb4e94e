// Painting of the timeline. Ranges differ in shape, and not only in color: recorded is a block, protected a hatched block
// with a bar on top, what only the sub stream has is a block of half the height, missing a dashed line. Below are a row of
// activity, with bars of different height, and one of events: a bar, or a taller tick for a moment. Every color has a
// contrast of 3:1 against the panel (WCAG 1.4.11).
// What lies on top of a block has an outline in the color of the panel (test/contrast.test.ts).

import { type ActivityScores, barsOf } from "../core/activity.ts";
import { type EventMark, extentOf, isMoment } from "../core/event-marks.ts";
import { type RecordedRange, ticks, toX, type View } from "../core/timeline.ts";
import { clock, shortClock, shortDay } from "./format.ts";

export const HEIGHT = 106;
/** The ruler above the blocks. */
export const RULER = 24;
const TOP = RULER + 6;
const BLOCK = 38;
/** Between the recordings of two cameras. */
const ROW_GAP_PX = 1;
/** The row of activity, below the blocks and the edges of the selection. */
const ACTIVITY_TOP = TOP + BLOCK + 6;
const ACTIVITY_PX = 14;
/** The row of events, below that. */
export const EVENTS_TOP = ACTIVITY_TOP + ACTIVITY_PX + 4;
const EVENT_PX = 6;
const MOMENT_PX = 12;
const LABEL_GAP_PX = 70;
const HATCH_PX = 7;
const BAR_PX = 4;
const SECONDS_SPAN_MS = 20 * 60_000;

export interface Selection {
  from: number | null;
  to: number | null;
}

export interface TimelineScene {
  view: View;
  /** What was recorded of each camera. */
  rows: readonly (readonly RecordedRange[])[];
  activity: ActivityScores | null;
  marks: readonly EventMark[];
  now: number;
  selection: Selection;
  playhead: number | null;
  isLive: boolean;
}

/** Paint the timeline on a canvas `width` pixels wide. `style` has the colors of the page. */
export function paint(
  context: CanvasRenderingContext2D,
  style: CSSStyleDeclaration,
  width: number,
  scene: TimelineScene,
): void {
  const { view, rows, now, selection, playhead, isLive } = scene;
  const color = (name: string) => style.getPropertyValue(`--${name}`);
  const x = (time: number) => toX(view, time, width);
  context.clearRect(0, 0, width, HEIGHT);

  // The dashed line of missing time, which ends now.
  context.strokeStyle = color("missing");
  context.lineWidth = 2;
  context.setLineDash([3, 5]);
  const row = (BLOCK - ROW_GAP_PX * (rows.length - 1)) / Math.max(1, rows.length);
  const tops = rows.map((_, number) => TOP + number * (row + ROW_GAP_PX));
  for (const top of tops) line(context, 0, top + row / 2, Math.max(0, Math.min(width, x(now))), top + row / 2);
  context.setLineDash([]);

  for (const [number, recorded] of rows.entries()) {
    for (const range of recorded) {
      if (range.end < view.from || range.start > view.to) continue;
      const left = Math.max(0, x(range.start));
      block(context, color, left, Math.max(1, Math.min(width, x(range.end)) - left), tops[number] ?? TOP, row, range);
    }
  }

  context.font = `12px ${style.fontFamily}`;
  context.textBaseline = "middle";
  for (const { time, isDay } of ticks(view, width, LABEL_GAP_PX)) {
    const at = Math.round(x(time));
    context.fillStyle = color("border");
    context.fillRect(at, RULER - 4, 1, 6);
    context.fillStyle = color("text-muted");
    const seconds = view.to - view.from < SECONDS_SPAN_MS;
    const label = isDay ? shortDay(time) : seconds ? clock(time) : shortClock(time);
    if (at + 4 + context.measureText(label).width < width) context.fillText(label, at + 4, RULER / 2 + 1);
  }

  paintActivity(context, color, width, scene);
  paintEvents(context, color, width, scene);
  paintSelection(context, color, selection, x);
  if (playhead !== null && playhead >= view.from && playhead <= view.to)
    paintPlayhead(context, color, x(playhead), isLive);
}

type Color = (name: string) => string;

function block(
  context: CanvasRenderingContext2D,
  color: Color,
  left: number,
  width: number,
  rowTop: number,
  row: number,
  { isProtected, isSub }: RecordedRange,
): void {
  const height = isSub ? row / 2 : row;
  const top = rowTop + row - height;
  context.fillStyle = color("panel");
  context.fillRect(left - 1, rowTop, width + 2, row);
  context.fillStyle = color(isProtected ? "protected" : "recorded");
  context.fillRect(left, top, width, height);
  if (!isProtected) return;
  context.save();
  context.beginPath();
  context.rect(left, top, width, height);
  context.clip();
  context.strokeStyle = color("panel");
  context.lineWidth = 1.5;
  // The hatching is aligned to the timeline and not to the block, so that it does not shift while the view moves.
  for (let at = left - (left % HATCH_PX) - BLOCK; at < left + width; at += HATCH_PX)
    line(context, at, TOP + BLOCK, at + BLOCK, TOP);
  context.restore();
  context.fillStyle = color("protected");
  // Above a block; between rows there is no room.
  if (row === BLOCK) context.fillRect(left, top - BAR_PX, width, BAR_PX);
  else context.fillRect(left, top, width, Math.min(2, row / 3));
}

/** A bar for each step of time, from a line that is as long as what was recorded of the view. */
function paintActivity(
  context: CanvasRenderingContext2D,
  color: Color,
  width: number,
  { activity, view, rows }: TimelineScene,
): void {
  if (!activity) return;
  context.fillStyle = color("border");
  for (const { start, end } of rows.flat()) {
    const left = Math.max(0, toX(view, start, width));
    context.fillRect(left, ACTIVITY_TOP + ACTIVITY_PX, Math.max(0, Math.min(width, toX(view, end, width)) - left), 1);
  }
  context.fillStyle = color("activity");
  for (const { left, width: wide, height } of barsOf(activity, view, width)) {
    const tall = Math.round(height * ACTIVITY_PX);
    context.fillRect(left, ACTIVITY_TOP + ACTIVITY_PX - tall, wide, tall);
  }
}

/** Long events below short ones, and moments on top. */
function paintEvents(
  context: CanvasRenderingContext2D,
  color: Color,
  width: number,
  { marks, view, now }: TimelineScene,
): void {
  const extents = marks.flatMap((mark) => {
    const extent = extentOf(mark, view, width, now);
    return extent ? [{ ...extent, height: isMoment(mark) ? MOMENT_PX : EVENT_PX }] : [];
  });
  for (const extent of extents.sort((a, b) => a.height - b.height || b.width - a.width)) {
    const top = EVENTS_TOP + (MOMENT_PX - extent.height) / 2;
    outlinedRect(context, color, "event", extent.left, top, extent.width, extent.height);
  }
}

function paintSelection(
  context: CanvasRenderingContext2D,
  color: Color,
  { from, to }: Selection,
  x: (time: number) => number,
): void {
  if (from !== null && to !== null) {
    const [left, width] = [x(from), x(to) - x(from)];
    context.fillStyle = color("text");
    context.globalAlpha = 0.22;
    context.fillRect(left, TOP, width, BLOCK);
    context.globalAlpha = 1;
    outlinedRect(context, color, "text", left, TOP - 5, width, 2);
    outlinedRect(context, color, "text", left, TOP + BLOCK + 3, width, 2);
  }
  for (const edge of [from, to].filter((time) => time !== null).map(x)) {
    outlinedRect(context, color, "text", edge - 1, TOP - 5, 2, BLOCK + 10);
    // The handle.
    outlinedRect(context, color, "text", edge - 3, TOP + BLOCK / 2 - 8, 6, 16);
  }
}

function paintPlayhead(context: CanvasRenderingContext2D, color: Color, at: number, isLive: boolean): void {
  const name = isLive ? "live" : "playback";
  outlinedRect(context, color, name, at - 1, RULER - 2, 2, HEIGHT - RULER + 2);
  context.beginPath();
  context.moveTo(at - 6, RULER - 6);
  context.lineTo(at + 6, RULER - 6);
  context.lineTo(at, RULER + 3);
  context.fill();
}

function outlinedRect(
  context: CanvasRenderingContext2D,
  color: Color,
  name: string,
  x: number,
  y: number,
  width: number,
  height: number,
): void {
  context.fillStyle = color("panel");
  context.fillRect(x - 1, y - 1, width + 2, height + 2);
  context.fillStyle = color(name);
  context.fillRect(x, y, width, height);
}

function line(context: CanvasRenderingContext2D, x1: number, y1: number, x2: number, y2: number): void {
  context.beginPath();
  context.moveTo(x1, y1);
  context.lineTo(x2, y2);
  context.stroke();
}
