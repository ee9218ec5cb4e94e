// A button that is an icon. Its word is what screen readers say, and its tooltip.

import { type Icon, icon } from "../icons.ts";
import { h } from "./dom.ts";
import { type PageMessageKey, t } from "./i18n.ts";

export function iconButton(symbol: Icon, word: PageMessageKey, onclick: () => void): HTMLButtonElement {
  return h("button", { type: "button", class: "icon", title: t(word), "aria-label": t(word), onclick }, icon(symbol));
}

/** The button shows that it plays, or pauses. */
export function showPlayOrPause(button: HTMLButtonElement, key: "play" | "pause"): void {
  if (button.dataset.key === key) return;
  button.dataset.key = key;
  button.replaceChildren(icon(key));
  button.title = button.ariaLabel = t(key);
}
