// The gateway's own page: a header, and below it the grid of cameras or another view.

import "../player.ts";
import { CAMERAS_MAX, type GridRoute, gridHash, type PageRoute, parseRoute, playbackHash } from "../core/route.ts";
import { icon } from "../icons.ts";
import { ACCESS_HASH, AccessView } from "./access.ts";
import { t as accessWord } from "./access-i18n.ts";
import { CameraView } from "./camera-view.ts";
import { isDialogOpen } from "./dialog.ts";
import { h, setText } from "./dom.ts";
import { ExportsView, exportsHash } from "./exports.ts";
import { t as exportsWord } from "./exports-i18n.ts";
import { bytes } from "./format.ts";
import { Grid } from "./grid.ts";
import { showHelp } from "./help.ts";
import { language, switchLanguage, t } from "./i18n.ts";
import { iconButton } from "./icon-button.ts";
import { NotAllowedView, scopeOf } from "./not-allowed.ts";
import { showNotifications } from "./notifications.ts";
import { t as notificationsWord } from "./notifications-i18n.ts";
import { PlaybackView } from "./playback-view.ts";
import { confirm } from "./push.ts";
import { showSignIn } from "./signin.ts";
import { isLive, nameOf, store } from "./store.ts";
import { watchForUpdates } from "./updated.ts";
import { keepScreenOn } from "./wake-lock.ts";
import { Walls } from "./walls.ts";
import { showWizard } from "./wizard.ts";

const COLUMNS_KEY = "liveedge-columns";

interface View {
  readonly element: HTMLElement;
  /** The state of the gateway is another one. */
  update(): void;
  close(): void;
}

const summary = h("p", { class: "summary", role: "status" });
const storage = h("span", { class: "chip", hidden: true });
const ems = h("span", { class: "chip", hidden: true });
const errorBanner = h("p", { class: "error-banner", role: "alert", hidden: true });
const columns = h(
  "select",
  { "aria-label": t("columns"), title: t("columns"), onchange: () => chooseColumns(columns.value) },
  ...["0", "1", "2", "3", "4", "5", "6"].map((count) =>
    h("option", { value: count }, count === "0" ? `${t("columns")}: ${t("auto")}` : `${t("columns")}: ${count}`),
  ),
);
const add = iconButton("add", "addCamera", showWizard);
const wall = iconButton("wall", "wall", enterWall);
const exportsButton = h(
  "a",
  {
    href: exportsHash(),
    class: "button icon",
    title: exportsWord("exports"),
    "aria-label": exportsWord("exports"),
    hidden: true,
  },
  icon("export"),
);
const accessButton = h(
  "a",
  {
    href: ACCESS_HASH,
    class: "button icon",
    title: accessWord("access"),
    "aria-label": accessWord("access"),
    hidden: true,
  },
  icon("key"),
);
const together = iconButton("together", "playTogether", () => (location.hash = playbackHash([], null)));
const bell = h(
  "button",
  {
    type: "button",
    class: "icon",
    title: notificationsWord("notifications"),
    "aria-label": notificationsWord("notifications"),
    onclick: () => void showNotifications(),
  },
  icon("bell"),
);
const signOut = iconButton("signOut", "signOut", () => void store.signOut().catch(() => {}));
/** Its word is in the language that it leads to: who looks for it may not read this one. */
const languageButton = iconButton("globe", "otherLanguage", switchLanguage);
languageButton.lang = language === "ko" ? "en" : "ko";
/** The grid as it is, or was before the view. */
let place: GridRoute = { view: "grid", isFull: false, wall: null };
const walls = new Walls(
  (id) => go({ ...place, wall: id }),
  (shown, missing) => {
    grid.show(shown, missing);
    columns.hidden = view !== null || shown !== null;
  },
);
const header = h(
  "header",
  { class: "header" },
  h(
    "h1",
    {},
    h(
      "a",
      { href: "#/" },
      h("img", { src: `${store.api.base}/static/icon.svg`, alt: "", width: 22, height: 22 }),
      "live",
      h("span", {}, "edge"),
    ),
  ),
  summary,
  h("span", { class: "spacer" }),
  ems,
  storage,
  walls.element,
  columns,
  exportsButton,
  accessButton,
  add,
  together,
  wall,
  bell,
  languageButton,
  signOut,
  iconButton("help", "keys", showHelp),
);

const grid = new Grid();
/** What is shown instead of the grid. */
let view: View | null = null;
let shown: HTMLElement = grid.element;

document.documentElement.lang = language;
document.body.replaceChildren(header, errorBanner, shown);
columns.value = localStorage.getItem(COLUMNS_KEY) ?? "0";
grid.setColumns(Number(columns.value));
store.addEventListener("change", update);
store.addEventListener("token", () => {
  if (store.api.token) grid.setToken(store.api.token);
  route();
  void walls.load();
});
addEventListener("hashchange", route);
addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || isDialogOpen()) return;
  if (/^(INPUT|SELECT)$/.test((event.target as HTMLElement).tagName)) return;
  const isWall = document.body.classList.contains("wall");
  if (event.key === "Escape" && (view || isWall) && !document.fullscreenElement) go({ ...place, isFull: false });
  else if (event.key === "?") showHelp();
  else if (event.key.toLowerCase() === "w") isWall ? leaveWall() : enterWall();
});
document.addEventListener("fullscreenchange", () => document.fullscreenElement || leaveWall());
// A link to a moment needs the gateway's time: that of this machine may be wrong.
await Promise.all([store.refresh(), store.syncClock()]);
route();
void walls.load();
void confirm();
// What somebody looks at or fills in stays as it is, and so does a full screen, which a page cannot enter by itself.
watchForUpdates(() => view === null && !document.fullscreenElement && !document.pictureInPictureElement);

function route(): void {
  const wanted = parseRoute(location.hash);
  const left = view instanceof CameraView ? view.id : null;
  view?.close();
  view = viewOf(wanted);
  show(view?.element ?? grid.element);
  // The way back leads to the wall that was shown.
  view?.element.querySelector(".back")?.setAttribute("href", gridHash({ ...place, isFull: false }));
  if (wanted.view === "grid") {
    place = wanted;
    grid.setWall(place.isFull);
    walls.show(place.wall);
    if (left !== null) grid.element.querySelector<HTMLElement>(`[data-camera="${left}"] a.open`)?.focus();
  }
  const isWall = view === null && place.isFull;
  document.body.classList.toggle("wall", isWall);
  keepScreenOn(isWall);
  wall.hidden = walls.element.hidden = view !== null;
  together.hidden = view !== null || !store.hasScope("archive");
  columns.hidden = view !== null || grid.isOfWall;
  exportsButton.hidden = view instanceof ExportsView || !store.hasScope("archive");
  accessButton.hidden = view instanceof AccessView || !store.hasScope("admin");
  add.hidden = view !== null || !store.hasScope("admin");
  update();
}

function viewOf(route: PageRoute): View | null {
  const scope = scopeOf(route);
  if (scope && !store.hasScope(scope)) return new NotAllowedView(route, scope);
  switch (route.view) {
    case "camera":
      return new CameraView(route.camera, route.time);
    case "playback":
      return new PlaybackView(route.cameras.length > 0 ? route.cameras : firstCameras(), route.time);
    case "exports":
      return new ExportsView(route.parameters);
    case "access":
      return new AccessView();
    case "grid":
      return null;
  }
}

function go(wanted: GridRoute): void {
  location.hash = gridHash(wanted);
}

/** The cameras that are shown where none are named. */
function firstCameras(): string[] {
  return (store.status?.cameras ?? []).slice(0, CAMERAS_MAX).map(({ camera_id }) => camera_id);
}

function show(element: HTMLElement): void {
  shown.replaceWith(element);
  shown = element;
}

function update(): void {
  const { status } = store;
  updateTab();
  errorBanner.hidden = store.error === null;
  if (store.error === "unreachable") setText(errorBanner, t("gatewayUnreachable"));
  if (store.error === "forbidden") setText(errorBanner, t("forbidden"));
  if (store.error === "unauthorized") {
    errorBanner.hidden = true;
    showSignIn();
  }
  signOut.hidden = !store.canSignOut;
  if (!status) return;
  const live = status.cameras.filter(isLive).length;
  setText(summary, t("summary", { live, all: status.cameras.length }));
  // While the gateway is unreachable, hide what is no longer known.
  const isStale = store.error === "unreachable";
  summary.hidden = isStale;
  ems.hidden = isStale || status.messaging.adapter === "none";
  ems.dataset.status = status.messaging.connected ? "live" : "error";
  const emsWord = t(status.messaging.connected ? "emsConnected" : "emsDisconnected");
  if (ems.title !== emsWord) {
    ems.title = emsWord;
    ems.replaceChildren("EMS", h("span", { class: "long" }, emsWord.replace("EMS", "")));
  }
  const free = status.archive.free_bytes;
  storage.hidden = free === null;
  if (free !== null) {
    const whole = t("storageFree", { free: bytes(free) });
    const [before = "", after = ""] = t("storageFree").split("{free}");
    if (storage.title !== whole)
      storage.replaceChildren(h("span", { class: "long" }, before), bytes(free), h("span", { class: "long" }, after));
    storage.title = whole;
  }
  grid.update();
  view?.update();
}

/** The tab tells trouble also while another one is shown: how many cameras are down, and a red icon. */
function updateTab(): void {
  const down = store.status?.cameras.filter(({ down_since }) => down_since !== null).length ?? 0;
  const isUnreachable = store.error === "unreachable";
  const prefix = isUnreachable ? "⚠ " : down > 0 ? `(${down}) ` : "";
  document.title = `${prefix}${view instanceof CameraView ? `${cameraName(view.id)} · ` : ""}${t("title")}`;
  const name = isUnreachable || down > 0 ? "icon-trouble.svg" : "icon.svg";
  const link = document.querySelector<HTMLLinkElement>('link[rel="icon"]');
  const href = `${store.api.base}/static/${name}`;
  if (link && link.href !== href) link.href = href;
}

function cameraName(id: string): string {
  const camera = store.camera(id);
  return camera ? nameOf(camera) : id;
}

/** A kiosk can open #/wall directly, but browsers allow full screen only after a user action. */
function enterWall(): void {
  go({ ...place, isFull: true });
  void document.documentElement.requestFullscreen?.().catch(() => {});
}

function leaveWall(): void {
  if (!view && place.isFull) go({ ...place, isFull: false });
  if (document.fullscreenElement === document.documentElement) void document.exitFullscreen();
}

function chooseColumns(value: string): void {
  localStorage.setItem(COLUMNS_KEY, value);
  grid.setColumns(Number(value));
}
