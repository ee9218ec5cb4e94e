// What all transports have in common: an element that shows the video, and callbacks.

import type { Api } from "../core/api.ts";
import type { MessageKey } from "../core/i18n.ts";
import type { RenditionRequest, ShownRendition, Tile } from "../core/rendition.ts";
import type { Failure, TransportName } from "../core/transports.ts";

export interface TransportContext {
  api: Api;
  camera: string;
  muted: boolean;
  /** The signaling of WebRTC. */
  signaling: "whep" | "socketio";
  /** Width of the element in device pixels: JPEG needs no more. */
  width: number;
  /** The stream of the camera that is asked for, at present. */
  rendition(): RenditionRequest;
  /** The size at which the video is shown, at present; null if it is not known. */
  tile(): Tile | null;
  /** Which stream is shown, as far as the transport knows. */
  onRendition(shown: ShownRendition): void;
  /** A frame was presented. `captured` is its capture time on the gateway's clock, ms; null if it is not known. */
  onFrame(captured: number | null): void;
  /** Whether the gateway reports that the network is too slow for all frames. */
  onDegraded(isDegraded: boolean): void;
  /** The state of a camera that is known not to be live, but may be in a moment; null if it is live, or not known. */
  starting(): Failure | null;
  /** Why the camera has no frames, if it is known by now that it has none. */
  refusal(): Failure | null;
  /** The transport has ended. */
  onFailure(failure: Failure): void;
}

/** Counters and values of a transport. What a transport cannot measure is absent. Counters only grow. */
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
  /** Release all resources. No callback is called afterwards. */
  stop(): void;
  statistics(): Promise<TransportStats>;
  /** The size of the video, or the stream that is asked for, has changed. */
  changeRendition?(): void;
  /** Ask anew for what `captured` is made of, where that is not a part of the stream. */
  syncClock?(): Promise<void>;
}

/** This browser cannot play the transport, whatever the gateway sends. */
export class BrowserError extends Error {
  readonly failure: Failure;

  constructor(kind: "unsupported" | "connectionLost", messageKey: MessageKey) {
    super(messageKey);
    this.failure = { kind, message: "", messageKey };
  }
}

/** A <video> with the attributes that all transports need. */
export function createVideo(muted: boolean): HTMLVideoElement {
  const video = document.createElement("video");
  video.autoplay = true;
  video.muted = muted;
  video.playsInline = true;
  video.disableRemotePlayback = true;
  return video;
}

/** Start a video; muted, if the browser allows sound only after a click. */
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

/** Call `onFrame` for every presented frame of a video until the signal is aborted. */
export function watchFrames(
  video: HTMLVideoElement,
  signal: AbortSignal,
  onFrame: (now: number, metadata: VideoFrameCallbackMetadata | null) => void,
): void {
  if ("requestVideoFrameCallback" in video) {
    const next: VideoFrameRequestCallback = (now, metadata) => {
      if (signal.aborted) return;
      onFrame(now, metadata);
      video.requestVideoFrameCallback(next);
    };
    video.requestVideoFrameCallback(next);
    return;
  }
  let presented = 0;
  const timer = setInterval(() => {
    const frames = (video as HTMLVideoElement).getVideoPlaybackQuality().totalVideoFrames;
    if (frames !== presented) onFrame(performance.now(), null);
    presented = frames;
  }, POLL_MS);
  signal.addEventListener("abort", () => clearInterval(timer));
}
