// A WHEP viewer in one class: it plays one camera into one <video> and comes back by itself.

const RETRY_MS = 1000; // a reconnect to the live edge costs the gateway milliseconds
const PATIENCE_MS = 5000; // no new picture for this long: the connection is not worth keeping
const CHECK_MS = 1000;

export class WhepViewer extends EventTarget {
  /** @param {HTMLVideoElement} video @param {string} url */
  constructor(video, url) {
    super();
    this.video = video;
    this.url = url;
    this.stopped = true;
  }

  start() {
    this.stopped = false;
    this.#connect();
  }

  stop() {
    this.stopped = true;
    this.#drop();
  }

  async #connect() {
    const peer = (this.peer = new RTCPeerConnection());
    peer.addTransceiver("video", { direction: "recvonly" });
    peer.addTransceiver("audio", { direction: "recvonly" });
    const stream = new MediaStream();
    peer.addEventListener("track", ({ track, receiver }) => {
      if ("jitterBufferTarget" in receiver) receiver.jitterBufferTarget = 0;
      stream.addTrack(track);
      this.video.srcObject = stream;
      this.video.play().catch(() => {}); // refused only where sound is on before the first click
    });
    peer.addEventListener("connectionstatechange", () => {
      if (peer === this.peer && ["failed", "closed"].includes(peer.connectionState)) this.#retry("the connection was lost");
    });
    try {
      await peer.setLocalDescription();
      const reply = await fetch(this.url, {
        method: "POST",
        headers: { "Content-Type": "application/sdp" },
        body: peer.localDescription.sdp,
      });
      const answer = await reply.text();
      if (peer !== this.peer) return;
      if (reply.status !== 201) throw new Refused(answer, reply.status);
      this.resource = new URL(reply.headers.get("Location"), reply.url).href;
      await peer.setRemoteDescription({ type: "answer", sdp: answer });
      this.#watch(peer);
    } catch (error) {
      if (peer !== this.peer) return;
      if (error instanceof Refused && error.status === 406) {
        this.#drop();
        this.dispatchEvent(new CustomEvent("refused", { detail: error.message }));
      } else {
        this.#retry(error instanceof Refused ? error.message : "the gateway does not answer");
      }
    }
  }

  #watch(peer) {
    let seen = -1;
    let since = performance.now();
    this.timer = setInterval(() => {
      if (document.hidden) {
        since = performance.now(); // a sleeping tab decodes nothing, and that is no fault
        return;
      }
      const frames = this.video.getVideoPlaybackQuality().totalVideoFrames;
      if (frames !== seen) {
        seen = frames;
        since = performance.now();
        this.dispatchEvent(new CustomEvent("picture"));
      } else if (performance.now() - since > PATIENCE_MS && peer.connectionState !== "connected") {
        this.#retry("no picture arrives");
      }
    }, CHECK_MS);
  }

  #retry(why) {
    this.#drop();
    this.dispatchEvent(new CustomEvent("lost", { detail: why }));
    if (!this.stopped) this.again = setTimeout(() => this.#connect(), RETRY_MS);
  }

  #drop() {
    clearInterval(this.timer);
    clearTimeout(this.again);
    const { peer, resource } = this;
    this.peer = this.resource = undefined;
    peer?.close();
    if (resource) fetch(resource, { method: "DELETE", keepalive: true }).catch(() => {}); // it may be gone already
  }
}

class Refused extends Error {
  constructor(body, status) {
    let message = `the gateway answered ${status}`;
    try {
      message = JSON.parse(body).message ?? message;
    } catch {
      // not ours to read: the status must do
    }
    super(message);
    this.status = status;
  }
}
