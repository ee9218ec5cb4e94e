// A microphone to the camera's loudspeaker: POST /talk/{camera} takes the floor, DELETE gives it back.

import { type Api, ApiError } from "../core/api.ts";
import { SendingSession } from "./sending-session.ts";

const CONNECT_TIMEOUT_MS = 10_000;

const MICROPHONE = { echoCancellation: true, noiseSuppression: true, autoGainControl: true };

/** Why it is not possible to talk, where that is not an answer of the gateway. */
export type MicrophoneProblem = "talkInsecure" | "talkDenied" | "talkNoMicrophone";

export class MicrophoneError extends Error {
  constructor(readonly key: MicrophoneProblem) {
    super(key);
  }
}

/** The microphone. Rejects with MicrophoneError. */
export async function openMicrophone(): Promise<MediaStream> {
  // Browsers hide it from pages that are neither over HTTPS nor of this machine.
  if (!navigator.mediaDevices) throw new MicrophoneError("talkInsecure");
  try {
    return await navigator.mediaDevices.getUserMedia({ audio: MICROPHONE });
  } catch (error) {
    const isDenied = ["NotAllowedError", "SecurityError"].includes((error as Error).name);
    throw new MicrophoneError(isDenied ? "talkDenied" : "talkNoMicrophone");
  }
}

export class TalkSession {
  private isClosed = false;

  private constructor(
    private readonly api: Api,
    private readonly camera: string,
    private readonly session: SendingSession,
  ) {}

  /**
   * Talk to a camera; resolves when it hears the stream. Rejects with ApiError, or when `signal` is aborted.
   * `onEnd` is called once, with the gateway's reason, when a session that began ends by itself.
   */
  static async open(
    api: Api,
    camera: string,
    stream: MediaStream,
    signal: AbortSignal,
    onEnd: (reason: string) => void,
  ): Promise<TalkSession> {
    const sending = await SendingSession.make(api, `/talk/${encodeURIComponent(camera)}`, signal);
    const session = new TalkSession(api, camera, sending);
    try {
      await session.connect(stream, signal);
    } catch (error) {
      session.close();
      throw error;
    }
    const { peer } = sending;
    peer.onconnectionstatechange = () => {
      if (peer.connectionState === "connected" || session.isClosed) return;
      void session.reason().then(onEnd);
      session.close();
    };
    return session;
  }

  close(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.session.close();
  }

  /** Why the gateway has ended it; empty if it has not. */
  private async reason(): Promise<string> {
    const path = `/talk/${encodeURIComponent(this.camera)}/${this.session.resource?.split("/").at(-1) ?? ""}`;
    try {
      await this.api.fetch(path);
      return "";
    } catch (error) {
      return error instanceof ApiError ? error.message : "";
    }
  }

  private async connect(stream: MediaStream, signal: AbortSignal): Promise<void> {
    const { peer } = this.session;
    for (const track of stream.getAudioTracks())
      peer.addTransceiver(track, { direction: "sendonly", streams: [stream] });
    // Not with `signal`: an answer that nobody reads would keep the floor. It is given back below.
    const sdp = await this.session.offer();
    const connected = new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error("timeout")), CONNECT_TIMEOUT_MS);
      signal.addEventListener("abort", () => reject(signal.reason));
      peer.onconnectionstatechange = () => {
        if (peer.connectionState === "connecting" || peer.connectionState === "new") return;
        clearTimeout(timer);
        if (peer.connectionState === "connected") resolve();
        else reject(new Error(peer.connectionState));
      };
    });
    signal.throwIfAborted();
    await peer.setRemoteDescription({ type: "answer", sdp });
    await connected;
  }
}
