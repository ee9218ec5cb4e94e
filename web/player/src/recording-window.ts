// A window of a camera's recording in one <video>: the playlist of a span, with all frames or with keyframes alone.
//
// Times are those of EXT-X-PROGRAM-DATE-TIME, ms since the Unix epoch: gaps are jumps of them, and shift nothing.

import type { Api } from "./core/api.ts";
import { translate } from "./core/i18n.ts";
import type { Rendition } from "./core/rendition.ts";
import { joinSpans, type Span } from "./core/shared-clock.ts";
import { type Fragment, Hls } from "./transports/hlsjs.ts";
import { createVideo, play, watchFrames } from "./transports/transport.ts";

const BUFFER_S = 20;
const BACK_BUFFER_S = 30;
/** A position at the first frame of a file is just behind where it begins: times are rounded. */
const ROUNDED_S = 0.001;
/** A frame is presented within so long after its seek, if it was not before. */
const PRESENTED_MS = 100;

export interface WindowRequest extends Span {
  /** The stream to play where both were recorded. */
  rendition: Rendition;
  /** Of keyframes alone: those that are at least so many seconds apart; null for all frames. */
  keyframesEvery: number | null;
  /** How fast it will be played: so much more of it is loaded ahead. */
  rate: number;
}

export class RecordingWindow {
  readonly surface: HTMLVideoElement;
  /** What was recorded in the window; null until that is known. */
  recorded: Span[] | null = null;
  /** Why there is no playlist, if that is not because nothing was recorded. */
  error: string | null = null;
  /** The time of the last seek, until playing has shown another one. */
  sought: number | null = null;
  /** Whether a frame was presented since the last seek. */
  hasFrame = false;
  private readonly stopping = new AbortController();
  private readonly hls: Hls;
  private isLoading = false;

  constructor(
    api: Api,
    camera: string,
    readonly request: WindowRequest,
  ) {
    const { signal } = this.stopping;
    this.surface = createVideo(true);
    this.surface.autoplay = false;
    watchFrames(this.surface, signal, () => {
      this.hasFrame = !this.surface.seeking;
      if (!this.surface.paused) this.sought = null;
    });
    // Chromium may present the frame before the seek is over, and no other one for a second seek to the same place.
    const seeked = () => setTimeout(() => this.acceptFrame(), PRESENTED_MS);
    this.surface.addEventListener("seeked", seeked, { signal });
    const { start, end, rendition, keyframesEvery, rate } = request;
    const query = new URLSearchParams({ start: iso(start), end: iso(end), prefer: rendition });
    if (keyframesEvery !== null) query.set("interval", String(keyframesEvery));
    this.hls = new Hls({
      autoStartLoad: false,
      backBufferLength: BACK_BUFFER_S,
      maxBufferLength: BUFFER_S * Math.max(1, rate),
      maxMaxBufferLength: BUFFER_S * Math.max(1, rate),
      ...(api.token
        ? { xhrSetup: (xhr: XMLHttpRequest) => xhr.setRequestHeader("Authorization", `Bearer ${api.token}`) }
        : {}),
    });
    this.hls.once(Hls.Events.LEVEL_LOADED, (_, { details }) => {
      this.recorded = joinSpans(details.fragments.flatMap(spanOf));
    });
    this.hls.on(Hls.Events.ERROR, (_, { fatal, response, type }) => {
      if (!fatal) return;
      if (response?.code === 404 && this.recorded === null) this.recorded = [];
      else if (type === "mediaError" && this.error === null) this.hls.recoverMediaError();
      else if (response?.code === 403) this.error = translate(api.language, "forbidden");
      else this.error = response?.code ? api.errorOf(response.code, String(response.data ?? "")).message : "";
    });
    this.hls.attachMedia(this.surface);
    const name = keyframesEvery === null ? "dvr" : "iframes";
    this.hls.loadSource(api.url(`/hls/${camera}/${name}.m3u8?${query}`));
  }

  /** The time of the picture; null without one. */
  get time(): number | null {
    if (this.sought !== null && (this.surface.seeking || !this.hasFrame)) return null;
    return this.hasFrame ? this.timeAt(this.surface.currentTime) : null;
  }

  /** The capture time of the frame on the screen; null without one. Of keyframes alone, that is the last one's. */
  get captureTime(): number | null {
    if (this.request.keyframesEvery === null || this.time === null) return this.time;
    return this.fragmentAt(this.surface.currentTime)?.programDateTime ?? null;
  }

  /** Whether it has the data to play from its position. */
  get isReady(): boolean {
    const { seeking, ended, readyState } = this.surface;
    return this.hasFrame && !seeking && (ended || readyState >= HTMLMediaElement.HAVE_FUTURE_DATA);
  }

  private acceptFrame(): void {
    const { seeking, readyState } = this.surface;
    this.hasFrame ||= !seeking && readyState >= HTMLMediaElement.HAVE_CURRENT_DATA;
  }

  seek(time: number): void {
    const position = this.positionOf(time);
    if (position === null) return;
    this.sought = time;
    this.hasFrame = false;
    if (!this.isLoading) this.hls.startLoad(position);
    this.isLoading = true;
    this.surface.currentTime = position;
  }

  play(rate: number): void {
    if (Math.abs(this.surface.playbackRate - rate) > 0.002)
      this.surface.defaultPlaybackRate = this.surface.playbackRate = rate;
    if (this.surface.paused) void play(this.surface);
  }

  pause(): void {
    if (!this.surface.paused) this.surface.pause();
  }

  stop(): void {
    this.stopping.abort();
    this.hls.destroy();
    this.surface.remove();
  }

  private get fragments(): readonly Fragment[] {
    return this.hls.levels[0]?.details?.fragments ?? [];
  }

  private timeAt(position: number): number | null {
    const fragment = this.fragmentAt(position);
    if (!fragment || fragment.programDateTime === null) return null;
    return fragment.programDateTime + (position - fragment.start) * 1000;
  }

  private fragmentAt(position: number): Fragment | undefined {
    const { fragments } = this;
    let [low, high] = [0, fragments.length - 1];
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if ((fragments[middle]?.start ?? 0) <= position) low = middle;
      else high = middle - 1;
    }
    return fragments[low];
  }

  /** Position of a time, or of the next recording. */
  private positionOf(time: number): number | null {
    for (const { start, duration, programDateTime } of this.fragments) {
      if (programDateTime === null) continue;
      if (time < programDateTime) return start + ROUNDED_S;
      if (time < programDateTime + duration * 1000) return start + (time - programDateTime) / 1000;
    }
    return null;
  }
}

function spanOf({ programDateTime, duration }: Fragment): Span[] {
  return programDateTime === null ? [] : [{ start: programDateTime, end: programDateTime + duration * 1000 }];
}

function iso(time: number): string {
  return new Date(time).toISOString();
}
