// A WebRTC session in which this browser sends (RFC 9725): offered by POST, ended by DELETE. The offer is sent as soon as it
// is made, without candidates: the gateway is ICE-lite, and learns the addresses of this browser from its connectivity checks.

import type { Api } from "../core/api.ts";
import { closePeer } from "./peer.ts";
import { parseIceServers } from "./webrtc.ts";

const ANSWER_TIMEOUT_MS = 10_000;
/** DELETE over a dead network would keep one of the browser's few connections per host. */
const DELETE_TIMEOUT_MS = 3000;

export class SendingSession {
  readonly peer: RTCPeerConnection;
  /** The session's URL at the gateway; null before the answer. */
  resource: string | null = null;

  private constructor(
    private readonly api: Api,
    private readonly path: string,
    iceServers: RTCIceServer[],
  ) {
    this.peer = new RTCPeerConnection({ iceServers, bundlePolicy: "max-bundle" });
  }

  /** A session that is not offered yet. Rejects with ApiError. */
  static async make(api: Api, path: string, signal?: AbortSignal): Promise<SendingSession> {
    const answer = await api.fetch(path, { method: "OPTIONS", ...(signal && { signal }) });
    return new SendingSession(api, path, parseIceServers(answer.headers.get("Link")));
  }

  /** Offer what the peer sends. Returns the answer's SDP, which is not applied yet. Rejects with ApiError. */
  async offer(): Promise<string> {
    await this.peer.setLocalDescription();
    const response = await this.api.fetch(this.path, {
      method: "POST",
      headers: { "Content-Type": "application/sdp" },
      body: this.peer.localDescription?.sdp ?? "",
      signal: AbortSignal.timeout(ANSWER_TIMEOUT_MS),
    });
    const location = response.headers.get("Location");
    this.resource = location === null ? null : new URL(location, response.url).href;
    return response.text();
  }

  /** End it here and at the gateway. May be called twice. */
  close(): void {
    closePeer(this.peer, this.resource !== null);
    if (this.resource === null) return;
    const signal = AbortSignal.timeout(DELETE_TIMEOUT_MS);
    void fetch(this.resource, { method: "DELETE", headers: this.api.headers, keepalive: true, signal }).catch(() => {});
    this.resource = null;
  }
}
