import { describe, expect, it } from "vitest";
import {
  JUMP_S,
  KEEP_S,
  liveSync,
  MARGIN_HOLD_MS,
  MARGIN_MAX_S,
  MARGIN_STEP_S,
  type Range,
  SLACK_S,
  StallMargin,
} from "../src/core/live-sync.ts";

/** Play a live stream for `seconds`: the buffer is always `buffered` ahead of the target. Returns how late it is then. */
function play(late: number, seconds: number, { buffered = 0.5, from = 0 } = {}): { late: number; jumps: number } {
  let target = 100;
  let position = target - late;
  let jumps = 0;
  for (let time = 0; time < seconds; time += 0.1) {
    target += 0.1;
    const ranges: Range[] = [[from, target + buffered]];
    const { seek, rate } = liveSync(position, target, ranges);
    if (seek !== null) {
      position = seek;
      jumps += 1;
    }
    position = Math.min(position + 0.1 * rate, target + buffered);
  }
  return { late: target - position, jumps };
}

describe("catching up", () => {
  it("leaves alone what is at the live edge", () => {
    expect(liveSync(10, 10 + SLACK_S / 2, [[0, 11]])).toEqual({ seek: null, rate: 1 });
    expect(liveSync(10.2, 10, [[0, 11]])).toEqual({ seek: null, rate: 1 });
  });

  it.each([0.3, 0.8, 1.4])("plays faster when it is %f s late, and is on time soon", (late) => {
    const { late: then, jumps } = play(late, 12);
    expect(then).toBeLessThanOrEqual(SLACK_S + 0.01);
    expect(jumps).toBe(0);
  });

  it.each([1.6, 5, 60])("jumps once when it is %f s late", (late) => {
    const { late: then, jumps } = play(late, 1);
    expect(then).toBeLessThanOrEqual(SLACK_S + 0.01);
    expect(jumps).toBe(1);
  });

  it("does not run dry for it", () => {
    expect(liveSync(10, 11, [[0, 10 + KEEP_S / 2]]).rate).toBe(1);
    const { late } = play(1, 30, { buffered: -0.8 });
    expect(late).toBeGreaterThan(0.8);
  });

  it("jumps as far as the buffer goes", () => {
    const { seek } = liveSync(10, 20, [[0, 18]]);
    expect(seek).toBeGreaterThan(17);
    expect(seek).toBeLessThan(18);
  });

  it("jumps to where there is nothing yet, where the buffer has nothing newer", () => {
    expect(liveSync(10, 20, [[0, 10.5]]).seek).toBe(20);
    expect(liveSync(10, 20, []).seek).toBe(20);
    expect(liveSync(10, 10 + JUMP_S / 2, []).seek).toBeNull();
  });

  it("jumps over the hole that an outage left", () => {
    const hole: Range[] = [
      [0, 10],
      [11.1, 11.5],
    ];
    expect(liveSync(10, 11, hole).seek).toBe(11.1);
    // Until the hole is reached, what is before it is played.
    expect(liveSync(9.5, 10.4, hole).seek).toBeNull();
  });

  it("does not jump into what is too short to be decoded", () => {
    expect(
      liveSync(10, 11, [
        [0, 10],
        [11.1, 11.15],
      ]).seek,
    ).toBeNull();
  });
});

describe("StallMargin", () => {
  it("is nothing as long as nothing happens", () => {
    expect(new StallMargin().at(1_000_000)).toBe(0);
  });

  it("grows with each stall, is kept, and shrinks again", () => {
    const margin = new StallMargin();
    margin.stalled(1000);
    margin.stalled(2000);
    expect(margin.at(2000)).toBeCloseTo(2 * MARGIN_STEP_S);
    expect(margin.at(2000 + MARGIN_HOLD_MS)).toBeCloseTo(2 * MARGIN_STEP_S);
    expect(margin.at(2000 + 2 * MARGIN_HOLD_MS)).toBeCloseTo(MARGIN_STEP_S);
    expect(margin.at(2000 + 9 * MARGIN_HOLD_MS)).toBe(0);
  });

  it("begins from what is left of the last one", () => {
    const margin = new StallMargin();
    margin.stalled(0);
    margin.stalled(1.5 * MARGIN_HOLD_MS);
    expect(margin.at(1.5 * MARGIN_HOLD_MS)).toBeCloseTo(1.5 * MARGIN_STEP_S);
  });

  it("has an end", () => {
    const margin = new StallMargin();
    for (let stall = 0; stall < 100; stall++) margin.stalled(stall);
    expect(margin.at(100)).toBe(MARGIN_MAX_S);
  });
});
