import { describe, expect, it } from "vitest";
import {
  BUFFER_MIN_S,
  liveSync,
  MARGIN_HOLD_MS,
  MARGIN_MAX_S,
  MARGIN_STEP_S,
  type Range,
  SEEK_S,
  StallMargin,
  TOLERANCE_S,
} from "../src/core/live-sync.ts";

/** Play a live stream for `seconds`, with a buffer that ends `buffered` after the target. Returns how late it is then. */
function play(late: number, seconds: number, { buffered = 0.5, from = 0 } = {}): { late: number; seeks: number } {
  let target = 100;
  let position = target - late;
  let seeks = 0;
  for (let time = 0; time < seconds; time += 0.1) {
    target += 0.1;
    const ranges: Range[] = [[from, target + buffered]];
    const { seek, playbackRate } = liveSync(position, target, ranges);
    if (seek !== null) {
      position = seek;
      seeks += 1;
    }
    position = Math.min(position + 0.1 * playbackRate, target + buffered);
  }
  return { late: target - position, seeks };
}

describe("liveSync", () => {
  it("does nothing at the live edge", () => {
    expect(liveSync(10, 10 + TOLERANCE_S / 2, [[0, 11]])).toEqual({ seek: null, playbackRate: 1 });
    expect(liveSync(10.2, 10, [[0, 11]])).toEqual({ seek: null, playbackRate: 1 });
  });

  it.each([0.3, 0.8, 1.4])("plays faster if it is %f s late, and catches up", (late) => {
    const { late: then, seeks } = play(late, 12);
    expect(then).toBeLessThanOrEqual(TOLERANCE_S + 0.01);
    expect(seeks).toBe(0);
  });

  it.each([1.6, 5, 60])("seeks once if it is %f s late", (late) => {
    const { late: then, seeks } = play(late, 1);
    expect(then).toBeLessThanOrEqual(TOLERANCE_S + 0.01);
    expect(seeks).toBe(1);
  });

  it("does not empty the buffer", () => {
    expect(liveSync(10, 11, [[0, 10 + BUFFER_MIN_S / 2]]).playbackRate).toBe(1);
    const { late } = play(1, 30, { buffered: -0.8 });
    expect(late).toBeGreaterThan(0.8);
  });

  it("seeks to the end of the buffer", () => {
    const { seek } = liveSync(10, 20, [[0, 18]]);
    expect(seek).toBeGreaterThan(17);
    expect(seek).toBeLessThan(18);
  });

  it("seeks to the target if the buffer has nothing newer", () => {
    expect(liveSync(10, 20, [[0, 10.5]]).seek).toBe(20);
    expect(liveSync(10, 20, []).seek).toBe(20);
    expect(liveSync(10, 10 + SEEK_S / 2, []).seek).toBeNull();
  });

  it("seeks over a gap", () => {
    const gap: Range[] = [
      [0, 10],
      [11.1, 11.5],
    ];
    expect(liveSync(10, 11, gap).seek).toBe(11.1);
    // Play up to the gap first.
    expect(liveSync(9.5, 10.4, gap).seek).toBeNull();
  });

  it("does not seek to a range that is too short to decode", () => {
    expect(
      liveSync(10, 11, [
        [0, 10],
        [11.1, 11.15],
      ]).seek,
    ).toBeNull();
  });
});

describe("StallMargin", () => {
  it("is 0 without a stall", () => {
    expect(new StallMargin().at(1_000_000)).toBe(0);
  });

  it("grows with each stall, holds, and shrinks again", () => {
    const margin = new StallMargin();
    margin.stalled(1000);
    margin.stalled(2000);
    expect(margin.at(2000)).toBeCloseTo(2 * MARGIN_STEP_S);
    expect(margin.at(2000 + MARGIN_HOLD_MS)).toBeCloseTo(2 * MARGIN_STEP_S);
    expect(margin.at(2000 + 2 * MARGIN_HOLD_MS)).toBeCloseTo(MARGIN_STEP_S);
    expect(margin.at(2000 + 9 * MARGIN_HOLD_MS)).toBe(0);
  });

  it("grows from what is left of the last stall", () => {
    const margin = new StallMargin();
    margin.stalled(0);
    margin.stalled(1.5 * MARGIN_HOLD_MS);
    expect(margin.at(1.5 * MARGIN_HOLD_MS)).toBeCloseTo(1.5 * MARGIN_STEP_S);
  });

  it("has a maximum", () => {
    const margin = new StallMargin();
    for (let stall = 0; stall < 100; stall++) margin.stalled(stall);
    expect(margin.at(100)).toBe(MARGIN_MAX_S);
  });
});
