// WHIP (RFC 9725): send a camera and a microphone. The offer is sent as soon as it is made, without candidates: the gateway
// is ICE-lite, and learns the addresses of this browser from its connectivity checks.

import type { Api } from "../core/api.ts";
import { closePeer } from "../transports/peer.ts";
import { parseIceServers } from "../transports/webrtc.ts";

const ANSWER_TIMEOUT_MS = 10_000;
const DELETE_TIMEOUT_MS = 3000;

/** Without it, a browser begins at 300 kbit/s and takes half a minute to the rate of a sharp picture. */
const START_KBPS = 1000;

export interface PublishStats {
  bytes: number;
  width: number;
  height: number;
}

export class WhipSession {
  private readonly peer: RTCPeerConnection;
  private resource: string | null = null;

  private constructor(
    private readonly api: Api,
    iceServers: RTCIceServer[],
  ) {
    this.peer = new RTCPeerConnection({ iceServers, bundlePolicy: "max-bundle" });
  }

  /** Publish a stream. Rejects with ApiError; `onEnd` is called once when a session that began has ended. */
  static async publish(api: Api, camera: string, stream: MediaStream, onEnd: () => void): Promise<WhipSession> {
    const iceServers = await api.fetch(`/whip/${encodeURIComponent(camera)}`, { method: "OPTIONS" });
    const session = new WhipSession(api, parseIceServers(iceServers.headers.get("Link")));
    try {
      await session.connect(camera, stream, onEnd);
    } catch (error) {
      session.close();
      throw error;
    }
    return session;
  }

  close(): void {
    closePeer(this.peer, this.resource !== null);
    if (this.resource === null) return;
    const signal = AbortSignal.timeout(DELETE_TIMEOUT_MS);
    void fetch(this.resource, { method: "DELETE", headers: this.api.headers, keepalive: true, signal }).catch(() => {});
    this.resource = null;
  }

  /** Send another camera or microphone, without a new session. */
  async replace(stream: MediaStream): Promise<void> {
    for (const transceiver of this.peer.getTransceivers()) {
      const kind = transceiver.sender.track?.kind ?? transceiver.receiver.track.kind;
      const track = stream.getTracks().find((each) => each.kind === kind) ?? null;
      await transceiver.sender.replaceTrack(track);
    }
  }

  async statistics(): Promise<PublishStats> {
    const result = { bytes: 0, width: 0, height: 0 };
    for (const report of (await this.peer.getStats()).values()) {
      if (report.type !== "outbound-rtp") continue;
      result.bytes += report.bytesSent ?? 0;
      if (report.kind === "video") [result.width, result.height] = [report.frameWidth ?? 0, report.frameHeight ?? 0];
    }
    return result;
  }

  private async connect(camera: string, stream: MediaStream, onEnd: () => void): Promise<void> {
    const { peer } = this;
    const codecs = RTCRtpSender.getCapabilities("video")?.codecs ?? [];
    const usable = codecs.filter(({ mimeType }) => /^video\/(h264|rtx)$/i.test(mimeType));
    const video = peer.addTransceiver(stream.getVideoTracks()[0] ?? "video", { direction: "sendonly" });
    // Without H.264 the gateway answers with the reason.
    if (usable.some(({ mimeType }) => /h264/i.test(mimeType))) video.setCodecPreferences(usable);
    peer.addTransceiver(stream.getAudioTracks()[0] ?? "audio", { direction: "sendonly" });
    peer.onconnectionstatechange = () => {
      if (["failed", "closed", "disconnected"].includes(peer.connectionState)) onEnd();
    };
    await peer.setLocalDescription();
    const response = await this.api.fetch(`/whip/${encodeURIComponent(camera)}`, {
      method: "POST",
      headers: { "Content-Type": "application/sdp" },
      body: peer.localDescription?.sdp ?? "",
      signal: AbortSignal.timeout(ANSWER_TIMEOUT_MS),
    });
    const location = response.headers.get("Location");
    this.resource = location === null ? null : new URL(location, response.url).href;
    await peer.setRemoteDescription({ type: "answer", sdp: withStartRate(await response.text()) });
  }
}

/** Chromium's own parameter; other browsers ignore it. */
export function withStartRate(sdp: string): string {
  return sdp.replace(/^(a=fmtp:\d+ (?=.*profile-level-id).*)$/m, `$1;x-google-start-bitrate=${START_KBPS}`);
}
