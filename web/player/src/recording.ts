// Playback of what was recorded: the archive's files as one seekable HLS playlist, around the moment that is asked for.
//
// Rules:
// 1. A window of the archive is loaded: a little before the moment and WINDOW_MS after it. A seek inside it is a seek of
//    the video; one outside loads another window.
// 2. Moments are those of EXT-X-PROGRAM-DATE-TIME, so that gaps are jumped over and never shift what follows.
// 3. Whoever plays past the end of what is recorded has arrived in live.

import type { Api } from "./core/api.ts";
import type { Description } from "./core/describe.ts";
import { say, type Language } from "./core/words.ts";
import { Hls, type Fragment } from "./rungs/hlsjs.ts";
import { createVideo, play, watchFrames } from "./rungs/rung.ts";

const BEFORE_MS = 30_000;
const WINDOW_MS = 30 * 60_000;
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

  constructor(
    private readonly api: Api,
    private readonly camera: string,
    muted: boolean,
    private readonly events: RecordingEvents,
  ) {
    this.surface = createVideo(muted);
    watchFrames(this.surface, this.ending.signal, () => {
      this.wanted = null;
      if (!this.surface.classList.contains("shown")) events.shown(this.surface);
      events.changed();
    });
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

  step(pictures: number): void {
    this.surface.pause();
    this.surface.currentTime += pictures / this.frameRate;
  }

  async seek(time: number): Promise<void> {
    this.wanted = time;
    this.missing = null;
    const position = this.positionOf(time);
    if (position !== null) {
      this.surface.currentTime = position;
      return;
    }
    this.load(time);
  }

  stop(): void {
    this.ending.abort();
    this.hls?.destroy();
    this.hls = null;
    this.surface.remove();
  }

  describe(language: Language): Description {
    const at = this.time;
    const label = say(language, this.surface.paused ? "paused" : "recorded");
    const more = at === null ? "" : new Date(at).toLocaleTimeString(language, { hourCycle: "h23" });
    const notice =
      this.missing === null
        ? ""
        : say(language, "notRecorded", { time: new Date(this.missing).toLocaleString(language, { hourCycle: "h23" }) });
    return { tone: this.missing === null ? "past" : "off", label, more, notice };
  }

  private get frameRate(): number {
    return this.hls?.levels[0]?.frameRate || 25;
  }

  private load(time: number): void {
    this.hls?.destroy();
    const end = time + WINDOW_MS;
    const isOpen = end > Date.now() - EDGE_MS;
    this.window = { start: time - BEFORE_MS, end };
    const query = new URLSearchParams({ start: new Date(time - BEFORE_MS).toISOString() });
    // Without an end it would go on into live, and never stop reloading: live has better ways.
    query.set("end", new Date(isOpen ? Date.now() : end).toISOString());
    const { api } = this;
    const hls = (this.hls = new Hls({
      autoStartLoad: false,
      backBufferLength: 60,
      maxBufferLength: 20,
      ...(api.token ? { xhrSetup: (xhr: XMLHttpRequest) => xhr.setRequestHeader("Authorization", `Bearer ${api.token}`) } : {}),
    }));
    hls.once(Hls.Events.LEVEL_LOADED, (_, { details }) => {
      // The playlist is there, nothing else is fetched yet: begin with the segment that is wanted.
      const position = positionIn(details.fragments, time) ?? 0;
      hls.startLoad(position);
      this.surface.currentTime = position;
      this.play();
    });
    hls.on(Hls.Events.ERROR, (_, { fatal, response }) => {
      if (!fatal) return;
      if (response?.code === 404 || response?.code === undefined || response.code < 500) {
        this.missing = time;
        this.events.changed();
      }
    });
    hls.attachMedia(this.surface);
    hls.loadSource(api.url(`/hls/${this.camera}/dvr.m3u8?${query}`));
  }

  /** The end of the window: on with the next one, or into live. */
  private goOn(): void {
    const at = this.time ?? this.window?.end ?? Date.now();
    if (at > Date.now() - 3 * EDGE_MS) this.events.arrived();
    else void this.seek(at + 100);
  }

  /** Where a moment is on the video's own time, or the next that is recorded in this window; null outside of it. */
  private positionOf(time: number): number | null {
    const { window } = this;
    if (!window || time < window.start || time >= window.end) return null;
    return positionIn(this.hls?.levels[0]?.details?.fragments ?? [], time);
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
