// Playback of recordings: the segments of the archive as one seekable HLS playlist around the requested time.
//
// Rules:
// 1. A window of the archive is loaded, from BEFORE_MS before the requested time to WINDOW_MS after it. A seek within it is
//    a seek of the video. A seek outside it loads another window.
// 2. Times are those of EXT-X-PROGRAM-DATE-TIME, so that gaps are skipped and shift nothing behind them.
// 3. Playback that passes the end of the recordings becomes live.
// 4. The stream that is pinned, or that fitted live, is played, and the other one where that was not recorded, or is gone
//    by its age.
// 5. Above four times the speed, keyframes alone are played.
// 6. What cannot be loaded is loaded again after RETRY_MS. Only an answer of the gateway says that nothing was recorded.
// 7. While a window is loading, a seek only changes the requested time. Scrubbing over a year loads one window at a time.

import { type Api, ApiError } from "./core/api.ts";
import { gatewayNow } from "./core/clock-sync.ts";
import { type Language, type MessageKey, translate } from "./core/i18n.ts";
import type { Rendition } from "./core/rendition.ts";
import { keyframeInterval } from "./core/shared-clock.ts";
import type { StatusText } from "./core/status-text.ts";
import { FrameStepper } from "./frame-stepper.ts";
import type { SegmentPage } from "./generated/api.ts";
import { type Fragment, Hls } from "./transports/hlsjs.ts";
import { createVideo, play, type TransportStats, watchFrames } from "./transports/transport.ts";

const BEFORE_MS = 10 * 60_000;
const WINDOW_MS = 30 * 60_000;
const BUFFER_S = 20;
/** The newest segment may lack so much: it is not yet on disk. */
const UNWRITTEN_MS = 8000;
/** Playback that ends this close to now is at the live edge. */
const LIVE_EDGE_MS = 3 * UNWRITTEN_MS;
const RETRY_MS = 3000;
/** Rounding of positions, s. */
const ROUNDED_S = 0.002;

export interface RecordingEvents {
  changed(): void;
  reachedLiveEdge(): void;
  /** The recording has its first frame. */
  firstFrame(surface: HTMLVideoElement): void;
}

export class RecordingPlayback {
  readonly surface: HTMLVideoElement;
  private readonly stopping = new AbortController();
  private readonly stepper: FrameStepper;
  private hls: Hls | null = null;
  private window: { start: number; end: number } | null = null;
  /** The requested time, ms; null once its frame is presented. */
  private requested: number | null = null;
  /** The requested time for which nothing was recorded, ms. */
  private notRecorded: number | null = null;
  /** Rule 6: why it cannot be loaded. */
  private failure: MessageKey | null = null;
  private retryTimer = 0;
  /** Capture time of the frame on the screen; null without one. */
  private shown: number | null = null;
  private isLoading = false;
  private bytes = 0;
  /** Rule 5: the seconds between two keyframes; null for all frames. */
  private keyframesEvery: number | null = null;
  /** A window that is loaded begins paused. */
  private beginsPaused = false;

  constructor(
    private readonly api: Api,
    private readonly camera: string,
    muted: boolean,
    private readonly rendition: () => Rendition,
    private readonly events: RecordingEvents,
  ) {
    const { signal } = this.stopping;
    this.surface = createVideo(muted);
    this.stepper = new FrameStepper(this.surface, signal);
    watchFrames(this.surface, signal, (_, metadata) => {
      this.requested = null;
      this.failure = null;
      this.shown = this.timeAt(metadata?.mediaTime ?? this.surface.currentTime);
      if (metadata) this.stepper.presented(metadata);
      if (!this.surface.classList.contains("shown")) events.firstFrame(this.surface);
      events.changed();
    });
    this.surface.addEventListener("ended", () => this.continueAfterEnd(), { signal });
  }

  /** Capture time of the frame on the screen, ms since the Unix epoch; null without one. */
  get captureTime(): number | null {
    return this.shown;
  }

  /** Where playback is, or was sent by a seek, ms since the Unix epoch. */
  get position(): number | null {
    return this.requested ?? this.timeAt(this.surface.currentTime) ?? this.shown;
  }

  set playbackRate(rate: number) {
    // A video resets its rate to the default with each window that is loaded: set the default too.
    this.surface.defaultPlaybackRate = this.surface.playbackRate = rate;
    const keyframesEvery = keyframeInterval(rate);
    if (keyframesEvery === this.keyframesEvery) return;
    const time = this.position;
    this.keyframesEvery = keyframesEvery;
    if (time === null) return;
    this.beginsPaused = this.surface.paused;
    // If a window is loading, its playlist is not the right one any more.
    this.requested = time;
    this.load(time);
  }

  play(): void {
    this.beginsPaused = false;
    void play(this.surface);
  }

  pause(): void {
    // What is loading would play.
    if (this.isLoading) this.beginsPaused = true;
    this.surface.pause();
  }

  step(frames: number): Promise<void> {
    return this.stepper.step(frames);
  }

  seek(time: number): void {
    this.requested = time;
    this.notRecorded = null;
    this.failure = null;
    if (this.isLoading) return;
    const position = this.positionOf(time);
    if (position !== null) this.surface.currentTime = position;
    else this.load(time);
  }

  async statistics(): Promise<TransportStats> {
    const { videoWidth: width, videoHeight: height } = this.surface;
    const { totalVideoFrames: frames, droppedVideoFrames: framesDropped } = this.surface.getVideoPlaybackQuality();
    return { frames, framesDropped, bytes: this.bytes, width, height };
  }

  stop(): void {
    this.stopping.abort();
    clearTimeout(this.retryTimer);
    this.hls?.destroy();
    this.hls = null;
    this.surface.remove();
  }

  statusText(language: Language): StatusText {
    const { captureTime, notRecorded } = this;
    const label = translate(language, this.surface.paused ? "paused" : "recorded");
    const detail = captureTime === null ? "" : new Date(captureTime).toLocaleTimeString(language, { hourCycle: "h23" });
    if (this.failure !== null) return { status: "error", label, detail, notice: translate(language, this.failure) };
    if (notRecorded === null) return { status: "recording", label, detail, notice: "" };
    const time = new Date(notRecorded).toLocaleString(language, { hourCycle: "h23" });
    return { status: "off", label, detail, notice: translate(language, "notRecorded", { time }) };
  }

  /** Load the window around a time. */
  private load(time: number): void {
    clearTimeout(this.retryTimer);
    this.hls?.destroy();
    // The video is empty until the first frame of the new window.
    this.shown = null;
    this.isLoading = true;
    this.stepper.reset();
    const start = time - BEFORE_MS;
    const end = time + WINDOW_MS;
    this.window = { start, end };
    const query = new URLSearchParams({
      start: new Date(start).toISOString(),
      // Without an end, the playlist would continue into live and be reloaded again and again.
      end: new Date(end > this.now - UNWRITTEN_MS ? this.now : end).toISOString(),
      prefer: this.rendition(),
    });
    if (this.keyframesEvery !== null) query.set("interval", String(this.keyframesEvery));
    const { api } = this;
    const hls = new Hls({
      autoStartLoad: false,
      backBufferLength: 60,
      maxBufferLength: BUFFER_S * Math.max(1, this.surface.playbackRate),
      ...(api.token
        ? { xhrSetup: (xhr: XMLHttpRequest) => xhr.setRequestHeader("Authorization", `Bearer ${api.token}`) }
        : {}),
    });
    this.hls = hls;
    hls.once(Hls.Events.LEVEL_LOADED, (_, { details }) => {
      this.begin(hls, details.fragments, time);
    });
    hls.on(Hls.Events.ERROR, (_, { fatal, response }) => {
      if (!fatal) return;
      this.isLoading = false;
      if (response?.code === 404) void this.skipGap(this.requested ?? time);
      else if (response?.code === 400) this.setNotRecorded(this.requested ?? time);
      else this.fail(response?.code);
    });
    hls.on(Hls.Events.FRAG_LOADED, (_, { frag }) => {
      this.bytes += frag.stats.loaded;
    });
    hls.attachMedia(this.surface);
    const name = this.keyframesEvery === null ? "dvr" : "iframes";
    hls.loadSource(api.url(`/hls/${this.camera}/${name}.m3u8?${query}`));
  }

  /** The playlist is loaded, and no segment yet. Start with that of the requested time. */
  private begin(hls: Hls, fragments: readonly Fragment[], time: number): void {
    this.isLoading = false;
    const requested = this.requested ?? time;
    if (!this.isInWindow(requested)) {
      this.load(requested);
      return;
    }
    const position = positionIn(fragments, requested);
    if (position === null) {
      void this.skipGap(requested);
      return;
    }
    hls.startLoad(position);
    this.surface.currentTime = position;
    if (this.beginsPaused) this.pause();
    else this.play();
    this.beginsPaused = false;
  }

  /** Nothing was recorded from a time to the end of its window: seek to the next recording. */
  private async skipGap(time: number): Promise<void> {
    this.isLoading = true;
    let next: number | null = null;
    let error: unknown = null;
    try {
      next = await this.nextRecording(time);
    } catch (thrown) {
      error = thrown;
    }
    this.isLoading = false;
    if (this.stopping.signal.aborted) return;
    if (error !== null) return this.fail(error instanceof ApiError ? error.status : undefined);
    // There may have been another seek meanwhile.
    if (this.requested !== null && this.requested !== time) this.seek(this.requested);
    else if (next !== null && next > time) this.seek(next);
    else this.setNotRecorded(time);
  }

  /** Start of the first recording at or after a time, ms; null if there is none. Throws as `Api.fetch` does. */
  private async nextRecording(time: number): Promise<number | null> {
    const query = new URLSearchParams({ start: new Date(time).toISOString(), limit: "1" });
    const { segments } = await this.api.json<SegmentPage>(`/api/cameras/${this.camera}/segments?${query}`, {
      signal: this.stopping.signal,
    });
    return segments[0] ? Date.parse(segments[0].start) : null;
  }

  /** Rule 6. `status` is that of the answer, if there was one. */
  private fail(status: number | undefined): void {
    const isRefused = status === 401 || status === 403;
    this.failure = status === 401 ? "signIn" : status === 403 ? "forbidden" : "recordingFailed";
    this.requested ??= this.position;
    clearTimeout(this.retryTimer);
    if (!isRefused) {
      this.retryTimer = window.setTimeout(() => {
        if (this.requested !== null && !this.isLoading) this.load(this.requested);
      }, RETRY_MS);
    }
    this.events.changed();
  }

  private setNotRecorded(time: number): void {
    this.notRecorded = time;
    this.events.changed();
  }

  /** At the end of the window: go live, or load the next window. */
  private continueAfterEnd(): void {
    const end = this.position ?? this.window?.end ?? this.now;
    if (end > this.now - LIVE_EDGE_MS) this.events.reachedLiveEdge();
    else this.seek(end + 100);
  }

  /** The gateway's clock, ms. */
  private get now(): number {
    return gatewayNow(this.api);
  }

  /** The time of a position in the video. A keyframe of keyframes alone stays until the next one. */
  private timeAt(position: number): number | null {
    let found: Fragment | undefined;
    for (const fragment of this.fragments) if (fragment.start <= position + ROUNDED_S) found = fragment;
    if (!found || found.programDateTime === null) return null;
    if (this.keyframesEvery !== null) return found.programDateTime;
    return found.programDateTime + Math.max(0, position - found.start) * 1000;
  }

  /** Position of a time in the video, or of the next recording in the window; null outside the window. */
  private positionOf(time: number): number | null {
    if (!this.isInWindow(time)) return null;
    return positionIn(this.fragments, time);
  }

  private get fragments(): readonly Fragment[] {
    return this.hls?.levels[0]?.details?.fragments ?? [];
  }

  private isInWindow(time: number): boolean {
    const { window } = this;
    return window !== null && time >= window.start && time < window.end;
  }
}

function positionIn(fragments: readonly Fragment[], time: number): number | null {
  for (const { start, duration, programDateTime } of fragments) {
    if (programDateTime === null) continue;
    if (time < programDateTime) return start + 0.001;
    if (time < programDateTime + duration * 1000) return start + (time - programDateTime) / 1000;
  }
  return null;
}
