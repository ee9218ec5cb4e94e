// LL-HLS with hls.js in low-latency mode, or with the browser's own HLS player if there is no Media Source.

import { toFailure } from "../core/api.ts";
import { liveSync, type Range, StallMargin } from "../core/live-sync.ts";
import { levelOf, renditionOfUrl } from "../core/rendition.ts";
import type { Failure } from "../core/transports.ts";
import type { Hls } from "./hlsjs.ts";
import {
  createVideo,
  play,
  type Transport,
  type TransportContext,
  type TransportStats,
  watchFrames,
} from "./transport.ts";

const LIVE_SYNC_INTERVAL_MS = 100;
/** How often to look for the main stream, if the playlist had only the sub stream. */
const MAIN_INTERVAL_MS = 5000;
/** The position after a seek has to be loaded and decoded before it can be judged. */
const SEEK_INTERVAL_MS = 700;

export class HlsTransport implements Transport {
  readonly name = "hls";
  readonly surface: HTMLVideoElement;
  private readonly stopping = new AbortController();
  private hls: Hls | null = null;
  private bytes = 0;
  private timer = 0;
  private mainTimer = 0;
  private lastSeek = Number.NEGATIVE_INFINITY;
  private readonly margin = new StallMargin();

  constructor(private readonly context: TransportContext) {
    this.surface = createVideo(context.muted);
  }

  start(): void {
    this.load().catch((error: unknown) => this.fail(toFailure(error)));
  }

  stop(): void {
    this.stopping.abort();
    clearInterval(this.timer);
    clearInterval(this.mainTimer);
    this.hls?.destroy();
    this.hls = null;
    this.surface.removeAttribute("src");
    this.surface.load();
  }

  async statistics(): Promise<TransportStats> {
    const quality = this.surface.getVideoPlaybackQuality();
    const { videoWidth, videoHeight, buffered, currentTime } = this.surface;
    const end = buffered.length > 0 ? buffered.end(buffered.length - 1) : currentTime;
    return {
      frames: quality.totalVideoFrames,
      framesDropped: quality.droppedVideoFrames,
      bytes: this.bytes,
      jitterBufferMs: (end - currentTime) * 1000,
      width: videoWidth,
      height: videoHeight,
      detail: this.hls ? "hls.js" : "native",
    };
  }

  changeRendition(): void {
    const { hls } = this;
    if (!hls || hls.levels.length < 2) return;
    const level = levelOf(
      this.context.rendition(),
      hls.levels.map(({ url }) => url[0] ?? ""),
    );
    if (hls.nextLevel !== level || level < 0) hls.nextLevel = level;
  }

  private async load(): Promise<void> {
    const { api, camera } = this.context;
    const path = `/hls/${camera}/index.m3u8`;
    watchFrames(this.surface, this.stopping.signal, () => this.context.onFrame(this.capturedAt()));
    const { Hls } = await import("./hlsjs.ts");
    if (this.stopping.signal.aborted) return;
    if (!Hls.isSupported()) {
      this.surface.onerror = () => this.fail({ kind: "connectionLost", message: this.surface.error?.message ?? "" });
      this.surface.src = await api.link(path);
      await play(this.surface);
      return;
    }
    const hls = new Hls({
      lowLatencyMode: true,
      // By default each stall adds a second of latency permanently. And hls.js raises the playback rate only with more
      // buffer than there is at the live edge; this.liveSync() does it instead.
      liveSyncOnStallIncrease: 0,
      backBufferLength: 10,
      maxBufferLength: 10,
      // The sub stream for a small video.
      capLevelToPlayerSize: true,
      manifestLoadPolicy: loadPolicy(10_000),
      playlistLoadPolicy: loadPolicy(15_000),
      fragLoadPolicy: loadPolicy(10_000),
      ...(api.token
        ? { xhrSetup: (xhr: XMLHttpRequest) => xhr.setRequestHeader("Authorization", `Bearer ${api.token}`) }
        : {}),
    });
    this.hls = hls;
    hls.on(Hls.Events.MANIFEST_PARSED, (_, { levels }) => {
      this.changeRendition();
      clearInterval(this.mainTimer);
      if (levels.some(({ url }) => renditionOfUrl(url[0] ?? "") === "main")) return;
      this.mainTimer = window.setInterval(() => void this.lookForMain(hls, path), MAIN_INTERVAL_MS);
    });
    hls.on(Hls.Events.LEVEL_SWITCHED, (_, { level }) => {
      const urls = hls.levels.map(({ url }) => renditionOfUrl(url[0] ?? ""));
      const rendition = urls[level];
      if (rendition) this.context.onRendition({ rendition, available: urls });
    });
    hls.on(Hls.Events.FRAG_LOADED, (_, { frag, part }) => (this.bytes += (part ?? frag).stats.loaded));
    hls.on(Hls.Events.ERROR, (_, { fatal, response, details }) => {
      const code = response?.code ?? 0;
      if (code >= 400 && (fatal || code === 401 || code === 403)) {
        this.fail(api.errorOf(code, String(response?.data ?? "")).failure);
      } else if (fatal) {
        this.fail({ kind: "connectionLost", message: details });
      }
    });
    hls.loadSource(api.url(path));
    hls.attachMedia(this.surface);
    this.timer = window.setInterval(() => this.liveSync(hls), LIVE_SYNC_INTERVAL_MS);
    this.surface.addEventListener("waiting", () => this.bufferEmpty());
    await play(this.surface);
  }

  /** A playlist that was loaded while the main stream was away has only the other one, and is loaded once. */
  private async lookForMain(hls: Hls, path: string): Promise<void> {
    const { api } = this.context;
    try {
      const text = await (await api.fetch(path, { signal: this.stopping.signal })).text();
      const uris = text.split("\n").filter((line) => line && !line.startsWith("#"));
      const streams = uris.map((uri) => renditionOfUrl(new URL(uri, new URL(api.url(path), location.href)).href));
      if (streams.includes("main") && hls === this.hls) hls.loadSource(api.url(path));
    } catch {
      // The next attempt follows.
    }
  }

  private capturedAt(): number | null {
    const date = this.hls ? this.hls.playingDate : playingDate(this.surface);
    return date ? date.getTime() : null;
  }

  private liveSync(hls: Hls): void {
    const { surface } = this;
    const target = targetOf(hls, this.margin.at(performance.now()));
    if (target === null || surface.paused || surface.readyState === HTMLMediaElement.HAVE_NOTHING) return;
    const { buffered } = surface;
    const ranges = Array.from(
      { length: buffered.length },
      (_, index): Range => [buffered.start(index), buffered.end(index)],
    );
    const { seek, playbackRate } = liveSync(surface.currentTime, target, ranges);
    if (surface.playbackRate !== playbackRate) surface.playbackRate = playbackRate;
    const now = performance.now();
    if (seek === null || now - this.lastSeek < SEEK_INTERVAL_MS) return;
    this.lastSeek = now;
    surface.currentTime = seek;
  }

  private bufferEmpty(): void {
    const { surface } = this;
    const now = performance.now();
    // The buffer is empty at the start and after a seek too, which says nothing about the network.
    if (surface.seeking || surface.played.length === 0 || now - this.lastSeek < SEEK_INTERVAL_MS) return;
    this.margin.stalled(now);
  }

  private fail(failure: Failure): void {
    if (!this.stopping.signal.aborted) this.context.onFailure(failure);
  }
}

/** The position to sync to, s; null while there is no media there (the camera is away, or has just come back). */
function targetOf(hls: Hls, margin: number): number | null {
  if (hls.liveSyncPosition === null) return null;
  const target = hls.liveSyncPosition - margin;
  const parts = hls.latestLevelDetails?.partList;
  if (!parts) return target;
  const part = parts.find(({ end }) => end > target);
  return part && !part.gap && !part.fragment.gap && part.start <= target ? target : null;
}

/** One retry, at once. After that, TransportFallback decides. */
function loadPolicy(maxLoadTimeMs: number) {
  const retry = { maxNumRetry: 1, retryDelayMs: 200, maxRetryDelayMs: 200 };
  return { default: { maxTimeToFirstByteMs: maxLoadTimeMs, maxLoadTimeMs, timeoutRetry: null, errorRetry: retry } };
}

/** The date of the playback position, in the browser's own HLS player. */
function playingDate(video: HTMLVideoElement & { getStartDate?: () => Date }): Date | null {
  const zero = video.getStartDate?.().getTime() ?? Number.NaN;
  return Number.isNaN(zero) ? null : new Date(zero + video.currentTime * 1000);
}
