// Rates of a transport, from the growth of its counters.

import type { TransportStats } from "../transports/transport.ts";
import type { TransportName } from "./transports.ts";

export interface Statistics {
  transport: TransportName | null;
  latencyMs: number | null;
  fps: number | null;
  bitrateBps: number | null;
  /** Share of the packets of the last second that was lost, 0 to 1. */
  loss: number | null;
  framesDropped: number | null;
  roundTripMs: number | null;
  jitterBufferMs: number | null;
  width: number | null;
  height: number | null;
  detail: string;
}

export class StatsTracker {
  latest: Statistics | null = null;
  private last: { at: number; transport: TransportName | null; counters: TransportStats } | null = null;

  /** Add the counters at `at` (ms), and return the rates since the last ones of the same transport. */
  add(at: number, transport: TransportName | null, latencyMs: number | null, counters: TransportStats): Statistics {
    const before = this.last?.transport === transport ? this.last : null;
    const seconds = before ? (at - before.at) / 1000 : 0;
    const growth = (name: keyof TransportStats): number | null => {
      const now = counters[name];
      const then = before?.counters[name];
      return typeof now === "number" && typeof then === "number" && now >= then ? now - then : null;
    };
    const rate = (name: keyof TransportStats): number | null => {
      const grown = growth(name);
      return grown === null || seconds <= 0 ? null : grown / seconds;
    };
    const bytes = rate("bytes");
    const lost = growth("packetsLost");
    const received = growth("packets");
    this.last = { at, transport, counters };
    this.latest = {
      transport,
      latencyMs,
      fps: rate("frames"),
      bitrateBps: bytes === null ? null : bytes * 8,
      loss: lost === null || received === null || lost + received === 0 ? null : lost / (lost + received),
      framesDropped: counters.framesDropped ?? null,
      roundTripMs: counters.roundTripMs ?? null,
      jitterBufferMs: counters.jitterBufferMs ?? null,
      width: counters.width || null,
      height: counters.height || null,
      detail: counters.detail ?? "",
    };
    return this.latest;
  }

  reset(): void {
    this.last = this.latest = null;
  }
}
