import { describe, expect, it } from "vitest";
import { Latency, RtpClock, ServerClock } from "../src/core/clock.ts";

describe("the gateway's clock", () => {
  it("is unknown before the first answer", () => {
    expect(new ServerClock().offset).toBeNull();
  });

  it("belongs to the middle of the round trip", () => {
    const clock = new ServerClock();
    clock.add({ sent: 1000, received: 1100, server: 6050 });
    expect(clock.offset).toBe(5000);
    expect(clock.uncertainty).toBe(50);
  });

  it("is taken from the quickest round trip", () => {
    const clock = new ServerClock();
    clock.add({ sent: 0, received: 400, server: 5390 });
    clock.add({ sent: 1000, received: 1010, server: 6005 });
    clock.add({ sent: 2000, received: 2300, server: 7010 });
    expect(clock.offset).toBe(5000);
  });

  it("forgets old measurements: clocks drift and are set", () => {
    const clock = new ServerClock();
    clock.add({ sent: 0, received: 1, server: 0.5 });
    for (let at = 1; at <= 8; at++)
      clock.add({ sent: at * 100, received: at * 100 + 20, server: at * 100 + 3_600_010 });
    expect(clock.offset).toBe(3_600_000);
  });

  it("takes no nonsense", () => {
    const clock = new ServerClock();
    clock.add({ sent: 100, received: 50, server: 75 });
    clock.add({ sent: 0, received: 10, server: Number.NaN });
    expect(clock.offset).toBeNull();
  });
});

describe("latency", () => {
  it("is unknown without an offset or a capture time", () => {
    const latency = new Latency();
    latency.add(1000, 1100, null);
    latency.add(Number.NaN, 1100, 0);
    expect(latency.value).toBeNull();
  });

  it("is now minus capture, on one clock", () => {
    const latency = new Latency();
    latency.add(10_000, 5080, 5000);
    expect(latency.value).toBe(80);
  });

  it("is never less than nothing", () => {
    const latency = new Latency();
    latency.add(1000, 990, 0);
    expect(latency.value).toBe(0);
  });

  it("is smooth while it jitters and quick when it jumps", () => {
    const latency = new Latency();
    latency.add(0, 100, 0);
    latency.add(0, 180, 0);
    expect(latency.value).toBe(110);
    latency.add(0, 5000, 0);
    expect(latency.value).toBe(5000);
  });
});

describe("RTP timestamps", () => {
  it("mean nothing before they are told", () => {
    expect(new RtpClock().captured(5)).toBeNull();
  });

  it("are 90 ticks a millisecond, forwards and back", () => {
    const clock = new RtpClock();
    clock.set(90_000, 1_000_000);
    expect(clock.captured(180_000)).toBe(1_001_000);
    expect(clock.captured(0)).toBe(999_000);
  });

  it("go on where 32 bits end", () => {
    const clock = new RtpClock();
    clock.set(2 ** 32 - 900, 1_000_000);
    expect(clock.captured(900)).toBe(1_000_020);
    clock.set(900, 1_000_000);
    expect(clock.captured(2 ** 32 - 900)).toBe(999_980);
  });
});
