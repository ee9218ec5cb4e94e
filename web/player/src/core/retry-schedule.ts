// When each transport may be tried again. Sans-IO: time comes in as an argument.
//
// Rules:
// 1. A failed transport waits UPGRADE_DELAY_MS before the next try, then twice as long after each failure, up to
//    UPGRADE_DELAY_MAX_MS.
// 2. An unsupported transport waits UNSUPPORTED_RETRY_MS, since the reason holds as long as the camera's media is the same.

import type { Failure, TransportName } from "./transports.ts";

export const UPGRADE_DELAY_MS = 5000;
export const UPGRADE_DELAY_MAX_MS = 60_000;
export const UNSUPPORTED_RETRY_MS = 120_000;

export class RetrySchedule {
  private readonly retryAt = new Map<TransportName, number>();
  private readonly failureCounts = new Map<TransportName, number>();

  /** Whether a transport may be tried at `now`, ms. */
  isDue(transport: TransportName, now: number): boolean {
    return (this.retryAt.get(transport) ?? 0) <= now;
  }

  /** Delay the next try of a transport that failed. */
  delay(transport: TransportName, { kind }: Failure, now: number): void {
    const count = (this.failureCounts.get(transport) ?? 0) + 1;
    this.failureCounts.set(transport, count);
    const backoff = Math.min(UPGRADE_DELAY_MS * 2 ** (count - 1), UPGRADE_DELAY_MAX_MS);
    this.retryAt.set(transport, now + (kind === "unsupported" ? UNSUPPORTED_RETRY_MS : backoff));
  }

  /** Let a transport be tried at once. Its next failure still counts as one more. */
  allow(transport: TransportName): void {
    this.retryAt.delete(transport);
  }

  /** Forget the failures of a transport that plays well. */
  resetBackoff(transport: TransportName): void {
    this.failureCounts.delete(transport);
  }

  reset(): void {
    this.retryAt.clear();
    this.failureCounts.clear();
  }
}
