// The state and properties of a camera, and the button that starts and stops its capture.

import { cameraReason } from "../core/error-texts.ts";
import { translate } from "../core/i18n.ts";
import type { Camera, CameraRecordingStatus } from "../generated/api.ts";
import { showCameraSettings } from "./camera-settings.ts";
import { h, setText } from "./dom.ts";
import { messageOf } from "./failure.ts";
import { bitrate, bytes, days } from "./format.ts";
import { language, type PageMessageKey, t } from "./i18n.ts";
import { store } from "./store.ts";

export class Details {
  readonly element: HTMLElement;
  private readonly facts = new Map<PageMessageKey, HTMLElement>();
  private readonly state = h("dd", { class: "state" });
  private readonly error = h("p", { class: "error", role: "status" });
  private readonly button = h("button", { type: "button", onclick: () => void this.toggle() });
  private readonly settings = h("button", { type: "button", onclick: () => this.showSettings() }, t("cameraSettings"));

  constructor(private readonly id: string) {
    const list = h("dl", {}, h("dt", {}, t("state")), this.state);
    for (const word of [
      "video",
      "rate",
      "keyframes",
      "viewers",
      "recording",
      "capacity",
      "reconnects",
      "source",
    ] as const) {
      const value = h("dd", {});
      this.facts.set(word, value);
      list.append(h("dt", {}, t(word)), value);
    }
    this.element = h(
      "section",
      { class: "card details", "aria-label": t("details") },
      h("h2", {}, t("details")),
      list,
      this.error,
      h("div", { class: "buttons" }, this.button, store.hasScope("admin") && this.settings),
    );
  }

  update(): void {
    const camera = store.camera(this.id);
    this.button.disabled = this.button.hidden = this.settings.hidden = camera === null;
    if (!camera) return;
    this.state.dataset.state = camera.state;
    setText(this.state, translate(language, camera.state));
    const set = (word: PageMessageKey, text: string) => {
      const value = this.facts.get(word);
      if (value) setText(value, text || t("unknown"));
    };
    const codec = [camera.codec?.toUpperCase(), camera.audio_codec?.toUpperCase()].filter(Boolean).join(" + ");
    set("video", camera.width ? [`${camera.width}×${camera.height}`, codec].join(" · ") : "");
    set("rate", camera.fps ? [`${camera.fps.toFixed(0)} fps`, bitrate(camera.bitrate_bps ?? 0)].join(" · ") : "");
    const { keyframe_interval_s } = camera;
    set("keyframes", keyframe_interval_s ? t("everySeconds", { seconds: Number(keyframe_interval_s.toFixed(1)) }) : "");
    set("viewers", viewersOf(camera));
    const archive = store.status?.archive.cameras[this.id];
    set(
      "recording",
      archive?.error
        ? t("recordingError", { error: recordingFault(archive) })
        : t(archive?.is_recording ? "recordingNow" : camera.record === "events" ? "recordsOnEvents" : "notRecording"),
    );
    set("capacity", archive ? capacityOf(archive) : "");
    set("reconnects", String(camera.reconnects));
    set("source", camera.rtsp_url);
    setText(this.error, cameraReason(language, camera));
    // A camera that always captures cannot be stopped.
    const isAlwaysOn = camera.start === "always" || camera.record === "always";
    this.button.hidden = !store.hasScope("control") || (isAlwaysOn && !this.isWanted(camera));
    setText(this.button, t(this.isWanted(camera) ? "stopCapture" : "startCapture"));
  }

  private showSettings(): void {
    const camera = store.camera(this.id);
    if (camera) showCameraSettings(camera);
  }

  private isWanted(camera: Camera): boolean {
    return camera.clients > 0;
  }

  private async toggle(): Promise<void> {
    const camera = store.camera(this.id);
    if (!camera) return;
    this.button.disabled = true;
    try {
      await store.api.post(`/api/cameras/${this.id}/capture/${this.isWanted(camera) ? "stop" : "start"}`);
    } catch (error) {
      setText(this.error, messageOf(error));
    }
    await store.refresh();
    this.button.focus();
  }
}

/** How long recordings are kept, for people. */
function capacityOf({ days_that_fit, bytes_per_day }: CameraRecordingStatus): string {
  if (bytes_per_day === null) return t("capacityUnknown");
  const rate = t("bytesPerDay", { size: bytes(bytes_per_day) });
  if (days_that_fit === null) return rate;
  const isLessThanADay = days_that_fit < 1;
  const text = isLessThanADay
    ? t("hoursFit", { count: Math.floor(days_that_fit * 24) })
    : t("daysFit", { count: days(days_that_fit) });
  return `${text} · ${rate}`;
}

/** Names of viewers that the words of the page do not have. */
const VIEWERS: Readonly<Record<string, string>> = {
  webrtc: "WebRTC",
  hls: "LL-HLS",
  jpeg: "JPEG",
  mjpeg: "MJPEG",
  rtsp: "RTSP",
  snapshot: t("viewer_snapshot"),
  relay: t("viewer_relay"),
  forward: t("viewer_forward"),
};

function viewersOf({ viewers }: Camera): string {
  const active = Object.entries(viewers).filter(([, count]) => count > 0);
  return active.length === 0
    ? t("nobody")
    : active.map(([transport, count]) => `${count} × ${VIEWERS[transport] ?? transport}`).join(", ");
}

/** Why a camera is not recorded. */
function recordingFault({ error, disk_fault }: CameraRecordingStatus): string {
  if (language === "en") return error ?? "";
  return t(disk_fault === null ? "disk_unknown" : `disk_${disk_fault}`);
}
