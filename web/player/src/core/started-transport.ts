// A transport that was started: when it had frames, and how long it may be without.

import type { TransportName } from "./transports.ts";

/** Time for the first frame. ICE over a blocked network fails only after 15 s and more, which is too long to wait. */
export const FIRST_FRAME_TIMEOUT_MS: Record<TransportName, number> = {
  webrtc: 4000,
  hls: 8000,
  jpeg: 5000,
  mjpeg: 8000,
};
/** Check the camera after this long without a frame, and after NO_FRAME_INTERVALS of the stream's own frame interval. */
export const NO_FRAME_MS = 600;
export const NO_FRAME_INTERVALS = 6;
/** The longest time from a frame on the gateway to the same frame on the screen. After it, the transport has stalled. */
export const FRAME_DELAY_MAX_MS: Record<TransportName, number> = { webrtc: 500, hls: 2500, jpeg: 800, mjpeg: 800 };
/** Without a frame for so long, playback is interrupted. If the live edge is unknown, the transport has stalled. */
export const STALL_MS = 2000;
/** The longest time between frames on a degraded network: a large keyframe over 64 kbit/s. */
export const DEGRADED_MS = 10_000;
const FRAME_INTERVAL_MAX_MS = 5000;
/** Weight of a new interval in the mean. */
const WEIGHT = 1 / 8;

export class StartedTransport {
  lastFrame: number;
  /** The gateway reports that the network is too slow for this camera. */
  isDegraded = false;
  /** Mean time between frames, ms; null before the second frame. */
  private frameInterval: number | null = null;

  constructor(
    readonly id: number,
    readonly transport: TransportName,
    /** When it was started, or when it became the current one, ms. */
    public since: number,
  ) {
    this.lastFrame = since;
  }

  /** A frame was presented at `now`, ms. */
  frame(now: number): void {
    if (this.lastFrame > this.since) {
      const interval = Math.min(now - this.lastFrame, FRAME_INTERVAL_MAX_MS);
      this.frameInterval =
        this.frameInterval === null ? interval : this.frameInterval + (interval - this.frameInterval) * WEIGHT;
    }
    this.lastFrame = Math.max(now, this.since + 1);
  }

  /** Time for the first frame, ms. */
  get firstFrameTimeout(): number {
    return this.isDegraded ? DEGRADED_MS : FIRST_FRAME_TIMEOUT_MS[this.transport];
  }

  /** Without a frame for so long, the camera is checked, ms. */
  get quietLimit(): number {
    return Math.max(NO_FRAME_MS, NO_FRAME_INTERVALS * (this.frameInterval ?? 0));
  }

  /** Without a frame for so long, playback is interrupted, ms. */
  get stallLimit(): number {
    return Math.max(this.isDegraded ? DEGRADED_MS : STALL_MS, NO_FRAME_INTERVALS * (this.frameInterval ?? 0));
  }

  /** The longest time from a frame on the gateway to the same frame on the screen, ms. */
  get frameDelayMax(): number {
    return this.isDegraded ? DEGRADED_MS : FRAME_DELAY_MAX_MS[this.transport];
  }
}
