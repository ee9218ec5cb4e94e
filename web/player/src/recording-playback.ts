// Playback of what was recorded: the archive's files as one seekable HLS playlist, around the moment that is asked for.
//
// Rules:
// 1. A window of the archive is loaded: a little before the moment and WINDOW_MS after it. A seek inside it is a seek of
//    the video; one outside loads another window.
// 2. Moments are those of EXT-X-PROGRAM-DATE-TIME, so that gaps are jumped over and never shift what follows.
// 3. Whoever plays past the end of what is recorded has arrived in live.
// 4. While a window is on its way, seeks only change what is wanted of it: dragging along a year asks for one at a time.
// 5. A step goes to the middle of a picture, found from where the one that is shown begins: no rounding shows it twice.

import type { Api } from "./core/api.ts";
import { type Language, translate } from "./core/i18n.ts";
import type { StatusText } from "./core/status-text.ts";
import { type Fragment, Hls } from "./transports/hlsjs.ts";
import { createVideo, play, type TransportStats, watchFrames } from "./transports/transport.ts";

const BEFORE_MS = 10 * 60_000;
const WINDOW_MS = 30 * 60_000;
/** How long a picture is taken to last, in s, until two in a row were seen: the longest try is TRIES doublings of it. */
const PICTURE_S = 1 / 30;
const PICTURE_MAX_S = 4;
const TRIES = 7;
/** After a seek in what is loaded, a new picture is on the screen by then; where it must be loaded, by LOADED_MS. */
const PRESENTED_MS = 150;
const LOADED_MS = 5000;
const LOOK_MS = 10;
/** So near to now there is nothing whole on disk yet. */
const EDGE_MS = 8000;

export interface RecordingEvents {
  changed(): void;
  /** It has played up to the live edge. */
  arrived(): void;
  /** The first picture of it. */
  shown(surface: HTMLVideoElement): void;
}

export class Recording {
  readonly surface: HTMLVideoElement;
  private readonly ending = new AbortController();
  private hls: Hls | null = null;
  private window: { start: number; end: number } | null = null;
  private wanted: number | null = null;
  private missing: number | null = null;
  private isLoading = false;
  private bytes = 0;
  /** Where on the video's time the picture on the screen begins, and how long a picture lasts, s. */
  private pictureAt: number | null = null;
  private pictureS: number | null = null;
  private presented = 0;
  private hasSought = false;
  private steps = 0;
  private isStepping = false;

  constructor(
    private readonly api: Api,
    private readonly camera: string,
    muted: boolean,
    private readonly events: RecordingEvents,
  ) {
    this.surface = createVideo(muted);
    watchFrames(this.surface, this.ending.signal, (_, metadata) => {
      this.wanted = null;
      if (metadata) this.learn(metadata);
      if (!this.surface.classList.contains("shown")) events.shown(this.surface);
      events.changed();
    });
    this.surface.addEventListener("seeking", () => (this.hasSought = true), { signal: this.ending.signal });
    this.surface.addEventListener("ended", () => this.goOn(), { signal: this.ending.signal });
  }

  /** The capture time of the picture, ms since the Unix epoch. */
  get time(): number | null {
    return this.wanted ?? this.hls?.playingDate?.getTime() ?? null;
  }

  set rate(rate: number) {
    // The default too: a video forgets its rate with each window that is loaded.
    this.surface.defaultPlaybackRate = this.surface.playbackRate = rate;
  }

  play(): void {
    void play(this.surface);
  }

  pause(): void {
    this.surface.pause();
  }

  /** Show the picture so many further on, or back. Steps that come while one is being done are added up. */
  async step(pictures: number): Promise<void> {
    this.surface.pause();
    this.steps += pictures;
    if (this.isStepping) return;
    this.isStepping = true;
    while (this.steps !== 0 && !this.ending.signal.aborted) {
      const by = this.steps;
      this.steps = 0;
      await this.stepBy(by);
    }
    this.isStepping = false;
  }

  seek(time: number): void {
    this.wanted = time;
    this.missing = null;
    if (this.isLoading) return;
    const position = this.positionOf(time);
    if (position !== null) this.surface.currentTime = position;
    else this.load(time);
  }

  /** Counters as a transport has them. */
  async statistics(): Promise<TransportStats> {
    const { videoWidth: width, videoHeight: height } = this.surface;
    const { totalVideoFrames: frames, droppedVideoFrames: framesDropped } = this.surface.getVideoPlaybackQuality();
    return { frames, framesDropped, bytes: this.bytes, width, height };
  }

  stop(): void {
    this.ending.abort();
    this.hls?.destroy();
    this.hls = null;
    this.surface.remove();
  }

  describe(language: Language): StatusText {
    const at = this.time;
    const label = translate(language, this.surface.paused ? "paused" : "recorded");
    const more = at === null ? "" : new Date(at).toLocaleTimeString(language, { hourCycle: "h23" });
    const notice =
      this.missing === null
        ? ""
        : translate(language, "notRecorded", {
            time: new Date(this.missing).toLocaleString(language, { hourCycle: "h23" }),
          });
    return { tone: this.missing === null ? "past" : "off", label, more, notice };
  }

  private learn({ mediaTime, presentedFrames }: VideoFrameCallbackMetadata): void {
    const lasted = mediaTime - (this.pictureAt ?? mediaTime);
    // After a seek it is no neighbour, and at speed not each picture is presented.
    const isNext = presentedFrames === this.presented + 1 && !this.hasSought && this.surface.playbackRate <= 1;
    if (isNext && lasted > 0.001 && lasted < PICTURE_MAX_S) this.pictureS = Math.min(lasted, this.pictureS ?? lasted);
    this.pictureAt = mediaTime;
    this.presented = presentedFrames;
    this.hasSought = false;
  }

  private async stepBy(pictures: number): Promise<void> {
    const from = this.pictureAt ?? this.surface.currentTime;
    if (this.pictureS !== null) {
      // A browser takes a place just before what is loaded for the beginning of that: it is asked again when more has come.
      const position = from + (pictures + 0.5) * this.pictureS;
      for (let tries = 0; tries < LOADED_MS / PRESENTED_MS; tries++) if (await this.settle(position, from)) return;
      return;
    }
    // Not known how long one lasts: one step tells, and the rest comes after it.
    const one = Math.sign(pictures);
    this.steps += pictures - one;
    let lasts = PICTURE_S;
    for (let tries = 0; tries < TRIES; tries++, lasts *= 2) {
      // Just before it is the one before; further on is another one where this one lasts no longer than was thought.
      const position = one < 0 ? from - 0.001 : from + 1.5 * lasts;
      if (await this.settle(position, from)) break;
    }
    if (this.pictureAt !== null && this.pictureAt !== from) this.pictureS = Math.abs(this.pictureAt - from);
  }

  /** Seek on the video's time; true when a picture other than the one at `from` is there, false where none comes. */
  private async settle(position: number, from: number): Promise<boolean> {
    const { surface } = this;
    surface.currentTime = Math.max(0, position);
    // One that begins later is that of another place: the nearest that is loaded.
    const isThere = () =>
      !surface.seeking &&
      this.pictureAt !== null &&
      Math.abs(this.pictureAt - from) > 0.001 &&
      this.pictureAt <= Math.max(0, position) + 0.001;
    // What is not loaded yet takes its time; what is, is there soon or never.
    for (let waited = 0; waited < LOADED_MS && (surface.seeking || waited < PRESENTED_MS); waited += LOOK_MS) {
      if (isThere()) return true;
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    }
    return isThere();
  }

  private load(time: number): void {
    this.hls?.destroy();
    this.isLoading = true;
    this.pictureAt = this.pictureS = null;
    const end = time + WINDOW_MS;
    const isOpen = end > Date.now() - EDGE_MS;
    this.window = { start: time - BEFORE_MS, end };
    const query = new URLSearchParams({ start: new Date(time - BEFORE_MS).toISOString() });
    // Without an end it would go on into live, and never stop reloading: live has better ways.
    query.set("end", new Date(isOpen ? Date.now() : end).toISOString());
    const { api } = this;
    const hls = new Hls({
      autoStartLoad: false,
      backBufferLength: 60,
      maxBufferLength: 20,
      ...(api.token
        ? { xhrSetup: (xhr: XMLHttpRequest) => xhr.setRequestHeader("Authorization", `Bearer ${api.token}`) }
        : {}),
    });
    this.hls = hls;
    hls.once(Hls.Events.LEVEL_LOADED, (_, { details }) => {
      this.isLoading = false;
      const wanted = this.wanted ?? time;
      if (!this.isInWindow(wanted)) return this.load(wanted);
      // The playlist is there, nothing else is fetched yet: begin with the segment that is wanted.
      const position = positionIn(details.fragments, wanted);
      if (position === null) return void this.skip(wanted);
      hls.startLoad(position);
      this.surface.currentTime = position;
      this.play();
    });
    hls.on(Hls.Events.ERROR, (_, { fatal, response }) => {
      if (!fatal) return;
      this.isLoading = false;
      if (response?.code === 404) void this.skip(this.wanted ?? time);
      else if (response?.code === undefined || response.code < 500) this.miss(time);
    });
    hls.on(Hls.Events.FRAG_LOADED, (_, { frag }) => (this.bytes += frag.stats.loaded));
    hls.attachMedia(this.surface);
    hls.loadSource(api.url(`/hls/${this.camera}/dvr.m3u8?${query}`));
  }

  /** Nothing was recorded from a moment to the end of its window: on with what comes next. */
  private async skip(time: number): Promise<void> {
    this.isLoading = true;
    const query = new URLSearchParams({ start: new Date(time).toISOString(), limit: "1" });
    let next: number | null = null;
    try {
      const { signal } = this.ending;
      const { segments } = await this.api.json<{ segments: { start: string }[] }>(
        `/api/cameras/${this.camera}/segments?${query}`,
        { signal },
      );
      next = segments[0] ? Date.parse(segments[0].start) : null;
    } catch {
      // What is not known is not there.
    }
    this.isLoading = false;
    if (this.ending.signal.aborted) return;
    // Somebody may have thought better of it meanwhile.
    if (this.wanted !== null && this.wanted !== time) this.seek(this.wanted);
    else if (next !== null && next > time) this.seek(next);
    else this.miss(time);
  }

  private miss(time: number): void {
    this.missing = time;
    this.events.changed();
  }

  /** The end of the window: on with the next one, or into live. */
  private goOn(): void {
    const at = this.time ?? this.window?.end ?? Date.now();
    if (at > Date.now() - 3 * EDGE_MS) this.events.arrived();
    else this.seek(at + 100);
  }

  /** Where a moment is on the video's own time, or the next that is recorded in this window; null outside of it. */
  private positionOf(time: number): number | null {
    if (!this.isInWindow(time)) return null;
    return positionIn(this.hls?.levels[0]?.details?.fragments ?? [], time);
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
