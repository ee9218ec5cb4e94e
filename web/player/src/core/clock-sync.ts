// The gateway's clock, asked over HTTP, and whether there is a gateway at all: one conversation for all players of a page.

import { type Api, ApiError } from "./api.ts";
import { ServerClock } from "./clock.ts";

const FIRST_SAMPLES = 3;
const EVERY_MS = 30_000;
/** Between two attempts to reach a gateway that is away. It answers within a round trip, or it is not there. */
const REACH_EVERY_MS = 300;
/** Longer than the slowest round trip on which anything plays; a connection of before the outage may never answer. */
const REACH_TIMEOUT_MS = 1200;

const clocks = new Map<string, ServerClock>();

/** Local time with the resolution of performance.now(), ms since the Unix epoch. It does not step. */
export function localNow(): number {
  return performance.timeOrigin + performance.now();
}

/** The clock of a gateway; it is kept up to date from the first call on. */
export function clockOf(api: Api): ServerClock {
  let clock = clocks.get(api.base);
  if (!clock) {
    clock = new ServerClock();
    clocks.set(api.base, clock);
    void keep(clock, api);
  }
  return clock;
}

async function keep(clock: ServerClock, api: Api): Promise<never> {
  for (let count = 1; ; count++) {
    await ask(clock, api);
    await new Promise((resolve) => setTimeout(resolve, count < FIRST_SAMPLES ? 300 : EVERY_MS));
  }
}

/** True where it answered. Without its time there is no latency to show; the next question comes. */
async function ask(clock: ServerClock, api: Api, timeoutMs = EVERY_MS): Promise<boolean> {
  try {
    const sent = localNow();
    const response = await api.fetch("/api/time", { signal: AbortSignal.timeout(timeoutMs) });
    const received = localNow();
    const { time } = (await response.json()) as { time: string };
    clock.add({ sent, received, server: Date.parse(time) });
    return true;
  } catch (error) {
    return isGatewayResponse(error);
  }
}

/** A refusal is an answer, but for a proxy's that has no gateway behind it. */
export function isGatewayResponse(error: unknown): boolean {
  return error instanceof ApiError && error.status !== 502 && error.status !== 504;
}

const waiting = new Map<string, Set<() => void>>();

/** Calls `then` once the gateway answers, unless `signal` is aborted before. */
export function whenReachable(api: Api, signal: AbortSignal, then: () => void): void {
  let waiters = waiting.get(api.base);
  if (!waiters) {
    waiters = new Set();
    waiting.set(api.base, waiters);
    reach(api, waiters);
  }
  waiters.add(then);
  signal.addEventListener("abort", () => waiters.delete(then), { once: true });
}

/** Attempts overlap: one that went out a moment too early does not hold up the next. */
function reach(api: Api, waiters: Set<() => void>): void {
  const clock = clockOf(api);
  const attempt = async (): Promise<void> => {
    if (waiters.size === 0) return finish();
    if (!(await ask(clock, api, REACH_TIMEOUT_MS)) || waiting.get(api.base) !== waiters) return;
    finish();
    for (const then of waiters) then();
  };
  const timer = setInterval(() => void attempt(), REACH_EVERY_MS);
  const finish = () => {
    clearInterval(timer);
    waiting.delete(api.base);
  };
}
