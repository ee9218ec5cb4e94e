// The page: one card a camera, kept up to date from /api/cameras.

import { WhepViewer } from "./whep.js";

const POLL_MS = 2000;
const WORDS = { stopped: "Stopped", connecting: "Connecting", live: "Live", retrying: "Reconnecting", failed: "No picture" };

const cards = new Map();
const list = document.getElementById("cameras");
const summary = document.getElementById("summary");

class Card {
  constructor(id) {
    this.id = id;
    this.root = document.getElementById("camera").content.firstElementChild.cloneNode(true);
    this.part = (selector) => this.root.querySelector(selector);
    this.root.dataset.camera = id;
    this.part("h2").textContent = id;
    this.part(".recordings").href = `/api/cameras/${id}/segments`;
    this.part(".hls").href = `/hls/${id}/index.m3u8`;
    this.part(".toggle").addEventListener("click", () => this.toggle());
    this.notice = this.part(".notice");
    this.viewer = new WhepViewer(this.part("video"), `/whep/${id}`);
    this.viewer.addEventListener("picture", () => (this.notice.textContent = ""));
    this.viewer.addEventListener("lost", ({ detail }) => (this.notice.textContent = `Reconnecting: ${detail}`));
    this.viewer.addEventListener("refused", ({ detail }) => this.fallBack(detail));
    list.append(this.root);
    this.viewer.start();
  }

  fallBack(why) {
    const image = this.part("img.fallback");
    image.src = `/mjpeg/${this.id}`;
    image.hidden = false;
    this.part("video").hidden = true;
    this.notice.textContent = `Playing JPEG: ${why}`;
  }

  async toggle() {
    const command = this.camera.clients > 0 ? "stop" : "start";
    await fetch(`/api/cameras/${this.id}/capture/${command}`, { method: "POST" });
    await refresh();
  }

  show(camera) {
    this.camera = camera;
    const state = this.part(".state");
    state.dataset.state = camera.state;
    state.textContent = WORDS[camera.state] ?? camera.state;
    const detail = [];
    if (camera.width) detail.push(`${camera.width}×${camera.height}`);
    if (camera.fps) detail.push(`${camera.fps.toFixed(0)} fps`);
    if (camera.bitrate_bps) detail.push(`${(camera.bitrate_bps / 1e6).toFixed(1)} Mbit/s`);
    if (camera.error_message) detail.push(camera.error_message);
    this.part(".detail").textContent = detail.join(" · ");
    this.part(".toggle").textContent = camera.clients > 0 ? "Stop capture" : "Start capture";
  }

  remove() {
    this.viewer.stop();
    this.root.remove();
  }
}

async function refresh() {
  try {
    const { cameras } = await (await fetch("/api/cameras")).json();
    const live = cameras.filter((camera) => camera.state === "live").length;
    summary.textContent = `${cameras.length} camera${cameras.length === 1 ? "" : "s"}, ${live} live`;
    for (const camera of cameras) {
      if (!cards.has(camera.camera_id)) cards.set(camera.camera_id, new Card(camera.camera_id));
      cards.get(camera.camera_id).show(camera);
    }
    for (const [id, card] of cards) {
      if (!cameras.some((camera) => camera.camera_id === id)) {
        card.remove();
        cards.delete(id);
      }
    }
  } catch {
    summary.textContent = "The gateway does not answer; trying again.";
  }
}

await refresh();
setInterval(refresh, POLL_MS);
