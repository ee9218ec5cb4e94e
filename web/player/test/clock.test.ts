import { describe, expect, it } from "vitest";
import { Latency, RtpClock, ServerClock } from "../src/core/clock.ts";

describe("ServerClock", () => {
  it("has no offset before the first sample", () => {
    expect(new ServerClock().offset).toBeNull();
  });

  it("assigns the server time to the middle of the round trip", () => {
    const clock = new ServerClock();
    clock.add({ sent: 1000, received: 1100, server: 6050 });
    expect(clock.offset).toBe(5000);
    expect(clock.uncertainty).toBe(50);
  });

  it("uses the fastest round trip", () => {
    const clock = new ServerClock();
    clock.add({ sent: 0, received: 400, server: 5390 });
    clock.add({ sent: 1000, received: 1010, server: 6005 });
    clock.add({ sent: 2000, received: 2300, server: 7010 });
    expect(clock.offset).toBe(5000);
  });

  it("forgets old samples, because clocks drift", () => {
    const clock = new ServerClock();
    clock.add({ sent: 0, received: 1, server: 0.5 });
    for (let at = 1; at <= 8; at++) clock.add({ sent: at * 100, received: at * 100 + 20, server: at * 100 + 30 });
    expect(clock.offset).toBe(20);
  });

  it.each([3_600_000, -3_600_000, 2000])("follows a clock that was set by %d ms with the first sample", (step) => {
    const clock = new ServerClock();
    clock.add({ sent: 0, received: 1, server: 0.5 });
    clock.add({ sent: 100, received: 300, server: 200 + step });
    expect(clock.offset).toBe(step);
  });

  it("takes no slow round trip for a clock that was set", () => {
    const clock = new ServerClock();
    clock.add({ sent: 0, received: 2, server: 1 });
    clock.add({ sent: 100, received: 2100, server: 110 });
    expect(clock.offset).toBe(0);
  });

  it("ignores invalid samples", () => {
    const clock = new ServerClock();
    clock.add({ sent: 100, received: 50, server: 75 });
    clock.add({ sent: 0, received: 10, server: Number.NaN });
    expect(clock.offset).toBeNull();
  });
});

describe("Latency", () => {
  it("knows a picture that is sent again, by its capture time", () => {
    const latency = new Latency();
    expect(latency.isShown(1000)).toBe(false);
    latency.captured = 1000;
    // The last GOP of a camera that is silent, with RTP timestamps that are ticks apart.
    expect([1000, 1000 + 1 / 90, 1001].map((captured) => latency.isShown(captured))).toEqual([true, true, true]);
    // The next frame at 120 fps, a clock that was set back, and a frame whose time is not known.
    expect([1008.3, 400, null].map((captured) => latency.isShown(captured))).toEqual([false, false, false]);
  });

  it("grows while the picture stands still, and not between frames", () => {
    const latency = new Latency();
    expect(latency.at(5000, 0)).toBeNull();
    latency.add(1000, 1200, 0);
    latency.captured = 1000;
    expect(latency.at(1900, 0)).toBe(200);
    expect(latency.at(9000, 0)).toBe(8000);
    expect(latency.at(9000, null)).toBe(200);
    latency.captured = null;
    expect(latency.at(9000, 0)).toBe(200);
  });

  it("is unknown without an offset or a capture time", () => {
    const latency = new Latency();
    latency.add(1000, 1100, null);
    latency.add(Number.NaN, 1100, 0);
    expect(latency.value).toBeNull();
  });

  it("is the presentation time minus the capture time, on one clock", () => {
    const latency = new Latency();
    latency.add(10_000, 5080, 5000);
    expect(latency.value).toBe(80);
  });

  it.each([3_600_000, -3_600_000, 2000])("tells a jump of %d ms from jitter", (step) => {
    const latency = new Latency();
    expect(latency.isJump(1000, 1100, 0)).toBe(false);
    latency.add(1000, 1100, 0);
    expect(latency.isJump(2000, 2600, 0)).toBe(false);
    expect(latency.isJump(2000 + step, 2100, 0)).toBe(true);
    expect(latency.isJump(2000 + step, 2100, null)).toBe(false);
  });

  it("is never negative", () => {
    const latency = new Latency();
    latency.add(1000, 990, 0);
    expect(latency.value).toBe(0);
  });

  it("smooths jitter and follows a jump at once", () => {
    const latency = new Latency();
    latency.add(0, 100, 0);
    latency.add(0, 180, 0);
    expect(latency.value).toBe(110);
    latency.add(0, 5000, 0);
    expect(latency.value).toBe(5000);
  });
});

describe("RtpClock", () => {
  it("knows no capture time before the first pair", () => {
    expect(new RtpClock().captured(5)).toBeNull();
  });

  it("converts 90 ticks per millisecond, forwards and backwards", () => {
    const clock = new RtpClock();
    clock.set(90_000, 1_000_000);
    expect(clock.captured(180_000)).toBe(1_001_000);
    expect(clock.captured(0)).toBe(999_000);
  });

  it("handles the wrap-around at 32 bits", () => {
    const clock = new RtpClock();
    clock.set(2 ** 32 - 900, 1_000_000);
    expect(clock.captured(900)).toBe(1_000_020);
    clock.set(900, 1_000_000);
    expect(clock.captured(2 ** 32 - 900)).toBe(999_980);
  });
});
