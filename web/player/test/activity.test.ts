import { describe, expect, it } from "vitest";
import { barsOf, stepFor, toScores } from "../src/core/activity.ts";

const SECOND = 1000;
const scores = toScores({
  start: "2026-11-29T12:00:00Z",
  step_s: 2,
  activity: [null, 0, 0.25, 1],
  sound_db: [null, null, null, null],
});
const start = Date.parse("2026-11-29T12:00:00Z");

describe("activity", () => {
  it("has a bar for each step in which something happened", () => {
    const bars = barsOf(scores, { from: start, to: start + 8 * SECOND }, 80);
    expect(bars).toEqual([
      { left: 40, width: 20, height: 0.5 },
      { left: 60, width: 20, height: 1 },
    ]);
  });

  it("is cut to the view", () => {
    const bars = barsOf(scores, { from: start + 5 * SECOND, to: start + 7 * SECOND }, 100);
    expect(bars).toEqual([
      { left: 0, width: 50, height: 0.5 },
      { left: 50, width: 50, height: 1 },
    ]);
    expect(barsOf(scores, { from: start - 9 * SECOND, to: start - SECOND }, 100)).toEqual([]);
    expect(barsOf(scores, { from: start + 9 * SECOND, to: start + 10 * SECOND }, 100)).toEqual([]);
  });

  it("has no seam between neighbours", () => {
    const bars = barsOf(scores, { from: start, to: start + 8 * SECOND }, 37);
    expect(bars.map(({ left, width }) => [left, left + width])).toEqual([
      [19, 28],
      [28, 37],
    ]);
  });

  it("shows the smallest score", () => {
    const faint = { start, step: SECOND, scores: [0.01] };
    expect(barsOf(faint, { from: start, to: start + SECOND }, 10)[0]?.height).toBeGreaterThan(0.1);
  });

  it("is asked for in steps that can be seen", () => {
    expect(stepFor({ from: 0, to: 600 * SECOND }, 1000)).toBe(2);
    expect(stepFor({ from: 0, to: 60 * SECOND }, 1000)).toBe(1);
    expect(stepFor({ from: 0, to: 86_400 * SECOND }, 0)).toBeGreaterThan(60);
  });
});
