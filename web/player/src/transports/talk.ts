// A microphone to the camera's loudspeaker: POST /talk/{camera} takes the floor, DELETE gives it back. The offer is sent
// without candidates: the gateway is ICE-lite, and learns the addresses of this browser from its connectivity checks.

import { type Api, ApiError } from "../core/api.ts";
import { closePeer } from "./peer.ts";
import { parseIceServers } from "./webrtc.ts";

const ANSWER_TIMEOUT_MS = 10_000;
const CONNECT_TIMEOUT_MS = 10_000;
const DELETE_TIMEOUT_MS = 3000;

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
  private readonly peer: RTCPeerConnection;
  private resource: string | null = null;
  private isClosed = false;

  private constructor(
    private readonly api: Api,
    private readonly camera: string,
    iceServers: RTCIceServer[],
  ) {
    this.peer = new RTCPeerConnection({ iceServers, bundlePolicy: "max-bundle" });
  }

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
    const links = await api.fetch(`/talk/${encodeURIComponent(camera)}`, { method: "OPTIONS", signal });
    const session = new TalkSession(api, camera, parseIceServers(links.headers.get("Link")));
    try {
      await session.connect(stream, signal);
    } catch (error) {
      session.close();
      throw error;
    }
    const { peer } = session;
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
    closePeer(this.peer, this.resource !== null);
    if (this.resource === null) return;
    const signal = AbortSignal.timeout(DELETE_TIMEOUT_MS);
    void fetch(this.resource, { method: "DELETE", headers: this.api.headers, keepalive: true, signal }).catch(() => {});
  }

  /** Why the gateway has ended it; empty if it has not. */
  private async reason(): Promise<string> {
    const path = `/talk/${encodeURIComponent(this.camera)}/${this.resource?.split("/").at(-1) ?? ""}`;
    try {
      await this.api.fetch(path);
      return "";
    } catch (error) {
      return error instanceof ApiError ? error.message : "";
    }
  }

  private async connect(stream: MediaStream, signal: AbortSignal): Promise<void> {
    const { peer } = this;
    for (const track of stream.getAudioTracks())
      peer.addTransceiver(track, { direction: "sendonly", streams: [stream] });
    await peer.setLocalDescription();
    // Not with `signal`: an answer that nobody reads would keep the floor. It is given back below.
    const response = await this.api.fetch(`/talk/${encodeURIComponent(this.camera)}`, {
      method: "POST",
      headers: { "Content-Type": "application/sdp" },
      body: peer.localDescription?.sdp ?? "",
      signal: AbortSignal.timeout(ANSWER_TIMEOUT_MS),
    });
    const location = response.headers.get("Location");
    this.resource = location === null ? null : new URL(location, response.url).href;
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
    await peer.setRemoteDescription({ type: "answer", sdp: await response.text() });
    await connected;
  }
}
