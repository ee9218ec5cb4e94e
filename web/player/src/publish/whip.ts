// WHIP (RFC 9725): send a camera and a microphone.

import type { Api } from "../core/api.ts";
import { SendingSession } from "../transports/sending-session.ts";

/** Without it, a browser begins at 300 kbit/s and takes half a minute to the rate of a sharp picture. */
const START_KBPS = 1000;

export interface PublishStats {
  bytes: number;
  width: number;
  height: number;
}

export class WhipSession {
  private constructor(private readonly session: SendingSession) {}

  /** Publish a stream. Rejects with ApiError; `onEnd` is called once when a session that began has ended. */
  static async publish(api: Api, camera: string, stream: MediaStream, onEnd: () => void): Promise<WhipSession> {
    const session = new WhipSession(await SendingSession.make(api, `/whip/${encodeURIComponent(camera)}`));
    try {
      await session.connect(stream, onEnd);
    } catch (error) {
      session.close();
      throw error;
    }
    return session;
  }

  close(): void {
    this.session.close();
  }

  /** Send another camera or microphone, without a new session. */
  async replace(stream: MediaStream): Promise<void> {
    for (const transceiver of this.session.peer.getTransceivers()) {
      const kind = transceiver.sender.track?.kind ?? transceiver.receiver.track.kind;
      const track = stream.getTracks().find((each) => each.kind === kind) ?? null;
      await transceiver.sender.replaceTrack(track);
    }
  }

  async statistics(): Promise<PublishStats> {
    const result = { bytes: 0, width: 0, height: 0 };
    for (const report of (await this.session.peer.getStats()).values()) {
      if (report.type !== "outbound-rtp") continue;
      result.bytes += report.bytesSent ?? 0;
      if (report.kind === "video") [result.width, result.height] = [report.frameWidth ?? 0, report.frameHeight ?? 0];
    }
    return result;
  }

  private async connect(stream: MediaStream, onEnd: () => void): Promise<void> {
    const { peer } = this.session;
    const codecs = RTCRtpSender.getCapabilities("video")?.codecs ?? [];
    const usable = codecs.filter(({ mimeType }) => /^video\/(h264|rtx)$/i.test(mimeType));
    const video = peer.addTransceiver(stream.getVideoTracks()[0] ?? "video", { direction: "sendonly" });
    // Without H.264 the gateway answers with the reason.
    if (usable.some(({ mimeType }) => /h264/i.test(mimeType))) video.setCodecPreferences(usable);
    peer.addTransceiver(stream.getAudioTracks()[0] ?? "audio", { direction: "sendonly" });
    peer.onconnectionstatechange = () => {
      if (["failed", "closed", "disconnected"].includes(peer.connectionState)) onEnd();
    };
    await peer.setRemoteDescription({ type: "answer", sdp: withStartRate(await this.session.offer()) });
  }
}

/** Chromium's own parameter; other browsers ignore it. */
export function withStartRate(sdp: string): string {
  return sdp.replace(/^(a=fmtp:\d+ (?=.*profile-level-id).*)$/m, `$1;x-google-start-bitrate=${START_KBPS}`);
}
