// The gateway's clock as seen from this browser, and the age of the frame on the screen.
//
// Rules:
// 1. The offset comes from request and answer, as in NTP. The server's time belongs to the middle of the round trip. The
//    fastest of the last SAMPLES round trips is the most accurate: its error is at most half its duration.
// 2. A sample that contradicts the earlier ones means that a clock was set. The earlier ones are then forgotten.
// 3. Latency is the current time minus the capture time, both on the gateway's clock. It is smoothed, but never over a seek
//    or a change of transport.

const SAMPLES = 8;
/** Clocks drift less than this over the time of all samples, ms. */
const DRIFT_MS = 500;

export interface ClockSample {
  /** Local clock, ms. */
  sent: number;
  received: number;
  /** The gateway's clock, ms since the Unix epoch. */
  server: number;
}

export class ServerClock {
  private samples: { offset: number; roundTrip: number }[] = [];

  add({ sent, received, server }: ClockSample): void {
    if (!(received >= sent) || !Number.isFinite(server)) return;
    const sample = { offset: server - (sent + received) / 2, roundTrip: received - sent };
    const { best } = this;
    const tolerance = best ? (best.roundTrip + sample.roundTrip) / 2 + DRIFT_MS : 0;
    if (best && Math.abs(sample.offset - best.offset) > tolerance) this.samples = [];
    this.samples.push(sample);
    if (this.samples.length > SAMPLES) this.samples.shift();
  }

  /** Add this to the local clock to get the gateway's, ms; null before the first sample. */
  get offset(): number | null {
    return this.best?.offset ?? null;
  }

  /** The largest error of the offset, ms. */
  get uncertainty(): number | null {
    return this.best ? this.best.roundTrip / 2 : null;
  }

  private get best(): { offset: number; roundTrip: number } | null {
    return this.samples.reduce<{ offset: number; roundTrip: number } | null>(
      (best, sample) => (best && best.roundTrip <= sample.roundTrip ? best : sample),
      null,
    );
  }
}

/** A larger change than this is no jitter: playback has moved. */
const JUMP_MS = 1500;
const WEIGHT = 1 / 8;

/** Later than this, the picture stands still: also a camera of one frame a second sends the next one by then. */
const STILL_MS = 2000;
/**
 * Frames whose capture times differ by less are the same picture. A gateway answers a browser that misses frames with the
 * last GOP again, whose RTP timestamps are ticks apart.
 */
const SAME_PICTURE_MS = 4;

export class Latency {
  /** ms, smoothed; null until it is known. */
  value: number | null = null;
  /** Capture time of the picture that is shown, ms on the gateway's clock; null if it is not known. */
  captured: number | null = null;

  /** The latency at `now` (local clock), ms. That of a picture which stands still grows. */
  at(now: number, offset: number | null): number | null {
    if (this.value === null || this.captured === null || offset === null) return this.value;
    const age = now + offset - this.captured;
    return age > this.value + STILL_MS ? age : this.value;
  }

  /** Whether a frame is the picture that is shown already: the camera has sent no other one. */
  isShown(captured: number | null): boolean {
    if (captured === null || this.captured === null) return false;
    return Math.abs(captured - this.captured) < SAME_PICTURE_MS;
  }

  /** Whether a frame would change the latency by more than jitter does: playback has moved, or a clock was set. */
  isJump(captured: number, presented: number, offset: number | null): boolean {
    if (offset === null || this.value === null || !Number.isFinite(captured)) return false;
    return Math.abs(presented + offset - captured - this.value) > JUMP_MS;
  }

  /** A frame captured at `captured` (the gateway's clock) was presented at `presented` (local clock). */
  add(captured: number, presented: number, offset: number | null): void {
    if (offset === null || !Number.isFinite(captured)) return;
    // No frame is from the future: a negative age is the error of the offset.
    const age = Math.max(0, presented + offset - captured);
    this.value =
      this.value === null || Math.abs(age - this.value) > JUMP_MS ? age : this.value + (age - this.value) * WEIGHT;
  }

  reset(): void {
    this.value = null;
    this.captured = null;
  }
}

/** RTP ticks per millisecond, for video (RFC 6184, section 8.1). */
const RTP_RATE = 90;
const RTP_WRAP = 2 ** 32;

/** Converts the RTP timestamps of one stream to capture times, from one known pair of both. */
export class RtpClock {
  private pair: { rtp: number; captured: number } | null = null;

  /** The stream's RTP clock showed `rtp` at `captured` (ms). */
  set(rtp: number, captured: number): void {
    this.pair = { rtp, captured };
  }

  /** The capture time of an RTP timestamp, ms; null before the first pair. */
  captured(rtp: number): number | null {
    if (!this.pair) return null;
    let ticks = (rtp - this.pair.rtp) % RTP_WRAP;
    if (ticks > RTP_WRAP / 2) ticks -= RTP_WRAP;
    if (ticks < -RTP_WRAP / 2) ticks += RTP_WRAP;
    return this.pair.captured + ticks / RTP_RATE;
  }
}
