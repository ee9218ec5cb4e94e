// A dialog with a title, and a button that closes it. There is one at a time, and another view of the page closes it.

import { icon } from "../icons.ts";
import { type Child, h } from "./dom.ts";
import { t } from "./i18n.ts";

/** A dialog that is not open yet; it is removed from the page when it is closed. */
export function titledDialog(kind: string, title: string, ...content: Child[]): HTMLDialogElement {
  return h(
    "dialog",
    { class: kind, "aria-label": title },
    h(
      "form",
      { method: "dialog", class: "head" },
      h("h2", {}, title),
      h("button", { class: "icon", "aria-label": t("close"), title: t("close") }, icon("close")),
    ),
    ...content,
  );
}

export function isDialogOpen(): boolean {
  return document.querySelector("dialog[open]") !== null;
}

/** Put a dialog on the page, and open it. One that holds nothing a click beside it would lose `closesOutside`. */
export function openDialog(box: HTMLDialogElement, closesOutside = false): void {
  const closed = new AbortController();
  box.addEventListener("click", ({ target }) => closesOutside && target === box && box.close());
  box.addEventListener("close", () => {
    closed.abort();
    box.remove();
  });
  addEventListener("hashchange", () => box.close(), { signal: closed.signal });
  document.body.append(box);
  box.showModal();
}
