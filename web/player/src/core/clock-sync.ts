// Keeps one clock per gateway in sync over HTTP (`/api/time`), for all players of a page.

import type { ServerTime } from "../generated/api.ts";
import type { Api } from "./api.ts";
import { ServerClock } from "./clock.ts";

const FIRST_SAMPLES = 3;
const FIRST_INTERVAL_MS = 300;
const INTERVAL_MS = 30_000;

const clocks = new Map<string, ServerClock>();
/** Add this to `Date.now()` to get a gateway's time, ms. */
const wallOffsets = new Map<string, number>();

/** Local time with the resolution of performance.now(), ms since the Unix epoch. It does not step. */
export function localNow(): number {
  return performance.timeOrigin + performance.now();
}

/**
 * The time of a gateway, ms since the Unix epoch: that of this machine until it is known. After a suspend it is right at once,
 * which `localNow()` is not everywhere.
 */
export function gatewayNow(api: Api): number {
  clockOf(api);
  return Date.now() + (wallOffsets.get(api.base) ?? 0);
}

/** The clock of a gateway. It is kept in sync from the first call on. */
export function clockOf(api: Api): ServerClock {
  let clock = clocks.get(api.base);
  if (!clock) {
    clock = new ServerClock();
    clocks.set(api.base, clock);
    void keepInSync(api);
  }
  return clock;
}

async function keepInSync(api: Api): Promise<never> {
  for (let count = 1; ; count++) {
    await sampleClock(api, INTERVAL_MS).catch(() => {}); // There will be another sample.
    await new Promise((resolve) => setTimeout(resolve, count < FIRST_SAMPLES ? FIRST_INTERVAL_MS : INTERVAL_MS));
  }
}

/** Ask the gateway for its time once. Throws as `Api.fetch` does. */
export async function sampleClock(api: Api, timeoutMs: number): Promise<void> {
  const sent = localNow();
  const response = await api.fetch("/api/time", { signal: AbortSignal.timeout(timeoutMs) });
  const received = localNow();
  const { time } = (await response.json()) as ServerTime;
  const clock = clockOf(api);
  clock.add({ sent, received, server: Date.parse(time) });
  if (clock.offset !== null) wallOffsets.set(api.base, clock.offset + localNow() - Date.now());
}
