// WebRTC: the offer goes out as soon as it is made (the gateway is ICE-lite and learns our addresses from our checks), the
// answer has everything in it.

import { ApiError, toFailure } from "../core/api.ts";
import { RtpClock } from "../core/clock.ts";
import {
  createVideo,
  play,
  type Transport,
  type TransportContext,
  type TransportStats,
  UnableError,
  watchFrames,
} from "./transport.ts";

/** The gateway's clock is asked for what an RTP timestamp means this often; it drifts by less than a picture meanwhile. */
const SYNC_MS = 20_000;

/** Without a picture for so long, the gateway is asked whether it knows why; while it does, again and again. */
const CARE_MS = 1000;

/** A goodbye over a dead network would keep one of the browser's few connections. */
const GOODBYE_MS = 3000;
/** Longer than the gateway waits for a camera that is coming up. */
const ANSWER_MS = 15_000;

/** By then all candidates of both sides are known: what has no pair to check now will never have one. */
const PAIRS_MS = 500;

/** TURN and STUN as the gateway told with its last answer: used from the second connection on. */
const iceServersOf = new Map<string, RTCIceServer[]>();

interface Session {
  answer: string;
  /** Where WHEP's session is; null with Socket.IO, whose connection is the session. */
  resource: string | null;
  close(): void;
}

export class WebRtcTransport implements Transport {
  readonly name = "webrtc";
  readonly surface: HTMLVideoElement;
  private readonly ending = new AbortController();
  private peer: RTCPeerConnection | null = null;
  private readonly rtp = new RtpClock();
  private session: Session | null = null;
  private timer = 0;
  private careTimer = 0;
  private lastPicture = 0;
  private slow = false;
  private pairTimer = 0;

  constructor(private readonly context: TransportContext) {
    this.surface = createVideo(context.muted);
  }

  start(): void {
    this.connect().catch((error: unknown) => this.fail(error));
  }

  stop(): void {
    this.ending.abort();
    clearInterval(this.timer);
    clearInterval(this.careTimer);
    clearTimeout(this.pairTimer);
    this.peer?.close();
    this.session?.close();
    this.surface.srcObject = null;
  }

  async statistics(): Promise<TransportStats> {
    const result: TransportStats = {};
    const reports = await this.peer?.getStats();
    for (const report of reports?.values() ?? []) {
      if (report.type === "inbound-rtp" && report.kind === "video") {
        result.frames = report.framesDecoded;
        result.framesDropped = report.framesDropped;
        result.bytes = report.bytesReceived;
        result.packets = report.packetsReceived;
        result.packetsLost = report.packetsLost;
        result.width = report.frameWidth;
        result.height = report.frameHeight;
        if (report.jitterBufferEmittedCount > 0) {
          result.jitterBufferMs = (report.jitterBufferDelay / report.jitterBufferEmittedCount) * 1000;
        }
      } else if (report.type === "candidate-pair" && report.nominated && report.state === "succeeded") {
        if (typeof report.currentRoundTripTime === "number") result.roundTripMs = report.currentRoundTripTime * 1000;
        result.detail = String(reports?.get(report.localCandidateId)?.protocol ?? "").toUpperCase();
      }
    }
    return result;
  }

  private async connect(): Promise<void> {
    const { surface } = this;
    if (!("RTCPeerConnection" in globalThis)) throw new UnableError("refused", "noWebRtc");
    const iceServers = iceServersOf.get(this.context.api.base) ?? [];
    const peer = new RTCPeerConnection({ iceServers, bundlePolicy: "max-bundle" });
    this.peer = peer;
    for (const kind of ["video", "audio"]) peer.addTransceiver(kind, { direction: "recvonly" });
    const stream = new MediaStream();
    peer.ontrack = ({ track, receiver }) => {
      // Live is what counts here, not smoothness.
      if ("jitterBufferTarget" in receiver) receiver.jitterBufferTarget = 0;
      stream.addTrack(track);
      surface.srcObject = stream;
      void play(surface);
    };
    peer.onconnectionstatechange = () => {
      if (["failed", "closed"].includes(peer.connectionState)) this.fail(null);
    };
    watchFrames(surface, this.ending.signal, (now, metadata) => {
      this.lastPicture = now;
      this.context.picture(this.capturedAt(metadata));
    });
    await peer.setLocalDescription();
    const offer = peer.localDescription?.sdp ?? "";
    this.session = await (this.context.signaling === "whep" ? this.askByWhep(offer) : this.askBySocket(offer));
    if (this.ending.signal.aborted) {
      this.session.close();
      return;
    }
    await peer.setRemoteDescription({ type: "answer", sdp: this.session.answer });
    this.pairTimer = window.setTimeout(() => void this.expectPairs(peer), PAIRS_MS);
    if (this.session.resource !== null) {
      // Asked with the first pictures, when the gateway knows.
      surface.addEventListener("playing", () => void this.synchronise(), { once: true, signal: this.ending.signal });
      this.timer = window.setInterval(() => void this.synchronise(), SYNC_MS);
      this.lastPicture = performance.now();
      this.careTimer = window.setInterval(() => this.care(), CARE_MS);
    }
  }

  private async askByWhep(offer: string): Promise<Session> {
    const { api, camera } = this.context;
    const response = await api.fetch(`/whep/${camera}`, {
      method: "POST",
      headers: { "Content-Type": "application/sdp" },
      body: offer,
      signal: AbortSignal.timeout(ANSWER_MS),
    });
    const location = response.headers.get("Location");
    const servers = parseIceServers(response.headers.get("Link"));
    if (servers.length > 0) iceServersOf.set(api.base, servers);
    const resource = location === null ? null : new URL(location, response.url).href;
    return {
      answer: await response.text(),
      resource,
      close: () => {
        // It may be gone already, and so may the gateway.
        if (resource === null) return;
        const signal = AbortSignal.timeout(GOODBYE_MS);
        void fetch(resource, { method: "DELETE", headers: api.headers, keepalive: true, signal }).catch(() => {});
      },
    };
  }

  private async askBySocket(offer: string): Promise<Session> {
    const { connect, request } = await import("./socket.ts");
    const socket = await connect(this.context.api);
    const client = crypto.randomUUID();
    try {
      const { sdp } = await request<{ sdp: string }>(socket, "webrtc_offer", {
        client_id: client,
        camera_id: this.context.camera,
        sdp: offer,
      });
      return { answer: sdp, resource: null, close: () => socket.disconnect() };
    } catch (error) {
      socket.disconnect();
      throw error;
    }
  }

  /** Firefox does not even try addresses of this machine alone, and says so only after 5 s. */
  private async expectPairs(peer: RTCPeerConnection): Promise<void> {
    if (peer.iceGatheringState !== "complete" || !["new", "checking"].includes(peer.iceConnectionState)) return;
    const reports = [...(await peer.getStats()).values()];
    if (!reports.some(({ type }) => type === "candidate-pair")) this.fail(new UnableError("broken", "noWay"));
  }

  private care(): void {
    if (!document.hidden && (this.slow || performance.now() - this.lastPicture > CARE_MS)) void this.synchronise();
  }

  /**
   * Learn what time the RTP clock shows, and whether the network is too narrow. Another WHEP server does not tell: then
   * there is no latency, and no harm.
   */
  private async synchronise(): Promise<void> {
    const { api, camera } = this.context;
    const viewer = this.session?.resource?.split("/").at(-1) ?? "";
    try {
      const response = await api.fetch(`/api/cameras/${camera}/viewers/${viewer}/clock`, {
        signal: this.ending.signal,
      });
      const clock = (await response.json()) as { rtp_timestamp: number; time: string; degraded_reason?: string | null };
      this.rtp.set(clock.rtp_timestamp, Date.parse(clock.time));
      this.slow = typeof clock.degraded_reason === "string";
      if (!this.ending.signal.aborted) this.context.slow(this.slow);
    } catch (error) {
      if (!(error instanceof ApiError) || error.status === 503) return;
      clearInterval(this.timer);
      clearInterval(this.careTimer);
    }
  }

  private capturedAt(metadata: VideoFrameCallbackMetadata | null): number | null {
    return metadata?.rtpTimestamp === undefined ? null : this.rtp.captured(metadata.rtpTimestamp);
  }

  private fail(error: unknown): void {
    if (this.ending.signal.aborted) return;
    const failure = error instanceof UnableError ? error.failure : toFailure(error);
    // The gateway's sentence speaks of our offer, which is not the reader's.
    if (failure.kind === "refused" && failure.word === undefined && !decodesH264()) failure.word = "noH264";
    this.context.failed(failure);
  }
}

/** Firefox does not before it has fetched its plugin, and Chromium as some distributions build it never does. */
function decodesH264(): boolean {
  const codecs = RTCRtpReceiver.getCapabilities("video")?.codecs ?? [];
  return codecs.some(({ mimeType }) => mimeType.toLowerCase() === "video/h264");
}

/** ICE servers out of Link headers (the WHEP draft, "STUN/TURN server configuration"). */
export function parseIceServers(links: string | null): RTCIceServer[] {
  const servers: RTCIceServer[] = [];
  for (const link of (links ?? "").split(/,(?=\s*<)/)) {
    const url = /<([^>]+)>/.exec(link)?.[1];
    if (!url || !/;\s*rel="?ice-server"?/i.test(link)) continue;
    const value = (name: string) =>
      new RegExp(`;\\s*${name}="((?:[^"\\\\]|\\\\.)*)"`, "i").exec(link)?.[1]?.replace(/\\(.)/g, "$1");
    const username = value("username");
    const credential = value("credential");
    servers.push({
      urls: url,
      ...(username === undefined ? {} : { username }),
      ...(credential === undefined ? {} : { credential }),
    });
  }
  return servers;
}
