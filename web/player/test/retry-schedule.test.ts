import { describe, expect, it } from "vitest";
import {
  RetrySchedule,
  UNSUPPORTED_RETRY_MS,
  UPGRADE_DELAY_MAX_MS,
  UPGRADE_DELAY_MS,
} from "../src/core/retry-schedule.ts";
import type { Failure } from "../src/core/transports.ts";

const timeout: Failure = { kind: "timeout", message: "" };

describe("RetrySchedule", () => {
  it("has every transport due at first", () => {
    expect(new RetrySchedule().isDue("webrtc", 0)).toBe(true);
  });

  it("doubles the delay with each failure, up to the maximum", () => {
    const schedule = new RetrySchedule();
    const delays = [UPGRADE_DELAY_MS, 2 * UPGRADE_DELAY_MS, 4 * UPGRADE_DELAY_MS, 8 * UPGRADE_DELAY_MS];
    for (const delay of [...delays, UPGRADE_DELAY_MAX_MS, UPGRADE_DELAY_MAX_MS]) {
      schedule.delay("webrtc", timeout, 1000);
      expect(schedule.isDue("webrtc", 999 + delay)).toBe(false);
      expect(schedule.isDue("webrtc", 1000 + delay)).toBe(true);
    }
    expect(schedule.isDue("hls", 1000)).toBe(true);
  });

  it("delays an unsupported transport for longer", () => {
    const schedule = new RetrySchedule();
    schedule.delay("webrtc", { kind: "unsupported", message: "" }, 0);
    expect(schedule.isDue("webrtc", UNSUPPORTED_RETRY_MS - 1)).toBe(false);
    expect(schedule.isDue("webrtc", UNSUPPORTED_RETRY_MS)).toBe(true);
  });

  it("keeps the count of failures when a transport is allowed, and forgets it when the back-off is reset", () => {
    const schedule = new RetrySchedule();
    schedule.delay("webrtc", timeout, 0);
    schedule.allow("webrtc");
    expect(schedule.isDue("webrtc", 0)).toBe(true);
    schedule.delay("webrtc", timeout, 0);
    expect(schedule.isDue("webrtc", UPGRADE_DELAY_MS)).toBe(false);
    schedule.resetBackoff("webrtc");
    schedule.delay("webrtc", timeout, 0);
    expect(schedule.isDue("webrtc", UPGRADE_DELAY_MS)).toBe(true);
  });
});
