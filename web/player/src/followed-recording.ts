// The recording of one camera that follows a clock: which window of it is loaded, and which one is shown.
//
// Rules:
// 1. A window is loaded around the time of the clock. Before the clock leaves it, and when the rate asks for keyframes alone or
//    for all frames again, the next one is loaded beside it, and shown when it has the picture. Until then the old one is.
// 2. Above ALL_FRAMES_MAX keyframes are played, as many as a person can see.
// 3. While a window is loading, no other one is: scrubbing over a year loads one at a time.

import { type Api, ApiError } from "./core/api.ts";
import type { Rendition } from "./core/rendition.ts";
import { type ClockState, isRecorded, keyframeInterval, orderFor, type PlayerPosition } from "./core/shared-clock.ts";
import type { SegmentPage } from "./generated/api.ts";
import { RecordingWindow } from "./recording-window.ts";

const BEFORE_MS = 2 * 60_000;
const AFTER_MS = 30 * 60_000;
/** Of keyframes, more of the recording is in one window: it is over sooner. */
const KEYFRAMES_BEFORE_MS = 10 * 60_000;
const KEYFRAMES_AFTER_MS = 4 * 3_600_000;
/** So much of a window must be left, ms of the wall. */
const LEFT_MS = 12_000;
/** What is newer may not be on the disk yet, and a playlist of now is out of date after this. */
const NEWEST_MS = 8000;
/** A playlist that could not be loaded is asked for again after this. */
const RETRY_MS = 3000;
/** A window that is loaded beside another one takes over when the clock is within this of its picture, ms of the wall. */
const WAIT_MIN_MS = 60;
const WAIT_MAX_MS = 3000;
/** It seeks so far ahead, ms of the wall: about what a seek takes. */
const LEAD_MS = 400;

export type FollowedStatus =
  | { kind: "playing" }
  | { kind: "loading" }
  /** Nothing was recorded; `next` is where the next recording begins, undefined while that is not known. */
  | { kind: "gap"; next: number | null | undefined }
  | { kind: "error"; message: string };

export class FollowedRecording {
  readonly element = document.createElement("div");
  status: FollowedStatus = { kind: "loading" };
  private readonly stopping = new AbortController();
  private current: RecordingWindow | null = null;
  private coming: RecordingWindow | null = null;
  private failedAt = Number.NEGATIVE_INFINITY;
  /** The next recording after a window, by the window's end. */
  private following: { after: number; start: number | null | undefined } | null = null;

  constructor(
    private readonly api: Api,
    readonly camera: string,
    private readonly rendition: () => Rendition,
  ) {
    this.element.className = "followed";
  }

  /** Whether it has shown anything yet: a picture, or that there is none. */
  get hasBegun(): boolean {
    return this.current !== null;
  }

  /** The capture time of the picture that is shown; null without one. */
  get captureTime(): number | null {
    return this.status.kind === "gap" ? null : (this.current?.captureTime ?? null);
  }

  /** What the clock waits for; null while nothing of its time is loaded. `now` is the wall clock. */
  position(clock: ClockState, now: number): PlayerPosition | null {
    const { current } = this;
    if (!current || current.recorded === null || !this.fits(current, clock, now)) {
      // What cannot be loaded holds nobody up.
      return this.status.kind === "error" ? { time: null, isReady: false, recorded: [], sought: null } : null;
    }
    return { time: current.time, isReady: current.isReady, recorded: current.recorded, sought: current.sought };
  }

  /** Do what the clock asks for. To be called many times a second. */
  follow(clock: ClockState, now: number): void {
    this.prepare(clock, now);
    const position = this.position(clock, now);
    const { current } = this;
    if (!current || position === null) {
      current?.pause();
      if (this.status.kind !== "error") this.status = { kind: "loading" };
      return;
    }
    if (current.error !== null) return;
    const order = orderFor(position, clock);
    if (order.kind === "play") current.play(order.rate);
    else current.pause();
    if (order.kind === "seek" && !current.surface.seeking) current.seek(order.time);
    if (isRecorded(position.recorded, clock.time)) {
      this.status = { kind: position.time === null ? "loading" : "playing" };
    } else {
      const next = position.recorded.find(({ start }) => start > clock.time)?.start;
      this.status = { kind: "gap", next: next ?? this.startAfter(current.request.end) };
    }
  }

  stop(): void {
    this.stopping.abort();
    this.current?.stop();
    this.coming?.stop();
    this.current = this.coming = null;
    this.element.remove();
  }

  /** Rules 1 to 3. */
  private prepare(clock: ClockState, now: number): void {
    const { current, coming } = this;
    if (coming) {
      if (coming.error !== null) {
        this.status = { kind: "error", message: coming.error };
        this.failedAt = now;
        coming.stop();
        this.coming = null;
      } else if (coming.recorded !== null) this.takeOver(coming, clock, now);
      return;
    }
    if (current?.error != null) {
      if (this.status.kind !== "error") this.failedAt = now;
      this.status = { kind: "error", message: current.error };
      if (now - this.failedAt > RETRY_MS) {
        this.failedAt = now;
        this.load(clock, now);
      }
      return;
    }
    const hasEnough = current !== null && this.fits(current, clock, now) && this.isEnough(current, clock, now);
    if (!hasEnough && now - this.failedAt > RETRY_MS) this.load(clock, now);
  }

  /** The window that was loaded is shown when it has the picture, or if there is none at that time. */
  private takeOver(coming: RecordingWindow, clock: ClockState, now: number): void {
    if (!this.fits(coming, clock, now)) {
      coming.stop();
      this.coming = null;
      return;
    }
    const hasPicture = isRecorded(coming.recorded ?? [], clock.time);
    if (hasPicture && !coming.hasFrame) {
      const wanted = clock.isRunning ? clock.time + LEAD_MS * clock.rate : clock.time;
      const isPending = coming.sought !== null && Math.abs(coming.sought - wanted) < 2000 * Math.max(1, clock.rate);
      if (!isPending && !coming.surface.seeking) coming.seek(wanted);
      return;
    }
    // While the old window still plays, the new one waits for the clock at the place that it sought.
    const ahead = (coming.time ?? clock.time) - clock.time;
    const canWait = clock.isRunning && this.current !== null && this.fits(this.current, clock, now);
    if (hasPicture && canWait && ahead > WAIT_MIN_MS * clock.rate && ahead < WAIT_MAX_MS * clock.rate) return;
    this.current?.stop();
    this.current = coming;
    this.coming = null;
    coming.surface.classList.add("shown");
    this.status = { kind: "playing" };
  }

  private load(clock: ClockState, now: number): void {
    const keyframesEvery = keyframeInterval(clock.rate);
    const [before, after] = keyframesEvery === null ? [BEFORE_MS, AFTER_MS] : [KEYFRAMES_BEFORE_MS, KEYFRAMES_AFTER_MS];
    const request = {
      start: clock.time - before,
      end: Math.max(clock.time - before + 1000, Math.min(now, clock.time + after)),
      rendition: this.rendition(),
      keyframesEvery,
      rate: clock.rate,
    };
    this.coming = new RecordingWindow(this.api, this.camera, request);
    this.coming.surface.classList.add("surface");
    this.element.append(this.coming.surface);
  }

  /** Whether a window is of the time and the rate of the clock. */
  private fits({ request, recorded }: RecordingWindow, { time, rate }: ClockState, now: number): boolean {
    if (time < request.start || keyframeInterval(rate) !== request.keyframesEvery) return false;
    const end = recorded?.at(-1)?.end ?? request.end;
    // What was recorded goes on after a playlist of now: its last recording has not ended there.
    const isOfNow = now - request.end < NEWEST_MS + LEFT_MS || request.end - end < NEWEST_MS;
    return time < (isOfNow ? Math.max(end, request.end - NEWEST_MS) : request.end);
  }

  /** Whether so much of a window is left that the next one need not be loaded. */
  private isEnough(
    { request, recorded }: RecordingWindow,
    { time, rate, isRunning }: ClockState,
    now: number,
  ): boolean {
    if (!isRunning) return true;
    const left = LEFT_MS * Math.max(1, rate);
    const end = Math.min(request.end, Math.max(recorded?.at(-1)?.end ?? 0, request.end - NEWEST_MS));
    // A window that ends now can be followed only by what was recorded since.
    return time + left < end || now - request.end < NEWEST_MS;
  }

  /** Where the next recording after a window begins; undefined while that is not known. */
  private startAfter(end: number): number | null | undefined {
    if (this.following?.after !== end) {
      this.following = { after: end, start: undefined };
      void this.findAfter(end);
    }
    return this.following.start;
  }

  private async findAfter(end: number): Promise<void> {
    const query = new URLSearchParams({ start: new Date(end).toISOString(), limit: "1" });
    try {
      const { segments } = await this.api.json<SegmentPage>(`/api/cameras/${this.camera}/segments?${query}`, {
        signal: this.stopping.signal,
      });
      const start = segments[0] ? Date.parse(segments[0].start) : null;
      if (this.following?.after === end) this.following.start = start;
    } catch (error) {
      if (this.following?.after !== end) return;
      // This is asked many times a second. Of a camera that is gone nothing follows.
      if (error instanceof ApiError && error.status === 404) this.following.start = null;
      else setTimeout(() => (this.following = this.following?.after === end ? null : this.following), RETRY_MS);
    }
  }
}
