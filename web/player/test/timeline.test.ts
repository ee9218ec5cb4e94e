import { describe, expect, it } from "vitest";
import {
  dayBeside,
  dayOf,
  firstView,
  listedRange,
  mergeRanges,
  pan,
  recordedDuration,
  reveal,
  SPAN_MAX_MS,
  SPAN_MIN_MS,
  ticks,
  toTime,
  toX,
  type View,
  zoom,
} from "../src/core/timeline.ts";

const HOUR = 3_600_000;
const noon = new Date(2026, 10, 23, 12).getTime();
const view: View = { from: noon, to: noon + HOUR };

describe("a view", () => {
  it("converts time to pixels and back", () => {
    expect(toX(view, noon + HOUR / 2, 1000)).toBe(500);
    expect(toTime(view, toX(view, noon + 1234, 777), 777)).toBeCloseTo(noon + 1234, 3);
  });

  it("zooms around a time", () => {
    const around = noon + HOUR / 4;
    const zoomed = zoom(view, 0.5, around);
    expect(zoomed.to - zoomed.from).toBe(HOUR / 2);
    expect(toX(zoomed, around, 1000)).toBe(toX(view, around, 1000));
  });

  it("has a minimum and a maximum span", () => {
    const near = zoom(view, 1e-9, noon);
    const far = zoom(view, 1e9, noon);
    expect([near.to - near.from, far.to - far.from]).toEqual([SPAN_MIN_MS, SPAN_MAX_MS]);
  });

  it("moves only as far as needed", () => {
    expect(reveal(view, noon + HOUR / 2)).toBe(view);
    const later = reveal(view, noon + 2 * HOUR);
    expect(later.to).toBeGreaterThan(noon + 2 * HOUR);
    expect(later.to - later.from).toBe(HOUR);
    expect(reveal(view, noon - HOUR).from).toBeLessThan(noon - HOUR);
    expect(pan(view, 5)).toEqual({ from: noon + 5, to: noon + HOUR + 5 });
  });
});

describe("recordings", () => {
  const at = (start: number, end: number, isProtected = false) => ({ start, end, isProtected, isSub: false });

  it("are merged if they are consecutive", () => {
    expect(mergeRanges([at(600, 1200), at(0, 600), at(1210, 1800)])).toEqual([at(0, 1800)]);
  });

  it("are not merged over a gap, or if only one is protected", () => {
    expect(mergeRanges([at(0, 1000), at(5000, 6000)])).toHaveLength(2);
    expect(mergeRanges([at(0, 1000), at(1000, 2000, true), at(2000, 3000)])).toHaveLength(3);
  });

  it("of the sub stream are shown where the main stream has none", () => {
    const sub = (start: number, end: number) => ({ ...at(start, end), isSub: true });
    expect(mergeRanges([sub(0, 9000), sub(9000, 20_000), at(5000, 10_000), at(14_000, 15_000)])).toEqual([
      sub(0, 5000),
      at(5000, 10_000),
      sub(10_000, 14_000),
      at(14_000, 15_000),
      sub(15_000, 20_000),
    ]);
    // Files of the two streams do not begin at the same moment.
    expect(mergeRanges([at(1000, 10_000), sub(0, 11_000)])).toEqual([at(1000, 10_000)]);
  });

  it("are not modified", () => {
    const given = [at(0, 600), at(600, 1200)];
    mergeRanges(given);
    expect(given).toEqual([at(0, 600), at(600, 1200)]);
  });

  it("are summed within a range", () => {
    expect(recordedDuration([at(0, 100), at(200, 400)], 50, 300)).toBe(150);
  });
});

describe("right after midnight", () => {
  const midnight = dayOf(noon).from;
  const now = midnight + 5 * 60_000;
  const yesterday = { start: midnight - 3 * HOUR, end: midnight - HOUR / 2, isProtected: false, isSub: false };

  it("the recordings of the last 24 hours are listed beside live", () => {
    expect(listedRange({ from: now - 60_000, to: now + 60_000 }, now).from).toBe(now - 24 * HOUR);
  });

  it("only the viewed day is listed beside another day", () => {
    const day = dayOf(midnight - 48 * HOUR);
    expect(listedRange(day, now)).toEqual(day);
  });

  it("the first view is the last 24 hours, where today has too little", () => {
    expect(firstView([yesterday], now)?.from).toBe(now - 24 * HOUR);
    expect(firstView([{ ...yesterday, start: yesterday.end - HOUR }], now)).toBeNull();
    expect(firstView([yesterday], midnight - 1)).toEqual(dayOf(midnight - 1));
  });
});

describe("the ruler", () => {
  it("has ticks at round times, far enough apart", () => {
    for (const span of [60_000, 7 * 60_000, HOUR, 5 * HOUR, 24 * HOUR, 7 * 24 * HOUR]) {
      const wide = { from: noon - 12_345, to: noon - 12_345 + span };
      const marks = ticks(wide, 1000, 70);
      expect(marks.length).toBeGreaterThan(1);
      expect(marks.length).toBeLessThanOrEqual(1000 / 70 + 2);
      for (const { time } of marks) expect(new Date(time).getMilliseconds()).toBe(0);
    }
  });

  it("has a tick at midnight", () => {
    const day = dayOf(noon);
    expect(ticks({ from: day.from - HOUR, to: day.from + HOUR }, 1000, 70).filter(({ isDay }) => isDay)).toEqual([
      { time: day.from, isDay: true },
    ]);
  });

  it("finds the days beside a view", () => {
    const day = dayOf(noon);
    expect(dayBeside({ from: noon - HOUR, to: noon + HOUR }, 0)).toEqual(day);
    expect(dayBeside({ from: noon - HOUR, to: noon + HOUR }, 1).from).toBe(day.to);
    expect(dayBeside(day, -1).to).toBe(day.from);
  });

  it("allows for days that do not have 24 hours", () => {
    const day = dayOf(noon);
    expect(new Date(day.to).getHours()).toBe(0);
    expect(day.from).toBeLessThanOrEqual(noon);
  });
});
