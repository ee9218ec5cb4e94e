// The gateway's clock, asked over HTTP: one conversation for all players of a page.

import type { Api } from "./api.ts";
import { ServerClock } from "./clock.ts";

const FIRST_SAMPLES = 3;
const EVERY_MS = 30_000;

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

async function ask(clock: ServerClock, api: Api): Promise<void> {
  try {
    const sent = localNow();
    const response = await api.fetch("/api/time");
    const received = localNow();
    const { time } = (await response.json()) as { time: string };
    clock.add({ sent, received, server: Date.parse(time) });
  } catch {
    // Without it there is no latency to show; the next question comes.
  }
}
