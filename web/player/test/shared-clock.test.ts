import { describe, expect, test } from "vitest";
import {
  HOLD_MAX_MS,
  isRecorded,
  joinSpans,
  keyframeInterval,
  orderFor,
  type PlayerPosition,
  SharedClock,
} from "../src/core/shared-clock.ts";

const T = Date.UTC(2026, 10, 29, 14, 0, 0);
const HOUR = [{ start: T, end: T + 3_600_000 }];
const at = (time: number | null, more: Partial<PlayerPosition> = {}): PlayerPosition => ({
  time,
  isReady: true,
  recorded: HOUR,
  sought: null,
  ...more,
});
const running = (time: number, rate = 1) => ({ time, rate, isRunning: true, isExact: false });
const still = (time: number) => ({ time, rate: 1, isRunning: false, isExact: true });
const held = (time: number) => ({ time, rate: 1, isRunning: false, isExact: false });

describe("what a player has to do", () => {
  test("one that is right plays at the rate of the clock", () => {
    expect(orderFor(at(T + 1003), running(T + 1000))).toEqual({ kind: "play", rate: 1 });
    expect(orderFor(at(T + 1000), running(T + 1100, 16))).toEqual({ kind: "play", rate: 16 });
  });
  test("one that is a little off plays faster or slower, within a quarter", () => {
    for (const [off, rate] of [
      [70, 1],
      [-70, 1],
      [500, 1],
      [-70, 0.25],
      [400, 4],
    ] as const) {
      const order = orderFor(at(T + 10_000 - off), running(T + 10_000, rate));
      expect(order.kind).toBe("play");
      if (order.kind !== "play") continue;
      expect(Math.sign(order.rate - rate)).toBe(Math.sign(off));
      expect(Math.abs(order.rate - rate)).toBeLessThanOrEqual(rate / 4);
    }
  });
  test("one that is further ahead waits for the clock", () => {
    for (const rate of [0.25, 1, 8]) {
      const ahead = 300 * Math.max(1, rate);
      expect(orderFor(at(T + ahead), running(T, rate))).toEqual({ kind: "pause" });
      expect(orderFor(at(T + ahead), running(T + ahead, rate))).toEqual({ kind: "play", rate });
    }
  });
  test("no video plays faster than 16 times", () => {
    expect(orderFor(at(T + 10_000), running(T + 14_000, 16))).toEqual({ kind: "play", rate: 16 });
  });
  test("one that is far off seeks to where the clock will be, once it can", () => {
    const order = orderFor(at(T), running(T + 5000, 2));
    expect(order).toEqual({ kind: "seek", time: T + 5500 });
    expect(orderFor(at(T, { isReady: false }), running(T + 5000)).kind).toBe("pause");
  });
  test("while the clock stands, it shows exactly its time, and a frame that begins elsewhere is sought once", () => {
    expect(orderFor(at(T + 900), still(T + 1000))).toEqual({ kind: "seek", time: T + 1000 });
    expect(orderFor(at(T + 1001), still(T + 1000))).toEqual({ kind: "pause" });
    expect(orderFor(at(T + 960, { sought: T + 1000 }), still(T + 1000))).toEqual({ kind: "pause" });
    expect(orderFor(at(null), still(T + 1000))).toEqual({ kind: "seek", time: T + 1000 });
    expect(orderFor(at(null, { sought: T + 1000 }), still(T + 1000))).toEqual({ kind: "pause" });
    expect(orderFor(at(null, { sought: T + 1000 }), running(T + 1400))).toEqual({ kind: "pause" });
    expect(orderFor(at(null, { sought: T + 1000 }), running(T + 9000))).toEqual({ kind: "seek", time: T + 9000 });
  });
  test("while the clock waits for another one, it comes up to it or stands, without a seek", () => {
    expect(orderFor(at(T + 700), held(T + 1000))).toEqual({ kind: "play", rate: 1 });
    expect(orderFor(at(T + 1050), held(T + 1000))).toEqual({ kind: "pause" });
    expect(orderFor(at(T), held(T + 1000))).toEqual({ kind: "seek", time: T + 1000 });
  });
  test("in a gap it waits, and gets ready before the gap ends", () => {
    const recorded = [
      { start: T, end: T + 10_000 },
      { start: T + 60_000, end: T + 90_000 },
    ];
    const before = T + 60_000;
    expect(orderFor(at(T + 9000, { recorded }), running(T + 20_000))).toEqual({ kind: "gap", next: before });
    expect(orderFor(at(T + 9000, { recorded }), running(T + 57_000))).toEqual({ kind: "seek", time: before });
    expect(orderFor(at(before, { recorded }), running(T + 58_000))).toEqual({ kind: "gap", next: before });
    expect(orderFor(at(before + 33, { recorded, sought: before }), running(T + 58_000)).kind).toBe("gap");
    expect(orderFor(at(before, { recorded }), running(before + 3))).toEqual({ kind: "play", rate: 1 });
    expect(orderFor(at(T + 80_000, { recorded }), running(T + 95_000))).toEqual({ kind: "gap", next: null });
    expect(orderFor(at(null, { recorded: [] }), running(T))).toEqual({ kind: "gap", next: null });
  });
});

test("above four times the rate, keyframes alone are played, four a second", () => {
  expect([0.25, 1, 4, 8, 16].map(keyframeInterval)).toEqual([null, null, null, 2, 4]);
});

test("a hole between two files is no gap, and the end of a span is not in it", () => {
  const joined = joinSpans([
    { start: T + 10_200, end: T + 20_000 },
    { start: T, end: T + 10_000 },
    { start: T + 30_000, end: T + 40_000 },
  ]);
  expect(joined).toEqual([
    { start: T, end: T + 20_000 },
    { start: T + 30_000, end: T + 40_000 },
  ]);
  expect([T, T + 20_000, T + 30_000].map((time) => isRecorded(joined, time))).toEqual([true, false, true]);
});

describe("the clock", () => {
  const players = (...all: (PlayerPosition | null)[]) => new Map(all.map((each, number) => [`cam${number}`, each]));

  test("runs at its rate, pauses, and seeks", () => {
    const clock = new SharedClock(T, 0);
    expect(clock.time(1000)).toBe(T + 1000);
    clock.setRate(16, 1000);
    expect(clock.time(2000)).toBe(T + 17_000);
    clock.pause(2000);
    expect(clock.state(9000)).toMatchObject({ time: T + 17_000, rate: 16, isRunning: false, isExact: true });
    clock.play(9000);
    clock.setRate(0.25, 9000);
    expect(clock.time(10_000)).toBe(T + 17_250);
    clock.seek(T + 5, 10_000);
    expect(clock.time(10_000)).toBe(T + 5);
  });

  test("waits for a player that has something to show, and goes on from the same time", () => {
    const clock = new SharedClock(T, 0);
    clock.update(players(at(T), at(null)), 0);
    expect(clock.state(3000)).toMatchObject({ time: T, rate: 1, isRunning: false });
    clock.update(players(at(T), null), 3000);
    expect(clock.time(3500)).toBe(T);
    clock.update(players(at(T), at(T)), 4000);
    expect(clock.time(5000)).toBe(T + 1000);
  });

  test("does not wait for one in a gap", () => {
    const clock = new SharedClock(T, 0);
    clock.update(players(at(T), at(null, { recorded: [], isReady: false })), 0);
    expect(clock.time(1000)).toBe(T + 1000);
  });

  test("waits for one that falls behind while it plays, and no longer than it may", () => {
    const clock = new SharedClock(T, 0);
    clock.update(players(at(T + 1000), at(T + 700)), 1000);
    expect(clock.time(1500)).toBe(T + 1000);
    clock.update(players(at(T + 1000), at(T + 990)), 1500);
    expect(clock.time(2000)).toBe(T + 1500);

    const stalled = players(at(T + 1500), at(T + 1000, { isReady: false }));
    clock.update(stalled, 2000);
    clock.update(stalled, 2000 + HOLD_MAX_MS + 1);
    expect(clock.time(2000 + HOLD_MAX_MS + 1001)).toBe(T + 2500);
    // It stays excused until it is ready again, and a seek begins anew.
    clock.update(stalled, 2000 + HOLD_MAX_MS + 2000);
    expect(clock.state(2000 + HOLD_MAX_MS + 2000).isRunning).toBe(true);
    clock.seek(T + 10_000, 20_000);
    clock.update(stalled, 20_000);
    expect(clock.state(20_001).isRunning).toBe(false);
  });

  test("a player that is gone is not waited for", () => {
    const clock = new SharedClock(T, 0);
    clock.update(players(at(T), at(null)), 0);
    clock.update(players(at(T)), 100);
    expect(clock.state(100).isRunning).toBe(true);
  });

  test("three players with different speeds come within 100 ms, and stay there", () => {
    // Each plays up to 3 % faster or slower than its order says, and begins up to 400 ms off.
    const clock = new SharedClock(T + 60_000, 0);
    const skews = [0.97, 1, 1.03];
    const shown = [T + 59_600, T + 60_100, T + 60_390];
    let worst = 0;
    for (let now = 0; now < 10_000; now += 50) {
      clock.update(players(...shown.map((time) => at(time))), now);
      const state = clock.state(now);
      shown.forEach((time, number) => {
        const order = orderFor(at(time), state);
        const rate = order.kind === "play" ? order.rate * (skews[number] ?? 1) : 0;
        shown[number] = order.kind === "seek" ? order.time : time + 50 * rate;
      });
      if (now > 4000) worst = Math.max(worst, Math.max(...shown) - Math.min(...shown));
    }
    expect(worst).toBeLessThan(100);
  });
});
