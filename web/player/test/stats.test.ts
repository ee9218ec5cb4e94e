import { describe, expect, it } from "vitest";
import { StatsTracker } from "../src/core/stats.ts";

describe("StatsTracker", () => {
  it("has no rates before the second sample", () => {
    const first = new StatsTracker().add(0, "webrtc", 80, { frames: 10, bytes: 1000, width: 640, height: 360 });
    expect(first).toMatchObject({ fps: null, bitrateBps: null, loss: null, latencyMs: 80, width: 640, height: 360 });
  });

  it("computes rates per second from the growth of the counters", () => {
    const tracker = new StatsTracker();
    tracker.add(1000, "webrtc", null, { frames: 100, bytes: 5000, packets: 50, packetsLost: 0 });
    const next = tracker.add(3000, "webrtc", null, { frames: 150, bytes: 255_000, packets: 140, packetsLost: 10 });
    expect(next).toMatchObject({ fps: 25, bitrateBps: 1_000_000, loss: 0.1 });
    expect(tracker.latest).toBe(next);
  });

  it("does not mix two transports, nor live with a recording", () => {
    const tracker = new StatsTracker();
    tracker.add(0, "webrtc", null, { frames: 1000 });
    expect(tracker.add(1000, "hls", null, { frames: 1030 }).fps).toBeNull();
    expect(tracker.add(2000, null, null, { frames: 1060 }).fps).toBeNull();
    expect(tracker.add(3000, null, null, { frames: 1090 }).fps).toBe(30);
  });

  it("has no rate for a counter that was reset", () => {
    const tracker = new StatsTracker();
    tracker.add(0, "hls", null, { frames: 500, bytes: 500 });
    expect(tracker.add(1000, "hls", null, { frames: 10, bytes: 500 })).toMatchObject({ fps: null, bitrateBps: 0 });
  });

  it("has no loss without packets", () => {
    const tracker = new StatsTracker();
    tracker.add(0, "webrtc", null, { packets: 5, packetsLost: 1 });
    expect(tracker.add(1000, "webrtc", null, { packets: 5, packetsLost: 1 }).loss).toBeNull();
  });

  it("has no rates after a reset", () => {
    const tracker = new StatsTracker();
    tracker.add(0, "webrtc", null, { frames: 1 });
    tracker.reset();
    expect(tracker.latest).toBeNull();
    expect(tracker.add(1000, "webrtc", null, { frames: 31 }).fps).toBeNull();
  });
});
