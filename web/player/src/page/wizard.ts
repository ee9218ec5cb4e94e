// The dialog that finds cameras, asks one for its streams, and adds it.

import { withCredentials } from "../core/camera-url.ts";
import { cameraReason } from "../core/error-texts.ts";
import type {
  DeviceCamera,
  DeviceReport,
  DeviceRequest,
  DeviceStream,
  DiscoverAnswer,
  DiscoveredDevice,
} from "../generated/api.ts";
import { isDialogOpen, openDialog, titledDialog } from "./dialog.ts";
import { h, setText } from "./dom.ts";
import { messageOf } from "./failure.ts";
import { bitrate } from "./format.ts";
import { language, t } from "./i18n.ts";
import { store } from "./store.ts";

/** Open the dialog, unless one is open. */
export function showWizard(): void {
  if (isDialogOpen()) return;
  new Wizard().open();
}

/** A button that can be pressed also during a search. */
const ALWAYS = "always";

class Wizard {
  private readonly content = h("div", { class: "content" });
  private readonly status = h("p", { class: "muted", role: "status" });
  private readonly error = h("p", { class: "error", role: "alert" });
  private readonly closing = new AbortController();
  private readonly box = titledDialog("wizard", t("addCamera"), this.content, this.status, this.error);
  private readonly found = h("ul", { class: "devices" });
  private searching = new AbortController();
  private devices: DiscoveredDevice[] = [];
  private user = "admin";
  private password = "";

  open(): void {
    this.box.addEventListener("close", () => {
      this.closing.abort();
      this.searching.abort();
    });
    openDialog(this.box);
    this.showSearch();
    void this.search("");
  }

  // --- 1. find

  private showSearch(): void {
    const addresses = h("input", { id: "addresses", placeholder: "192.168.1.0/24", autocomplete: "off" });
    const form = h(
      "form",
      { class: "search" },
      h("label", { for: "addresses" }, t("searchAddresses")),
      addresses,
      h("button", {}, t("search")),
    );
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.search(addresses.value);
    });
    this.showFound();
    const byAddress = h("button", { type: "button", class: ALWAYS, onclick: () => this.showAddress() }, t("byAddress"));
    this.content.replaceChildren(form, this.found, byAddress);
  }

  /** Only the list: somebody may be typing an address above it. */
  private showFound(): void {
    this.found.replaceChildren(...this.devices.map((device) => this.deviceRow(device)));
  }

  /** A camera that is not found, or whose address is known. */
  private showAddress(): void {
    this.searching.abort();
    this.tell("");
    const id = idInput("");
    const name = h("input", { id: "camera-name", maxlength: 100 });
    const url = h("input", {
      id: "url",
      inputmode: "url",
      required: true,
      autocomplete: "off",
      placeholder: "rtsp://user:password@192.0.2.7/stream1",
    });
    const subUrl = h("input", { id: "sub-url", inputmode: "url", autocomplete: "off" });
    const form = h(
      "form",
      { class: "card camera" },
      label(t("cameraId"), id),
      label(t("cameraName"), name),
      label(t("mainAddress"), url),
      label(t("subAddress"), subUrl),
      h("button", { class: "primary" }, t("add")),
    );
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const settings = { name: name.value || null, url: url.value, sub_url: subUrl.value || null };
      void this.add(form, { camera_id: id.value, ...settings });
    });
    this.content.replaceChildren(form, h("button", { type: "button", onclick: () => this.back() }, t("previous")));
    id.focus();
  }

  private deviceRow(device: DiscoveredDevice): HTMLElement {
    const known = device.camera_ids.length > 0 ? t("alreadyAdded", { cameras: device.camera_ids.join(", ") }) : "";
    const about = [device.hardware, device.location, device.onvif_url ? "ONVIF" : t("rtspOnly"), known];
    return h(
      "li",
      {},
      h(
        "button",
        { type: "button", onclick: () => this.showSignIn(device) },
        h("b", {}, device.name || device.address),
        h("span", {}, [device.name && device.address, ...about].filter(Boolean).join(" · ")),
      ),
    );
  }

  private async search(text: string): Promise<void> {
    const addresses = text.split(/[\s,]+/).filter(Boolean);
    this.searching = new AbortController();
    const { signal } = this.searching;
    await this.work(t("searching"), async () => {
      const body = JSON.stringify({ addresses });
      const { devices } = await store.api.json<DiscoverAnswer>("/api/discover", post(body, signal));
      this.devices = devices;
      this.showFound();
      setText(this.status, devices.length > 0 ? t("chooseDevice") : t("noDevices"));
    });
  }

  // --- 2. user and password

  private showSignIn(device: DiscoveredDevice): void {
    this.tell("");
    const user = h("input", { id: "user", value: this.user, autocomplete: "off" });
    const password = h("input", { id: "password", type: "password", autocomplete: "off" });
    const form = h(
      "form",
      { class: "credentials" },
      h("h3", {}, device.name || device.address),
      h("label", { for: "user" }, t("user")),
      user,
      h("label", { for: "password" }, t("password")),
      password,
      h("p", { class: "muted" }, t("passwordHelp")),
      h(
        "div",
        { class: "buttons" },
        h("button", { type: "button", onclick: () => this.back() }, t("previous")),
        h("button", { class: "primary" }, t("showStreams")),
      ),
    );
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      [this.user, this.password] = [user.value, password.value];
      void this.lookAt(device);
    });
    this.content.replaceChildren(form);
    password.focus();
  }

  private back(): void {
    this.tell("");
    this.showSearch();
  }

  private async lookAt(device: DiscoveredDevice): Promise<void> {
    const where = device.onvif_url ? { onvif_url: device.onvif_url } : { address: device.address };
    const request: Partial<DeviceRequest> = { ...where };
    if (this.user) Object.assign(request, { user: this.user, password: this.password });
    await this.work(t("asking"), async (signal) => {
      const body = JSON.stringify(request);
      this.showReport(await store.api.json<DeviceReport>("/api/discover/device", post(body, signal)));
    });
  }

  // --- 3. streams

  private showReport(report: DeviceReport): void {
    const forms = report.cameras.map((camera) => this.cameraForm(report, camera));
    const offset = report.clock_offset_s;
    const clock = h("p", { class: "warning" });
    if (offset !== null && Math.abs(offset) > 2) setText(clock, t("clockOff", { seconds: offset }));
    this.content.replaceChildren(
      h("h3", {}, [report.manufacturer, report.model].filter(Boolean).join(" ") || report.address),
      clock,
      h("ul", { class: "streams" }, ...report.streams.map(streamRow)),
      ...forms,
      h("button", { type: "button", onclick: () => this.back() }, t("previous")),
    );
    this.tell(forms.length > 0 ? "" : t("noStreams"));
  }

  private cameraForm(report: DeviceReport, camera: DeviceCamera): HTMLElement {
    const source = report.streams.find(({ url }) => url === camera.url)?.source;
    const streams = report.streams.filter((stream) => stream.url && stream.source === source);
    const id = idInput(camera.camera_id);
    const name = h("input", { id: "camera-name", value: camera.name, maxlength: 100 });
    const main = streamSelect("main", streams, camera.url);
    const sub = streamSelect("sub", streams, camera.sub_url);
    sub.prepend(h("option", { value: "", selected: camera.sub_url === null }, t("none")));
    const form = h(
      "form",
      { class: "card camera" },
      label(t("cameraId"), id),
      label(t("cameraName"), name),
      label(t("mainStream"), main),
      label(t("subStream"), sub),
      h("button", { class: "primary" }, t("add")),
    );
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const secret = (url: string) => withCredentials(url, this.user, this.password);
      const settings = {
        camera_id: id.value,
        name: name.value || null,
        url: secret(main.value),
        sub_url: sub.value && sub.value !== main.value ? secret(sub.value) : null,
        onvif_url: camera.onvif_url && secret(camera.onvif_url),
      };
      void this.add(form, settings);
    });
    return form;
  }

  private async add(form: HTMLElement, settings: { camera_id: string }): Promise<void> {
    await this.work(t("adding"), async () => {
      await store.api.post("/api/cameras", settings);
      form.remove();
      await store.refresh();
      this.tell(t("added", { camera: settings.camera_id }));
      if (!this.content.querySelector("form.camera")) this.box.close();
    });
  }

  // ---

  /** Run a request: say what is done, then what failed. */
  private async work(what: string, request: (signal: AbortSignal) => Promise<void>): Promise<void> {
    this.tell(what);
    this.box.classList.add("busy");
    this.setDisabled(true);
    try {
      await request(this.closing.signal);
      if (this.status.textContent === what) this.tell("");
    } catch (error) {
      if (error instanceof DOMException && error.name === "AbortError") return;
      this.tell("");
      setText(this.error, messageOf(error));
    } finally {
      this.box.classList.remove("busy");
      this.setDisabled(false);
    }
  }

  private setDisabled(isDisabled: boolean): void {
    for (const button of this.content.querySelectorAll<HTMLButtonElement>(`button:not(.${ALWAYS})`))
      button.disabled = isDisabled;
  }

  private tell(text: string): void {
    setText(this.status, text);
    setText(this.error, "");
  }
}

function post(body: string, signal: AbortSignal): RequestInit {
  return { method: "POST", headers: { "Content-Type": "application/json" }, body, signal };
}

function label(text: string, control: HTMLElement): HTMLElement {
  return h("label", {}, text, control);
}

function idInput(value: string): HTMLInputElement {
  return h("input", { id: "camera-id", value, required: true, pattern: "[A-Za-z0-9][\\w\\-]*" });
}

function streamSelect(name: string, streams: DeviceStream[], chosen: string | null): HTMLSelectElement {
  const options = streams.map((stream) =>
    h("option", { value: stream.url, selected: stream.url === chosen }, describe(stream)),
  );
  return h("select", { name }, ...options);
}

function describe({ name, codec, width, height, frame_rate, bitrate_bps }: DeviceStream): string {
  const size = width ? `${width}×${height}` : "";
  const facts = [
    size,
    codec.toUpperCase(),
    frame_rate ? `${frame_rate} fps` : "",
    bitrate_bps ? bitrate(bitrate_bps) : "",
  ];
  return `${name}: ${facts.filter(Boolean).join(" · ")}`;
}

function streamRow(stream: DeviceStream): HTMLElement {
  const picture = stream.picture && h("img", { src: `data:image/jpeg;base64,${stream.picture}`, alt: stream.name });
  return h(
    "li",
    {},
    picture ||
      h(
        "div",
        { class: "no-picture" },
        cameraReason(language, { error_code: stream.problem_code, error_message: stream.problem }) || t("noPicture"),
      ),
    h("span", {}, describe(stream)),
  );
}
