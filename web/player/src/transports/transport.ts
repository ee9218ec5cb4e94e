// What every transport has in common: a surface on which pictures appear, and news of them.

import type { Api } from "../core/api.ts";
import type { Failure, TransportName } from "../core/fallback.ts";
import type { MessageKey } from "../core/i18n.ts";

export interface TransportContext {
  api: Api;
  camera: string;
  muted: boolean;
  /** How WebRTC is signalled. */
  signaling: "whep" | "socketio";
  /** Pixels of the screen that the surface covers across: no more are needed of JPEG. */
  width: number;
  /** A picture was presented; `captured` is its capture time on the gateway's clock, ms, where that is known. */
  picture(captured: number | null): void;
  /** Whether the gateway says that the network is too narrow for all pictures. */
  slow(isSlow: boolean): void;
  /** It is over. */
  failed(failure: Failure): void;
}

/** What can be measured here; what a transport cannot know is absent. Counters only grow. */
export interface TransportStats {
  frames?: number;
  bytes?: number;
  packets?: number;
  packetsLost?: number;
  framesDropped?: number;
  roundTripMs?: number;
  jitterBufferMs?: number;
  width?: number;
  height?: number;
  detail?: string;
}

export interface Transport {
  readonly name: TransportName;
  readonly surface: HTMLVideoElement | HTMLCanvasElement;
  start(): void;
  /** Lets go of everything; nothing is told after it. */
  stop(): void;
  statistics(): Promise<TransportStats>;
}

/** What this browser cannot do, whatever the gateway does. */
export class UnableError extends Error {
  readonly failure: Failure;

  constructor(kind: "refused" | "broken", word: MessageKey) {
    super(word);
    this.failure = { kind, message: "", word };
  }
}

/** A <video> as all of them want it. */
export function createVideo(muted: boolean): HTMLVideoElement {
  const video = document.createElement("video");
  video.autoplay = true;
  video.muted = muted;
  video.playsInline = true;
  video.disableRemotePlayback = true;
  return video;
}

/** Start a video, silently where sound needs a click first. */
export async function play(video: HTMLVideoElement): Promise<void> {
  try {
    await video.play();
  } catch (error) {
    if (error instanceof DOMException && error.name === "NotAllowedError" && !video.muted) {
      video.muted = true;
      await video.play().catch(() => {});
    }
  }
}

const POLL_MS = 100;

/** Tell every presented frame of a video until the signal ends. */
export function watchFrames(
  video: HTMLVideoElement,
  signal: AbortSignal,
  presented: (now: number, metadata: VideoFrameCallbackMetadata | null) => void,
): void {
  if ("requestVideoFrameCallback" in video) {
    const next: VideoFrameRequestCallback = (now, metadata) => {
      if (signal.aborted) return;
      presented(now, metadata);
      video.requestVideoFrameCallback(next);
    };
    video.requestVideoFrameCallback(next);
    return;
  }
  let seen = 0;
  const timer = setInterval(() => {
    const frames = (video as HTMLVideoElement).getVideoPlaybackQuality().totalVideoFrames;
    if (frames !== seen) presented(performance.now(), null);
    seen = frames;
  }, POLL_MS);
  signal.addEventListener("abort", () => clearInterval(timer));
}
