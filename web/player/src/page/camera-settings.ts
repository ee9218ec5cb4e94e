// The dialog that changes a camera's settings, pauses and removes it. It sends what was changed, and nothing else: what
// it does not show (credentials, other settings) stays as it is. While it is open it follows the camera: somebody else may
// change it, or pause it in another tab.

import { ApiError } from "../core/api.ts";
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
  private readonly subChoice = h("label", { class: "check" }, this.noSub, t("removeSubStream"));
  private readonly record: HTMLSelectElement;
  private readonly recordSub: HTMLSelectElement;
  private readonly urlNow: HTMLElement;
  private readonly subNow: HTMLElement;
  private readonly pause: HTMLButtonElement;
  private readonly box: HTMLDialogElement;
  private readonly following = new AbortController();

  /** `camera` is what the dialog shows, and what its changes are made of. */
  constructor(private camera: Camera) {
    this.name = h("input", { value: camera.name ?? "", maxlength: 100, placeholder: camera.camera_id });
    this.record = choice(RECORD, camera.record);
    this.recordSub = choice(RECORD_SUB, camera.record_sub);
    const url = field("mainAddress", this.url, " ");
    const sub = field("subAddress", this.subUrl, " ");
    this.urlNow = helpOf(url);
    this.subNow = helpOf(sub);
    this.pause = this.action("pauseCamera", () => this.send("PATCH", { paused: !this.camera.paused }));
    const form = h(
      "form",
      { class: "camera settings" },
      field("cameraName", this.name),
      url,
      sub,
      this.subChoice,
      field("recording", this.record),
      field("recordingSub", this.recordSub),
      h("button", { class: "primary" }, t("save")),
    );
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.send("PATCH", { ...this.changes(), revision: this.camera.revision });
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
        this.pause,
        camera.is_configured
          ? h("p", { class: "muted" }, t("removeInSettings"))
          : this.action("removeCamera", () => this.remove()),
      ),
    );
  }

  open(): void {
    this.show();
    openDialog(this.box);
    store.addEventListener("change", () => this.follow(), { signal: this.following.signal });
    this.box.addEventListener("close", () => this.following.abort());
  }

  /** What cannot be edited. */
  private show(): void {
    const { camera } = this;
    setText(this.urlNow, t("nowAt", { url: camera.rtsp_url }));
    setText(this.subNow, camera.sub ? t("nowAt", { url: camera.sub.rtsp_url }) : t("noSubStream"));
    this.subChoice.hidden = !camera.sub;
    if (!camera.sub) this.noSub.checked = false;
    setText(this.pause, t(camera.paused ? "resumeCamera" : "pauseCamera"));
  }

  /** What was not touched here follows the camera. */
  private follow(): void {
    const before = this.camera;
    const camera = store.camera(before.camera_id);
    if (!camera) return;
    this.camera = camera;
    this.show();
    let isChanged = camera.rtsp_url !== before.rtsp_url || camera.sub?.rtsp_url !== before.sub?.rtsp_url;
    for (const [control, key] of this.editable) {
      const [was, is] = [before[key] ?? "", camera[key] ?? ""];
      if (was === is) continue;
      isChanged = true;
      if (control.value === was) control.value = is;
    }
    if (isChanged) setText(this.error, t("cameraChanged"));
  }

  private get editable() {
    return [
      [this.name, "name"],
      [this.record, "record"],
      [this.recordSub, "record_sub"],
    ] as const;
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
      // What they changed is shown before it is replaced.
      if (error instanceof ApiError && error.status === 409) await store.refresh();
      setText(this.error, messageOf(error));
      return;
    } finally {
      this.box.inert = false;
    }
    this.following.abort();
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

function helpOf(labelled: HTMLElement): HTMLElement {
  return labelled.querySelector("small") as HTMLElement;
}

function choice(values: readonly string[], chosen: string): HTMLSelectElement {
  const options = values.map((value) =>
    h("option", { value, selected: value === chosen }, t(`record_${value}` as PageMessageKey)),
  );
  return h("select", {}, ...options);
}
