// WebRTC. The offer is sent as soon as it is made, without candidates: the gateway is ICE-lite, and learns the addresses of
// this browser from its connectivity checks. The answer is complete.

import { Api, ApiError, toFailure } from "../core/api.ts";
import { RtpClock } from "../core/clock.ts";
import { renditionQuery } from "../core/rendition.ts";
import type { Viewer, ViewerClock, ViewerRequest } from "../generated/api.ts";
import { closePeer } from "./peer.ts";
import {
  BrowserError,
  createVideo,
  play,
  type Transport,
  type TransportContext,
  type TransportStats,
  watchFrames,
} from "./transport.ts";

/** How often the capture time of an RTP timestamp is asked for. Meanwhile it drifts by less than a frame. */
const CLOCK_INTERVAL_MS = 20_000;

/** Without a frame for so long, ask the gateway whether the network is degraded. Repeat it while it is. */
const DEGRADED_CHECK_MS = 1000;

/** DELETE over a dead network would keep one of the browser's few connections per host. */
const DELETE_TIMEOUT_MS = 3000;
/** Longer than the gateway waits for a camera that connects. */
const ANSWER_TIMEOUT_MS = 15_000;

/**
 * How many offers of all players wait at the gateway for cameras that are starting. They get the first picture at once,
 * but hold a connection, of which a browser has six for a host. The players of other cameras ask again and again.
 */
const WAITING_OFFERS_MAX = 2;
let waitingOffers = 0;

/** By then all candidates of both sides are known. A connection without a candidate pair will never have one. */
const CANDIDATE_PAIR_MS = 500;

/** TURN and STUN servers from the gateway's last answer, used from the second connection on. */
const iceServersOf = new Map<string, RTCIceServer[]>();

interface Session {
  answer: string;
  /** URL of the WHEP session; null with Socket.IO, whose connection is the session. */
  resource: string | null;
  /** Ask which stream is shown, after asking for another one if `wanted` is given. */
  rendition(wanted?: ViewerRequest): Promise<Pick<Viewer, "rendition" | "available">>;
  close(): void;
}

export class WebRtcTransport implements Transport {
  readonly name = "webrtc";
  readonly surface: HTMLVideoElement;
  private readonly stopping = new AbortController();
  private peer: RTCPeerConnection | null = null;
  private readonly rtp = new RtpClock();
  private session: Session | null = null;
  /** The node of a cluster that has the session, where that is another than the one that was asked. */
  private nodeUrl: string | null = null;
  private clockTimer = 0;
  private degradedTimer = 0;
  private lastFrame = 0;
  private isDegraded = false;
  private pairTimer = 0;
  private width = 0;
  private query = "";

  constructor(private readonly context: TransportContext) {
    this.surface = createVideo(context.muted);
  }

  start(): void {
    this.connect().catch((error: unknown) => this.fail(error));
  }

  stop(): void {
    this.stopping.abort();
    clearInterval(this.clockTimer);
    clearInterval(this.degradedTimer);
    clearTimeout(this.pairTimer);
    if (this.peer) closePeer(this.peer, this.session !== null);
    this.session?.close();
    this.surface.srcObject = null;
  }

  async syncClock(): Promise<void> {
    if (this.session?.resource) await this.updateClock();
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

  /** Ask for another stream, or tell the size of the video. */
  changeRendition(): void {
    const tile = this.context.tile();
    void this.updateRendition({ rendition: this.context.rendition(), ...(tile ?? {}) });
  }

  private async connect(): Promise<void> {
    const { surface } = this;
    if (!("RTCPeerConnection" in globalThis)) throw new BrowserError("unsupported", "noWebRtc");
    const iceServers = iceServersOf.get(this.context.api.base) ?? [];
    const peer = new RTCPeerConnection({ iceServers, bundlePolicy: "max-bundle" });
    this.peer = peer;
    for (const kind of ["video", "audio"]) peer.addTransceiver(kind, { direction: "recvonly" });
    const stream = new MediaStream();
    peer.ontrack = ({ track, receiver }) => {
      // A video that plays is never freed.
      if (this.stopping.signal.aborted) return;
      // Low latency matters more here than smooth playback.
      if ("jitterBufferTarget" in receiver) receiver.jitterBufferTarget = 0;
      stream.addTrack(track);
      surface.srcObject = stream;
      void play(surface);
    };
    peer.onconnectionstatechange = () => {
      if (["failed", "closed"].includes(peer.connectionState)) this.fail(null);
    };
    watchFrames(surface, this.stopping.signal, (now, metadata) => {
      this.lastFrame = now;
      if (metadata && metadata.width !== this.width) {
        // Another size may be another stream.
        this.width = metadata.width;
        void this.updateRendition();
      }
      this.context.onFrame(this.capturedAt(metadata));
    });
    await peer.setLocalDescription();
    const offer = peer.localDescription?.sdp ?? "";
    // What was asked while the offer was made may be answered.
    const starting = this.context.starting();
    const mustWait = starting?.state === "connecting" && waitingOffers >= WAITING_OFFERS_MAX;
    const refusal = mustWait ? starting : this.context.refusal();
    if (refusal) {
      if (!this.stopping.signal.aborted) this.context.onFailure(refusal);
      return;
    }
    this.session = await (this.context.signaling === "whep" ? this.offerByWhep(offer) : this.offerBySocketIo(offer));
    if (this.stopping.signal.aborted) {
      this.session.close();
      return;
    }
    await peer.setRemoteDescription({ type: "answer", sdp: this.session.answer });
    // A timer that is started after the stop would keep the connection and the video for ever.
    if (this.stopping.signal.aborted) return;
    // Both may have changed meanwhile.
    if (renditionQuery(this.context.rendition(), this.context.tile()) !== this.query) this.changeRendition();
    this.pairTimer = window.setTimeout(() => void this.checkCandidatePairs(peer), CANDIDATE_PAIR_MS);
    if (this.session.resource !== null) {
      // With the first frames, when the gateway knows the RTP timestamps.
      surface.addEventListener("playing", () => void this.updateClock(), { once: true, signal: this.stopping.signal });
      this.clockTimer = window.setInterval(() => void this.updateClock(), CLOCK_INTERVAL_MS);
      this.lastFrame = performance.now();
      this.degradedTimer = window.setInterval(() => this.checkDegraded(), DEGRADED_CHECK_MS);
    }
  }

  /** What answers about the session. */
  private get api(): Api {
    const { api } = this.context;
    return this.nodeUrl === null ? api : new Api(this.nodeUrl, api.token, api.language);
  }

  private async offerByWhep(offer: string): Promise<Session> {
    const { api, camera } = this.context;
    this.query = renditionQuery(this.context.rendition(), this.context.tile());
    const post = (query: string) =>
      api.fetch(`/whep/${camera}${query}`, {
        method: "POST",
        // With JSON, the gateway tells why it cannot answer. Else it would send an offer of its own.
        headers: { "Content-Type": "application/sdp", Accept: "application/sdp, application/json" },
        body: offer,
        signal: AbortSignal.timeout(ANSWER_TIMEOUT_MS),
      });
    const waited = async () => {
      waitingOffers += 1;
      return await post(this.query).finally(() => {
        waitingOffers -= 1;
      });
    };
    const mayWait = () => waitingOffers < WAITING_OFFERS_MAX;
    const isStarting = this.context.starting() !== null && mayWait();
    const first = isStarting ? waited() : post(`${this.query}${this.query ? "&" : "?"}wait=0`);
    const response = await first.catch(async (error: unknown) => {
      const isNotLive = error instanceof ApiError && error.status === 409;
      const isOver = this.stopping.signal.aborted || isStarting || this.context.refusal() !== null;
      if (!isNotLive || isOver || !mayWait()) throw error;
      return await waited();
    });
    const location = response.headers.get("Location");
    const servers = parseIceServers(response.headers.get("Link"));
    if (servers.length > 0) iceServersOf.set(api.base, servers);
    const resource = location === null ? null : new URL(location, response.url).href;
    if (response.redirected) {
      // To the node of a cluster that captures the camera: all else about this viewer is asked there.
      this.nodeUrl = response.url.replace(/\/whep\/[^/]*$/, "");
    }
    return {
      answer: await response.text(),
      resource,
      rendition: async (wanted) => {
        const path = `/api/cameras/${camera}/viewers/${resource?.split("/").at(-1) ?? ""}`;
        const headers = { "Content-Type": "application/json" };
        const change = wanted ? { method: "PATCH", headers, body: JSON.stringify(wanted) } : {};
        const reply = await this.api.fetch(path, { ...change, signal: this.stopping.signal });
        return (await reply.json()) as Viewer;
      },
      close: () => {
        if (resource === null) return;
        // An error is expected if the session or the gateway has ended already.
        const signal = AbortSignal.timeout(DELETE_TIMEOUT_MS);
        void fetch(resource, { method: "DELETE", headers: api.headers, keepalive: true, signal }).catch(() => {});
      },
    };
  }

  private async offerBySocketIo(offer: string): Promise<Session> {
    const { connect, request } = await import("./socket.ts");
    const socket = await connect(this.context.api);
    const client = crypto.randomUUID();
    this.query = renditionQuery(this.context.rendition(), this.context.tile());
    try {
      const { sdp } = await request(this.context.api, socket, "webrtc_offer", {
        client_id: client,
        camera_id: this.context.camera,
        sdp: offer,
        rendition: this.context.rendition(),
        ...(this.context.tile() ?? {}),
      });
      return {
        answer: sdp,
        resource: null,
        rendition: (wanted) =>
          request(this.context.api, socket, "webrtc_rendition_request", { client_id: client, ...wanted }),
        close: () => socket.disconnect(),
      };
    } catch (error) {
      socket.disconnect();
      throw error;
    }
  }

  /** Firefox never pairs loopback candidates, and reports that only after 5 s. */
  private async checkCandidatePairs(peer: RTCPeerConnection): Promise<void> {
    if (peer.iceGatheringState !== "complete" || !["new", "checking"].includes(peer.iceConnectionState)) return;
    const reports = [...(await peer.getStats()).values()];
    if (!reports.some(({ type }) => type === "candidate-pair"))
      this.fail(new BrowserError("connectionLost", "noCandidatePair"));
  }

  private checkDegraded(): void {
    if (!document.hidden && (this.isDegraded || performance.now() - this.lastFrame > DEGRADED_CHECK_MS))
      void this.updateClock();
  }

  /**
   * Ask the gateway for the capture time of an RTP timestamp, and whether the network is degraded. Another WHEP server has
   * no such route: then the latency is unknown.
   */
  private async updateClock(): Promise<void> {
    const { camera } = this.context;
    const viewer = this.session?.resource?.split("/").at(-1) ?? "";
    try {
      const response = await this.api.fetch(`/api/cameras/${camera}/viewers/${viewer}/clock`, {
        signal: this.stopping.signal,
      });
      const clock = (await response.json()) as ViewerClock;
      this.rtp.set(clock.rtp_timestamp, Date.parse(clock.time));
      this.isDegraded = typeof clock.degraded_reason === "string";
      if (!this.stopping.signal.aborted) this.context.onDegraded(this.isDegraded);
    } catch (error) {
      if (!(error instanceof ApiError) || error.status === 503) return;
      clearInterval(this.clockTimer);
      clearInterval(this.degradedTimer);
    }
  }

  /** Ask which stream is shown, after asking for another one if `wanted` is given. */
  private async updateRendition(wanted?: ViewerRequest): Promise<void> {
    try {
      const answer = await this.session?.rendition(wanted);
      if (answer === undefined || this.stopping.signal.aborted) return;
      this.context.onRendition({ rendition: answer.rendition, available: answer.available });
    } catch {
      // Another WHEP server has no such route. A lost connection is noticed by its missing frames.
    }
  }

  private capturedAt(metadata: VideoFrameCallbackMetadata | null): number | null {
    return metadata?.rtpTimestamp === undefined ? null : this.rtp.captured(metadata.rtpTimestamp);
  }

  private fail(error: unknown): void {
    if (this.stopping.signal.aborted) return;
    const failure = error instanceof BrowserError ? error.failure : toFailure(error);
    // The gateway's message is about the SDP offer, which means nothing to a viewer.
    if (failure.kind === "unsupported" && failure.messageKey === undefined && !decodesH264()) {
      failure.messageKey = "noH264";
    }
    this.context.onFailure(failure);
  }
}

/** Firefox cannot until it has downloaded its plugin. Chromium as built by some distributions never can. */
function decodesH264(): boolean {
  const codecs = RTCRtpReceiver.getCapabilities("video")?.codecs ?? [];
  return codecs.some(({ mimeType }) => mimeType.toLowerCase() === "video/h264");
}

/** The ICE servers in Link headers (WHEP draft, "STUN/TURN server configuration"). */
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
