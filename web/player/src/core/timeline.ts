// The arithmetic of a timeline: a span of time over a width of pixels, and the recorded ranges in it.
// Times are ms since the Unix epoch.

export interface View {
  from: number;
  to: number;
}

export interface RecordedRange {
  start: number;
  end: number;
  isProtected: boolean;
  /** Whether it is a recording of the sub stream. */
  isSub: boolean;
}

export const SPAN_MIN_MS = 60_000;
export const SPAN_MAX_MS = 7 * 86_400_000;

/** Consecutive segments join to the frame. A shorter gap than this is not visible. */
const JOIN_MS = 1500;

/** Steps of the ruler, ms. */
const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200].map(
  (s) => s * 1000,
);
const DAY_MS = 86_400_000;
const STEP_MAX_MS = DAY_MS;

/** With less than this recorded in a day, a day is too long a first view. */
const DAY_VIEW_MIN_MS = 2 * 3_600_000;
/** The part of a view that is kept free after now. */
const VIEW_AHEAD = 0.02;

export function toX(view: View, time: number, width: number): number {
  return ((time - view.from) / (view.to - view.from)) * width;
}

export function toTime(view: View, x: number, width: number): number {
  return view.from + (x / width) * (view.to - view.from);
}

/** Multiply the span of a view by `factor`. The time `around` keeps its place. */
export function zoom(view: View, factor: number, around: number): View {
  const span = view.to - view.from;
  const wanted = Math.min(SPAN_MAX_MS, Math.max(SPAN_MIN_MS, span * factor));
  const from = around - ((around - view.from) / span) * wanted;
  return { from, to: from + wanted };
}

export function pan(view: View, by: number): View {
  return { from: view.from + by, to: view.to + by };
}

/** Move a view by as little as needed, so that a time is in it, with a margin. */
export function reveal(view: View, time: number): View {
  const margin = (view.to - view.from) * 0.04;
  if (time > view.to - margin) return pan(view, time - view.to + margin);
  if (time < view.from + margin) return pan(view, time - view.from - margin);
  return view;
}

/**
 * Merge consecutive recordings, in order of time. Protected and unprotected ones are not merged. Of the sub stream remains
 * what the main stream has not.
 */
export function mergeRanges(recordings: readonly RecordedRange[]): RecordedRange[] {
  const main = join(recordings.filter(({ isSub }) => !isSub));
  const sub = join(recordings.filter(({ isSub }) => isSub)).flatMap((range) => without(range, main));
  return [...main, ...sub].sort((a, b) => a.start - b.start);
}

/** The parts of a range that none of the others has; not those that are too short to be visible. */
export function without(range: RecordedRange, others: readonly RecordedRange[]): RecordedRange[] {
  const parts: RecordedRange[] = [];
  let { start } = range;
  for (const other of others) {
    if (other.end <= start || other.start >= range.end) continue;
    parts.push({ ...range, start, end: other.start });
    start = Math.max(start, other.end);
  }
  parts.push({ ...range, start });
  return parts.filter((part) => part.end - part.start > JOIN_MS);
}

function join(recordings: readonly RecordedRange[]): RecordedRange[] {
  const joined: RecordedRange[] = [];
  for (const recording of [...recordings].sort((a, b) => a.start - b.start)) {
    const last = joined.at(-1);
    if (last && recording.start - last.end <= JOIN_MS && last.isProtected === recording.isProtected) {
      last.end = Math.max(last.end, recording.end);
    } else joined.push({ ...recording });
  }
  return joined;
}

/** How much was recorded between two times, ms. */
export function recordedDuration(recordings: readonly RecordedRange[], from: number, to: number): number {
  return recordings.reduce((sum, { start, end }) => sum + Math.max(0, Math.min(end, to) - Math.max(start, from)), 0);
}

/** What is listed beside a view: its whole day. With a view of now also the last 24 hours, also right after midnight. */
export function listedRange(view: View, now: number): View {
  const { from, to } = dayOf((view.from + view.to) / 2);
  const hasNow = view.from <= now && now <= view.to;
  return {
    from: Math.min(view.from, from, hasNow ? now - DAY_MS : Number.POSITIVE_INFINITY),
    to: Math.max(view.to, to),
  };
}

/** The view to begin with: today, or else the last 24 hours, if enough is recorded in it; `null` for a shorter one. */
export function firstView(recordings: readonly RecordedRange[], now: number): View | null {
  const views = [dayOf(now), { from: now - DAY_MS, to: now + DAY_MS * VIEW_AHEAD }];
  return views.find(({ from, to }) => recordedDuration(recordings, from, to) >= DAY_VIEW_MIN_MS) ?? null;
}

export interface Tick {
  time: number;
  /** Midnight, which is labelled with the day. */
  isDay: boolean;
}

/** The ticks of the ruler: at round local times, and at least `gap` pixels apart. */
export function ticks(view: View, width: number, gap: number): Tick[] {
  const least = ((view.to - view.from) * gap) / width;
  const step = STEPS.find((candidate) => candidate >= least) ?? STEP_MAX_MS;
  const result: Tick[] = [];
  const midnight = new Date(view.from);
  midnight.setHours(0, 0, 0, 0);
  // Start again at each midnight, because not all days have 24 hours.
  for (const day = new Date(midnight); day.getTime() < view.to; day.setDate(day.getDate() + 1)) {
    const next = new Date(day);
    next.setDate(next.getDate() + 1);
    for (let time = day.getTime(); time < Math.min(next.getTime(), view.to); time += step) {
      if (time >= view.from) result.push({ time, isDay: time === day.getTime() });
    }
  }
  return result;
}

/** The local day of a time. */
export function dayOf(time: number): View {
  const from = new Date(time);
  from.setHours(0, 0, 0, 0);
  const to = new Date(from);
  to.setDate(to.getDate() + 1);
  return { from: from.getTime(), to: to.getTime() };
}

/** The day that is so many days after that of a view's middle, or before it. */
export function dayBeside({ from, to }: View, days: number): View {
  const date = new Date((from + to) / 2);
  date.setDate(date.getDate() + days);
  return dayOf(date.getTime());
}
