// The dialog that changes a camera's settings, pauses and removes it. It sends what was changed, and nothing else: what
// it does not show (credentials, other settings) stays as it is.

import type { Camera, CameraPatch } from "../generated/api.ts";
import { isDialogOpen, openDialog, titledDialog } from "./dialog.ts";
import { h, setText } from "./dom.ts";
import { messageOf } from "./failure.ts";
import { type PageMessageKey, t } from "./i18n.ts";
import { nameOf, store } from "./store.ts";

const RECORD = ["always", "capture", "events", "never"] as const;
const RECORD_SUB = ["always", "events", "never"] as const;

/** Open the dialog for a camera, unless one is open. */
export function showCameraSettings(camera: Camera): void {
  if (!isDialogOpen()) new CameraSettings(camera).open();
}

class CameraSettings {
  private readonly error = h("p", { class: "error", role: "alert" });
  private readonly name: HTMLInputElement;
  private readonly url = h("input", { inputmode: "url", autocomplete: "off", placeholder: "rtsp://user:password@…" });
  private readonly subUrl = h("input", {
    inputmode: "url",
    autocomplete: "off",
    placeholder: "rtsp://user:password@…",
  });
  private readonly noSub = h("input", { type: "checkbox" });
  private readonly record: HTMLSelectElement;
  private readonly recordSub: HTMLSelectElement;
  private readonly box: HTMLDialogElement;

  constructor(private readonly camera: Camera) {
    this.name = h("input", { value: camera.name ?? "", maxlength: 100, placeholder: camera.camera_id });
    this.record = choice(RECORD, camera.record);
    this.recordSub = choice(RECORD_SUB, camera.record_sub);
    const form = h(
      "form",
      { class: "camera settings" },
      field("cameraName", this.name),
      field("mainAddress", this.url, t("nowAt", { url: camera.rtsp_url })),
      field("subAddress", this.subUrl, camera.sub ? t("nowAt", { url: camera.sub.rtsp_url }) : t("noSubStream")),
      camera.sub && h("label", { class: "check" }, this.noSub, t("removeSubStream")),
      field("recording", this.record),
      field("recordingSub", this.recordSub),
      h("button", { class: "primary" }, t("save")),
    );
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.send("PATCH", this.changes());
    });
    const title = t("settingsOf", { camera: nameOf(camera) });
    this.box = titledDialog(
      "wizard",
      title,
      h("div", { class: "content" }, form),
      this.error,
      h(
        "div",
        { class: "buttons" },
        this.action(camera.paused ? "resumeCamera" : "pauseCamera", () =>
          this.send("PATCH", { paused: !camera.paused }),
        ),
        camera.is_configured
          ? h("p", { class: "muted" }, t("removeInSettings"))
          : this.action("removeCamera", () => this.remove()),
      ),
    );
  }

  open(): void {
    openDialog(this.box);
  }

  private action(key: PageMessageKey, work: () => Promise<void>): HTMLButtonElement {
    return h("button", { type: "button", onclick: () => void work() }, t(key));
  }

  /** A setting is in it if it differs from what the camera has. */
  private changes(): Partial<CameraPatch> {
    const { camera } = this;
    const changes: Partial<CameraPatch> = {};
    if (this.name.value !== (camera.name ?? "")) changes.name = this.name.value || null;
    if (this.url.value) changes.url = this.url.value;
    if (this.noSub.checked) changes.sub_url = null;
    else if (this.subUrl.value) changes.sub_url = this.subUrl.value;
    if (this.record.value !== camera.record) changes.record = this.record.value as Camera["record"];
    if (this.recordSub.value !== camera.record_sub) changes.record_sub = this.recordSub.value as Camera["record_sub"];
    return changes;
  }

  private async remove(): Promise<void> {
    if (confirm(t("removeConfirm", { camera: nameOf(this.camera) }))) await this.send("DELETE");
  }

  /** Send a request, and close the dialog if it succeeded. */
  private async send(method: "PATCH" | "DELETE", settings?: Partial<CameraPatch>): Promise<void> {
    setText(this.error, "");
    this.box.inert = true;
    try {
      await store.api.send(method, `/api/cameras/${this.camera.camera_id}`, settings);
    } catch (error) {
      setText(this.error, messageOf(error));
      return;
    } finally {
      this.box.inert = false;
    }
    await store.refresh();
    this.box.close();
    if (method === "DELETE") location.hash = "#/";
  }
}

function field(key: PageMessageKey, control: HTMLElement, help = ""): HTMLElement {
  control.id = `camera-${key}`;
  const text = help && h("small", { id: `${control.id}-help`, class: "muted" }, help);
  if (text) control.setAttribute("aria-describedby", text.id);
  return h("div", { class: "field" }, h("label", { for: control.id }, t(key)), control, text);
}

function choice(values: readonly string[], chosen: string): HTMLSelectElement {
  const options = values.map((value) =>
    h("option", { value, selected: value === chosen }, t(`record_${value}` as PageMessageKey)),
  );
  return h("select", {}, ...options);
}
