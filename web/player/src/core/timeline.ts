// The arithmetic of a timeline: a view of time over a width of pixels, and what was recorded as mergeRanges in it.
// Times are ms since the Unix epoch.

export interface View {
  from: number;
  to: number;
}

export interface RecordedRange {
  start: number;
  end: number;
  isProtected: boolean;
}

export const SPAN_MIN_MS = 60_000;
export const SPAN_MAX_MS = 7 * 86_400_000;

/** Files follow each other to the frame; below this, a hole is none that anybody could see or miss. */
const JOIN_MS = 1500;

/** Steps of the ruler, ms: what people count time in. */
const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200].map(
  (s) => s * 1000,
);
const STEP_MAX_MS = 86_400_000;

export function toX(view: View, time: number, width: number): number {
  return ((time - view.from) / (view.to - view.from)) * width;
}

export function toTime(view: View, x: number, width: number): number {
  return view.from + (x / width) * (view.to - view.from);
}

/** The view with its span times `factor`, where `around` stays in its place. */
export function zoom(view: View, factor: number, around: number): View {
  const span = view.to - view.from;
  const wanted = Math.min(SPAN_MAX_MS, Math.max(SPAN_MIN_MS, span * factor));
  const from = around - ((around - view.from) / span) * wanted;
  return { from, to: from + wanted };
}

export function pan(view: View, by: number): View {
  return { from: view.from + by, to: view.to + by };
}

/** The view moved, as little as need be, so that a moment is in it with some room. */
export function reveal(view: View, time: number): View {
  const margin = (view.to - view.from) * 0.04;
  if (time > view.to - margin) return pan(view, time - view.to + margin);
  if (time < view.from + margin) return pan(view, time - view.from - margin);
  return view;
}

/** Recordings that follow each other as one, protected ones apart; in order of time. */
export function mergeRanges(recordings: readonly RecordedRange[]): RecordedRange[] {
  const joined: RecordedRange[] = [];
  for (const recording of [...recordings].sort((a, b) => a.start - b.start)) {
    const last = joined.at(-1);
    if (last && recording.start - last.end <= JOIN_MS && last.isProtected === recording.isProtected) {
      last.end = Math.max(last.end, recording.end);
    } else joined.push({ ...recording });
  }
  return joined;
}

/** What of a stretch of time was recorded, ms. */
export function recordedDuration(recordings: readonly RecordedRange[], from: number, to: number): number {
  return recordings.reduce((sum, { start, end }) => sum + Math.max(0, Math.min(end, to) - Math.max(start, from)), 0);
}

export interface Tick {
  time: number;
  /** Midnight: it is labelled with its day. */
  isDay: boolean;
}

/** Where the ruler has its marks, `gap` pixels apart at least, at round local times. */
export function ticks(view: View, width: number, gap: number): Tick[] {
  const least = ((view.to - view.from) * gap) / width;
  const step = STEPS.find((candidate) => candidate >= least) ?? STEP_MAX_MS;
  const result: Tick[] = [];
  const midnight = new Date(view.from);
  midnight.setHours(0, 0, 0, 0);
  // From each midnight anew: days are not all 24 h long.
  for (const day = new Date(midnight); day.getTime() < view.to; day.setDate(day.getDate() + 1)) {
    const next = new Date(day);
    next.setDate(next.getDate() + 1);
    for (let time = day.getTime(); time < Math.min(next.getTime(), view.to); time += step) {
      if (time >= view.from) result.push({ time, isDay: time === day.getTime() });
    }
  }
  return result;
}

/** The local day of a moment. */
export function dayOf(time: number): View {
  const from = new Date(time);
  from.setHours(0, 0, 0, 0);
  const to = new Date(from);
  to.setDate(to.getDate() + 1);
  return { from: from.getTime(), to: to.getTime() };
}
