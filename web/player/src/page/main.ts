// Our own page: a head, and under it either all cameras or one.

import "../player.ts";
import { h, setText } from "./dom.ts";
import { bytes } from "./format.ts";
import { Grid } from "./grid.ts";
import { askForToken } from "./signin.ts";
import { Single } from "./single.ts";
import { store } from "./store.ts";
import { language, t } from "./words.ts";

const COLUMNS_KEY = "liveedge-columns";

const summary = h("p", { class: "summary", role: "status" });
const storage = h("span", { class: "chip", hidden: true });
const ems = h("span", { class: "chip", hidden: true });
const trouble = h("p", { class: "trouble", role: "alert", hidden: true });
const columns = h(
  "select",
  { "aria-label": t("columns"), title: t("columns"), onchange: () => chooseColumns(columns.value) },
  ...["0", "1", "2", "3", "4", "5", "6"].map((count) => h("option", { value: count }, count === "0" ? `${t("columns")}: ${t("auto")}` : `${t("columns")}: ${count}`)),
);
const head = h(
  "header",
  { class: "head" },
  h("h1", {}, h("a", { href: "#/" }, h("img", { src: `${store.api.base}/static/icon.svg`, alt: "", width: 22, height: 22 }), "live", h("span", {}, "edge"))),
  summary,
  h("span", { class: "spring" }),
  ems,
  storage,
  columns,
);

const grid = new Grid();
let single: Single | null = null;
let shown: HTMLElement = grid.element;

document.documentElement.lang = language;
document.body.replaceChildren(head, trouble, shown);
columns.value = localStorage.getItem(COLUMNS_KEY) ?? "0";
grid.setColumns(Number(columns.value));
store.addEventListener("change", update);
store.addEventListener("token", () => {
  if (store.api.token) grid.setToken(store.api.token);
  route();
});
addEventListener("hashchange", route);
addEventListener("keydown", (event) => {
  if (event.key === "Escape" && single && !document.fullscreenElement && !document.querySelector("dialog[open]")) location.hash = "#/";
});
await store.refresh();
route();

function route(): void {
  const id = /^#\/camera\/([A-Za-z0-9][A-Za-z0-9_-]*)$/.exec(location.hash)?.[1];
  const left = single?.id ?? null;
  single?.close();
  single = null;
  if (id === undefined) {
    document.title = t("title");
    show(grid.element);
    if (left !== null) grid.element.querySelector<HTMLElement>(`[data-camera="${left}"] a.open`)?.focus();
  } else {
    document.title = `${id} · ${t("title")}`;
    single = new Single(id);
    show(single.element);
  }
  columns.hidden = single !== null;
  update();
}

function show(element: HTMLElement): void {
  shown.replaceWith(element);
  shown = element;
}

function update(): void {
  const { status } = store;
  trouble.hidden = store.trouble === null;
  if (store.trouble === "unreachable") setText(trouble, t("gatewayGone"));
  if (store.trouble === "forbidden") setText(trouble, t("forbidden"));
  if (store.trouble === "unauthorized") {
    trouble.hidden = true;
    askForToken();
  }
  if (!status) return;
  const live = status.cameras.filter(({ state }) => state === "live").length;
  setText(summary, t("summary", { live, all: status.cameras.length }));
  ems.hidden = status.messaging.adapter === "none";
  ems.dataset.tone = status.messaging.connected ? "live" : "ill";
  setText(ems, t(status.messaging.connected ? "emsConnected" : "emsLost"));
  const free = status.archive.free_bytes ?? null;
  storage.hidden = free === null;
  if (free !== null) setText(storage, t("storageFree", { free: bytes(free) }));
  grid.update();
  single?.update();
}

function chooseColumns(value: string): void {
  localStorage.setItem(COLUMNS_KEY, value);
  grid.setColumns(Number(value));
}
