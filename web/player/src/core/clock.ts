// Whose time is it? The gateway's clock as seen from here, and how old the picture on the screen is.
//
// Rules:
// 1. The offset comes from request and answer, as NTP does it: the server's time belongs to the middle of the round trip,
//    and the quickest of the last SAMPLES round trips is the most truthful (half its length is the most it can err).
// 2. Latency is now minus capture time, both on the gateway's clock. It is smoothed, never averaged over a seek or a fall.

const SAMPLES = 8;

export interface ClockSample {
  /** Local clock, ms. */
  sent: number;
  received: number;
  /** The gateway's clock, ms since the Unix epoch. */
  server: number;
}

export class ServerClock {
  private samples: { offset: number; roundTrip: number }[] = [];

  /** Take a measurement. */
  add({ sent, received, server }: ClockSample): void {
    if (!(received >= sent) || !Number.isFinite(server)) return;
    this.samples.push({ offset: server - (sent + received) / 2, roundTrip: received - sent });
    if (this.samples.length > SAMPLES) this.samples.shift();
  }

  /** What is added to the local clock to get the gateway's, ms; null before the first measurement. */
  get offset(): number | null {
    return this.best?.offset ?? null;
  }

  /** How wrong the offset may be, ms. */
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

/** A picture this much older or younger than the last ones is no jitter: it is somewhere else. */
const JUMP_MS = 1500;
const WEIGHT = 1 / 8;

export class Latency {
  /** ms, smoothed; null while nothing is known. */
  value: number | null = null;

  /** A picture captured at `captured` (the gateway's clock) is shown at `shown` (local clock), `offset` apart. */
  add(captured: number, shown: number, offset: number | null): void {
    if (offset === null || !Number.isFinite(captured)) return;
    // No picture is from the future: what is less than nothing is the offset's error.
    const age = Math.max(0, shown + offset - captured);
    this.value =
      this.value === null || Math.abs(age - this.value) > JUMP_MS ? age : this.value + (age - this.value) * WEIGHT;
  }

  reset(): void {
    this.value = null;
  }
}

const RTP_RATE = 90; // ticks a millisecond
const RTP_WRAP = 2 ** 32;

/** RTP timestamps of one stream as capture times, from one pair of both. */
export class RtpClock {
  private pair: { rtp: number; captured: number } | null = null;

  /** At `captured` (ms) the stream's clock showed `rtp`. */
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
