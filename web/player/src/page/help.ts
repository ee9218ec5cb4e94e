// The dialog with the keyboard shortcuts.

import { isDialogOpen, openDialog, titledDialog } from "./dialog.ts";
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
  ["E", "keyExport"],
  ["+ −", "keyZoom"],
  ["[ ]", "keySelection"],
  ["F", "keyFullscreen"],
  ["W", "keyWall"],
  ["Esc", "keyBack"],
];

/** Open the dialog, unless one is open. */
export function showHelp(): void {
  if (isDialogOpen()) return;
  const list = h("dl", { class: "keys" });
  for (const [keys, word] of KEYS) {
    const caps = keys.split(/\s+/).map((key) => h("kbd", {}, key));
    list.append(h("dt", {}, ...caps), h("dd", {}, t(word)));
  }
  openDialog(titledDialog("help", t("keys"), list), true);
}
