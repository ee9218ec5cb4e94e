import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { type Api, ApiError } from "../src/core/api.ts";
import { clockOf, isGatewayResponse, whenReachable } from "../src/core/clock-sync.ts";

/** A gateway that answers as it is told to. */
class Gateway {
  asked = 0;
  answers: () => Promise<Response> = () => Promise.reject(new TypeError("refused"));
  readonly api: Api;

  constructor(base: string) {
    const fetch = () => {
      this.asked += 1;
      return this.answers();
    };
    this.api = { base, fetch } as unknown as Api;
    clockOf(this.api); // it asks now and then by itself
  }

  back(): void {
    this.answers = () => Promise.resolve(Response.json({ time: "2026-01-01T00:00:00Z" }));
  }
}

let count = 0;
const gateway = () => new Gateway(`http://gateway-${++count}.example`);

describe("a gateway that is away", () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  it("is tried several times a second by one conversation for all, and all are told once", async () => {
    const away = gateway();
    const { signal } = new AbortController();
    const told = [vi.fn(), vi.fn(), vi.fn()];
    for (const then of told) whenReachable(away.api, signal, then);
    await vi.advanceTimersByTimeAsync(9000);
    const { asked } = away;
    await vi.advanceTimersByTimeAsync(900);
    expect(away.asked - asked).toBe(3);
    for (const then of told) expect(then).not.toHaveBeenCalled();
    away.back();
    await vi.advanceTimersByTimeAsync(500);
    await vi.advanceTimersByTimeAsync(5000);
    for (const then of told) expect(then).toHaveBeenCalledTimes(1);
    // Nobody waits any more: it is left in peace.
    const after = away.asked;
    await vi.advanceTimersByTimeAsync(5000);
    expect(away.asked).toBe(after);
  });

  it("is asked again while a question over a dead connection is still open", async () => {
    const away = gateway();
    away.answers = () => new Promise(() => {});
    const then = vi.fn();
    whenReachable(away.api, new AbortController().signal, then);
    await vi.advanceTimersByTimeAsync(1000);
    away.back();
    await vi.advanceTimersByTimeAsync(400);
    expect(then).toHaveBeenCalledTimes(1);
  });

  it("is not told to who has gone, and nobody asks for them", async () => {
    const away = gateway();
    const ending = new AbortController();
    const then = vi.fn();
    whenReachable(away.api, ending.signal, then);
    await vi.advanceTimersByTimeAsync(3000);
    ending.abort();
    await vi.advanceTimersByTimeAsync(1000);
    const { asked } = away;
    away.back();
    await vi.advanceTimersByTimeAsync(5000);
    expect(then).not.toHaveBeenCalled();
    expect(away.asked).toBe(asked);
  });

  it("has not answered where a proxy did, and has where it refused", () => {
    expect(isGatewayResponse(new ApiError(502, "http", ""))).toBe(false);
    expect(isGatewayResponse(new ApiError(504, "http", ""))).toBe(false);
    expect(isGatewayResponse(new TypeError("refused"))).toBe(false);
    expect(isGatewayResponse(new ApiError(401, "unauthorized", ""))).toBe(true);
    expect(isGatewayResponse(new ApiError(503, "unavailable", ""))).toBe(true);
  });
});
