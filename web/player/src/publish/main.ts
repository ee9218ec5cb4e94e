// The page /publish/{camera}: a browser's camera and microphone become a camera of the gateway (WHIP).

import { Api, ApiError } from "../core/api.ts";
import { h, setText } from "../page/dom.ts";
import { language, type PublishMessageKey, t } from "./i18n.ts";
import { WhipSession } from "./whip.ts";

const TOKEN_KEY = "liveedge-token";
const STATISTICS_MS = 1000;
const RETRY_MS = 1000;
const RETRY_MAX_MS = 15_000;

// In a variable, because the bundler would treat a literal as an asset.
const SCRIPT_URL = import.meta.url;
const api = new Api(new URL("..", SCRIPT_URL).href.replace(/\/$/, ""), sessionStorage.getItem(TOKEN_KEY), language);
const camera = decodeURIComponent(location.pathname.split("/").at(-1) ?? "");

let stream: MediaStream | null = null;
let session: WhipSession | null = null;
let isWanted = false;
let failures = 0;
let timer = 0;
let statisticsTimer = 0;

const preview = h("video", { class: "publish-preview", muted: true, autoplay: true, playsinline: true });
preview.muted = true;
const status = h("p", { class: "publish-status", role: "status" }, t("idle"));
const cameras = h("select", { id: "camera", onchange: () => void changeDevices() });
const microphones = h("select", { id: "microphone", onchange: () => void changeDevices() });
const token = h("input", { id: "token", type: "password", autocomplete: "current-password", onchange: useToken });
const tokenRow = h("div", { class: "publish-row", hidden: api.token === null }, label("token"), token);
const button = h("button", { class: "primary", type: "button", onclick: () => void (isWanted ? stop() : start()) });

document.documentElement.lang = language;
document.title = t("title", { camera });
document.body.replaceChildren(
  h(
    "main",
    { class: "publish" },
    h("h1", {}, t("title", { camera })),
    preview,
    h("div", { class: "publish-row" }, label("camera"), cameras),
    h("div", { class: "publish-row" }, label("microphone"), microphones),
    tokenRow,
    h("p", { class: "publish-help", hidden: api.token === null, id: "token-help" }, t("tokenHelp")),
    h("div", { class: "publish-row" }, button, status),
  ),
);
token.value = api.token ?? "";
show();
void (async () => {
  if (await openDevices()) await listDevices();
})();
addEventListener("pagehide", () => session?.close());
navigator.mediaDevices?.addEventListener("devicechange", () => void listDevices());

function label(key: "camera" | "microphone" | "token"): HTMLLabelElement {
  return h("label", { for: key }, t(key));
}

function useToken(): void {
  api.token = token.value || null;
  sessionStorage.setItem(TOKEN_KEY, token.value);
}

/** Open the chosen devices. False, with the reason in the status, if that is not possible. */
async function openDevices(): Promise<boolean> {
  if (!navigator.mediaDevices) return tell("insecure");
  for (const track of stream?.getTracks() ?? []) track.stop();
  const chosen = (id: string) => (id ? { deviceId: { exact: id } } : {});
  const video = { ...chosen(cameras.value), width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30 } };
  const audio = microphones.value === "none" ? false : chosen(microphones.value);
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video, audio });
  } catch (error) {
    // A machine without a microphone has a camera nevertheless.
    stream = await navigator.mediaDevices.getUserMedia({ video }).catch(() => null);
    if (stream === null) return tell((error as Error).name === "NotAllowedError" ? "denied" : "noDevice");
  }
  preview.srcObject = stream;
  return true;
}

/** The names of devices are known once the browser allows their use. */
async function listDevices(): Promise<void> {
  const devices = await navigator.mediaDevices.enumerateDevices();
  fill(cameras, devices, "videoinput", stream?.getVideoTracks()[0]);
  fill(microphones, devices, "audioinput", stream?.getAudioTracks()[0]);
}

function fill(
  select: HTMLSelectElement,
  devices: MediaDeviceInfo[],
  kind: MediaDeviceKind,
  used: MediaStreamTrack | undefined,
): void {
  const options = devices
    .filter((device) => device.kind === kind)
    .map(({ deviceId, label: name }, index) => h("option", { value: deviceId }, name || `${index + 1}`));
  if (kind === "audioinput") options.unshift(h("option", { value: "none" }, t("none")));
  select.replaceChildren(...options);
  select.value = used?.getSettings().deviceId ?? (kind === "audioinput" ? "none" : "");
}

async function changeDevices(): Promise<void> {
  if ((await openDevices()) && session && stream) await session.replace(stream);
}

async function start(): Promise<void> {
  if (stream === null && !(await openDevices())) return;
  isWanted = true;
  show();
  await connect();
}

function stop(): void {
  isWanted = false;
  end();
  setText(status, t("idle"));
  show();
}

function end(): void {
  clearTimeout(timer);
  clearInterval(statisticsTimer);
  session?.close();
  session = null;
}

async function connect(): Promise<void> {
  if (!isWanted || stream === null) return;
  setText(status, t("connecting"));
  try {
    session = await WhipSession.publish(api, camera, stream, () => void lost());
    let bytes = 0;
    statisticsTimer = window.setInterval(async () => {
      const found = await session?.statistics();
      if (!found || found.bytes === bytes) return;
      const rate = Math.round((8 * (found.bytes - bytes)) / STATISTICS_MS);
      bytes = found.bytes;
      failures = 0;
      setText(status, t("live", { width: found.width, height: found.height, rate }));
    }, STATISTICS_MS);
    if (!isWanted) end();
  } catch (error) {
    const key = reasonOf(error);
    if (key === null) {
      lost();
      return;
    }
    stop();
    tell(key, { message: (error as Error).message });
  }
}

/** Why it makes no sense to try again; null if it does. */
function reasonOf(error: unknown): PublishMessageKey | null {
  if (!(error instanceof ApiError)) return null;
  if (error.status === 401) {
    tokenRow.hidden = false;
    token.focus();
    return "wrongToken";
  }
  if (error.status >= 500) return null;
  return ({ 403: "forbidden", 404: "unknown", 406: "noH264", 409: "pulled" } as const)[error.status] ?? "failed";
}

function lost(): void {
  end();
  if (!isWanted) return;
  const delay = Math.min(RETRY_MS * 2 ** failures, RETRY_MAX_MS);
  failures += 1;
  setText(status, t("retrying", { seconds: Math.round(delay / 1000) }));
  timer = window.setTimeout(() => void connect(), delay);
}

function tell(key: PublishMessageKey, values: Record<string, string> = {}): false {
  setText(status, t(key, values));
  return false;
}

function show(): void {
  setText(button, t(isWanted ? "stop" : "start"));
  button.classList.toggle("primary", !isWanted);
}
