// Counters of a transport as figures a second.

import type { TransportStats } from "../transports/transport.ts";
import type { TransportName } from "./fallback.ts";

export interface Statistics {
  transport: TransportName | null;
  latencyMs: number | null;
  fps: number | null;
  bitrateBps: number | null;
  /** Of the packets of the last second, 0 to 1. */
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
  private last: { at: number; transport: TransportName | null; counted: TransportStats } | null = null;

  /** Take the counters at `at` (ms); the difference to the last ones counts. */
  add(at: number, transport: TransportName | null, latencyMs: number | null, counted: TransportStats): Statistics {
    const before = this.last?.transport === transport ? this.last : null;
    const seconds = before ? (at - before.at) / 1000 : 0;
    const grown = (name: keyof TransportStats): number | null => {
      const now = counted[name];
      const then = before?.counted[name];
      return typeof now === "number" && typeof then === "number" && now >= then ? now - then : null;
    };
    const rate = (name: keyof TransportStats): number | null => {
      const growth = grown(name);
      return growth === null || seconds <= 0 ? null : growth / seconds;
    };
    const bytes = rate("bytes");
    const lost = grown("packetsLost");
    const received = grown("packets");
    this.last = { at, transport, counted };
    this.latest = {
      transport,
      latencyMs,
      fps: rate("frames"),
      bitrateBps: bytes === null ? null : bytes * 8,
      loss: lost === null || received === null || lost + received === 0 ? null : lost / (lost + received),
      framesDropped: counted.framesDropped ?? null,
      roundTripMs: counted.roundTripMs ?? null,
      jitterBufferMs: counted.jitterBufferMs ?? null,
      width: counted.width || null,
      height: counted.height || null,
      detail: counted.detail ?? "",
    };
    return this.latest;
  }

  reset(): void {
    this.last = this.latest = null;
  }
}
