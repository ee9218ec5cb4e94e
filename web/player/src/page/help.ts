// The dialog with the keyboard shortcuts.

import { icon } from "../icons.ts";
import { h } from "./dom.ts";
import { type PageMessageKey, t } from "./i18n.ts";

const KEYS: readonly (readonly [keys: string, word: PageMessageKey])[] = [
  ["Space", "keyPlay"],
  [", .", "keyStep"],
  ["← →", "keySeconds"],
  ["Shift ← →", "keyMinute"],
  ["PgDn PgUp", "keyMinutes"],
  ["Home", "keyFirst"],
  ["End  L", "keyLive"],
  ["N", "keyActivity"],
  ["G", "keyGo"],
  ["+ −", "keyZoom"],
  ["[ ]", "keySelection"],
  ["F", "keyFullscreen"],
  ["W", "keyWall"],
  ["Esc", "keyBack"],
];

/** Open the dialog, unless one is open. */
export function showHelp(): void {
  if (document.querySelector("dialog[open]")) return;
  const list = h("dl", { class: "keys" });
  for (const [keys, word] of KEYS) {
    const caps = keys.split(/\s+/).map((key) => h("kbd", {}, key));
    list.append(h("dt", {}, ...caps), h("dd", {}, t(word)));
  }
  const box: HTMLDialogElement = h(
    "dialog",
    {
      class: "help",
      "aria-label": t("keys"),
      onclose: () => box.remove(),
      onclick: ({ target }) => target === box && box.close(),
    },
    h(
      "form",
      { method: "dialog" },
      h("h2", {}, t("keys")),
      h("button", { class: "icon", "aria-label": t("close"), title: t("close") }, icon("close")),
    ),
    list,
  );
  document.body.append(box);
  box.showModal();
}
