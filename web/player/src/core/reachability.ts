// Waits until a gateway answers again: one poll per gateway, for all players of a page.

import { type Api, ApiError } from "./api.ts";
import { sampleClock } from "./clock-sync.ts";

/** Between two polls of a gateway that is away. */
const POLL_INTERVAL_MS = 300;
/** Between two polls of a gateway that refuses this page: that changes when somebody changes its settings. */
const REFUSED_INTERVAL_MS = 5000;
/** Fast polls until it is found out again whether it does. */
const POLLS_PER_CHECK = 10;
/** Longer than the slowest round trip on which anything plays. A connection from before the outage may never answer. */
const POLL_TIMEOUT_MS = 1200;

const waiting = new Map<string, Set<() => void>>();

/** Whether an error is a response of the gateway: any HTTP error, except that of a proxy without a gateway behind it. */
export function isGatewayResponse(error: unknown): boolean {
  return error instanceof ApiError && error.status !== 502 && error.status !== 504;
}

/** Calls `callback` once the gateway answers, unless `signal` is aborted before. */
export function whenReachable(api: Api, signal: AbortSignal, callback: () => void): void {
  let callbacks = waiting.get(api.base);
  if (!callbacks) {
    callbacks = new Set();
    waiting.set(api.base, callbacks);
    poll(api, callbacks);
  }
  callbacks.add(callback);
  signal.addEventListener("abort", () => callbacks.delete(callback), { once: true });
}

/**
 * Whether the gateway runs but refuses this page. A browser reports that like a gateway that does not answer. Only the
 * files of the player are for pages of every origin.
 */
export async function refusesOrigin(api: Api): Promise<boolean> {
  if (new URL(api.url("/"), location.href).origin === location.origin) return false;
  try {
    return (await fetch(api.url("/static/icon.svg"), { cache: "no-store" })).ok;
  } catch {
    return false;
  }
}

/** Polls overlap, so that one that was sent a moment too early does not delay the next. */
function poll(api: Api, callbacks: Set<() => void>): void {
  let polls = 0;
  const attempt = async (): Promise<void> => {
    if (callbacks.size === 0) return finish();
    const isCheckDue = current === REFUSED_INTERVAL_MS || polls++ % POLLS_PER_CHECK === 0;
    const hasAnswered = await answers(api);
    if (waiting.get(api.base) !== callbacks) return;
    if (!hasAnswered) return isCheckDue ? check() : undefined;
    finish();
    for (const callback of callbacks) callback();
  };
  const check = async (): Promise<void> => {
    const interval = (await refusesOrigin(api)) ? REFUSED_INTERVAL_MS : POLL_INTERVAL_MS;
    if (interval === current || waiting.get(api.base) !== callbacks) return;
    clearInterval(timer);
    current = interval;
    timer = setInterval(() => void attempt(), interval);
  };
  let current = POLL_INTERVAL_MS;
  let timer = setInterval(() => void attempt(), current);
  const finish = () => {
    clearInterval(timer);
    waiting.delete(api.base);
  };
}

async function answers(api: Api): Promise<boolean> {
  try {
    await sampleClock(api, POLL_TIMEOUT_MS);
    return true;
  } catch (error) {
    return isGatewayResponse(error);
  }
}
