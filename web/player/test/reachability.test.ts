import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { type Api, ApiError } from "../src/core/api.ts";
import { clockOf } from "../src/core/clock-sync.ts";
import { isGatewayResponse, whenReachable } from "../src/core/reachability.ts";

/** A gateway whose answers the test chooses. */
class Gateway {
  requests = 0;
  answers: () => Promise<Response> = () => Promise.reject(new TypeError("refused"));
  readonly api: Api;

  constructor(base: string) {
    const fetch = () => {
      this.requests += 1;
      return this.answers();
    };
    this.api = { base, fetch, url: (path: string) => base + path } as unknown as Api;
    clockOf(this.api); // starts the clock sync, which sends requests of its own
  }

  recover(): void {
    this.answers = () => Promise.resolve(Response.json({ time: "2026-01-01T00:00:00Z" }));
  }
}

let count = 0;
const gateway = () => new Gateway(`http://gateway-${++count}.example`);

describe("a gateway that is unreachable", () => {
  let hasIcon = false;
  beforeEach(() => {
    vi.useFakeTimers();
    hasIcon = false;
    vi.stubGlobal("location", new URL("http://page.example/"));
    vi.stubGlobal("fetch", () =>
      hasIcon ? Promise.resolve(new Response()) : Promise.reject(new TypeError("Failed to fetch")),
    );
  });
  afterEach(() => {
    vi.useRealTimers();
    vi.unstubAllGlobals();
  });

  it("is asked every five seconds where it runs and refuses this page", async () => {
    const refusing = gateway();
    hasIcon = true;
    const callback = vi.fn();
    whenReachable(refusing.api, new AbortController().signal, callback);
    await vi.advanceTimersByTimeAsync(9000);
    const { requests } = refusing;
    await vi.advanceTimersByTimeAsync(20_000);
    expect(refusing.requests - requests).toBe(4);
    refusing.recover();
    await vi.advanceTimersByTimeAsync(5000);
    expect(callback).toHaveBeenCalledTimes(1);
  });

  it("is polled several times a second, once for all callers, and each is called back once", async () => {
    const away = gateway();
    const { signal } = new AbortController();
    const callbacks = [vi.fn(), vi.fn(), vi.fn()];
    for (const callback of callbacks) whenReachable(away.api, signal, callback);
    await vi.advanceTimersByTimeAsync(9000);
    const { requests } = away;
    await vi.advanceTimersByTimeAsync(900);
    expect(away.requests - requests).toBe(3);
    for (const callback of callbacks) expect(callback).not.toHaveBeenCalled();
    away.recover();
    await vi.advanceTimersByTimeAsync(500);
    await vi.advanceTimersByTimeAsync(5000);
    for (const callback of callbacks) expect(callback).toHaveBeenCalledTimes(1);
    // Nobody waits any more: the polls end.
    const after = away.requests;
    await vi.advanceTimersByTimeAsync(5000);
    expect(away.requests).toBe(after);
  });

  it("is polled again while a poll over a dead connection is pending", async () => {
    const away = gateway();
    away.answers = () => new Promise(() => {});
    const callback = vi.fn();
    whenReachable(away.api, new AbortController().signal, callback);
    await vi.advanceTimersByTimeAsync(1000);
    away.recover();
    await vi.advanceTimersByTimeAsync(400);
    expect(callback).toHaveBeenCalledTimes(1);
  });

  it("does not call back after an abort, and is not polled any more", async () => {
    const away = gateway();
    const abort = new AbortController();
    const callback = vi.fn();
    whenReachable(away.api, abort.signal, callback);
    await vi.advanceTimersByTimeAsync(3000);
    abort.abort();
    await vi.advanceTimersByTimeAsync(1000);
    const { requests } = away;
    away.recover();
    await vi.advanceTimersByTimeAsync(5000);
    expect(callback).not.toHaveBeenCalled();
    expect(away.requests).toBe(requests);
  });

  it("has not answered with the error of a proxy, but has with an error of its own", () => {
    expect(isGatewayResponse(new ApiError(502, "http", ""))).toBe(false);
    expect(isGatewayResponse(new ApiError(504, "http", ""))).toBe(false);
    expect(isGatewayResponse(new TypeError("refused"))).toBe(false);
    expect(isGatewayResponse(new ApiError(401, "unauthorized", ""))).toBe(true);
    expect(isGatewayResponse(new ApiError(503, "unavailable", ""))).toBe(true);
  });
});
