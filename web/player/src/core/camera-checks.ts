// The checks of the camera while a transport has no frames: when the next one is due, and whether the transport has stalled.
// Sans-IO: time comes in as an argument.

import type { StartedTransport } from "./started-transport.ts";

export const CHECK_INTERVAL_MS = 1000;
/** Between checks while it is not known whether the transport has stalled. */
export const STALL_CHECK_INTERVAL_MS = 250;

export class CameraChecks {
  private checkedAt: number | null = null;
  /** The gateway's live edge at the first check. */
  private liveEdge: number | null = null;
  /** When it was first known that the gateway has a newer frame. */
  private newerSince: number | null = null;
  private isAnswered = false;

  /** Whether checks have begun. Only then an answer matters. */
  get isChecking(): boolean {
    return this.checkedAt !== null;
  }

  /** Whether so much time has passed since the last check, and since `since`, ms. */
  isDue(now: number, interval: number, since = 0): boolean {
    return now - Math.max(since, this.checkedAt ?? 0) >= interval;
  }

  /** The camera is asked about. */
  begin(now: number): void {
    this.checkedAt = now;
  }

  /** There was a frame, or there is nothing to check any more. */
  end(): void {
    this.checkedAt = null;
    this.forget();
  }

  /** What the gateway has captured so far says nothing about the transport: the camera was down. */
  forget(): void {
    this.isAnswered = false;
    this.liveEdge = this.newerSince = null;
  }

  /** An answer about a camera that is live: the capture time of its newest frame, ms; null if it is not known. */
  answered(liveEdge: number | null, now: number): void {
    if (!this.isAnswered) this.liveEdge = liveEdge;
    this.isAnswered = true;
    if (liveEdge !== null && this.liveEdge !== null && liveEdge > this.liveEdge) this.newerSince ??= now;
  }

  /** Whether a transport has had no frame for too long, although the gateway has newer ones, or does not know. */
  isStalled(current: StartedTransport, now: number): boolean {
    if (!this.isAnswered) return false;
    if (this.liveEdge === null) return now - current.lastFrame > current.stallLimit;
    return this.newerSince !== null && now - this.newerSince >= current.frameDelayMax;
  }
}
