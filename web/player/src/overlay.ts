// What lies on top of the video: the badge, a notice if there is one, and the buttons.

import { type Language, type MessageKey, translate } from "./core/i18n.ts";
import type { StatusText } from "./core/status-text.ts";
import { type Icon, icon } from "./icons.ts";

const NOTICE_MS = 8000;

/** Icon, accessible name, and action. */
export type Button = readonly [Icon, MessageKey, () => void];

export class Overlay {
  readonly badge = createPart("div", "badge");
  readonly notice = createPart("div", "notice");
  readonly controls = createPart("div", "controls");
  private noticeTimer = 0;
  private noticeText = "";

  constructor() {
    this.notice.setAttribute("role", "status");
    this.notice.hidden = true;
  }

  show({ status, label, detail, notice }: StatusText): void {
    this.badge.dataset.status = status;
    const span = document.createElement("span");
    span.className = "detail";
    span.textContent = detail;
    this.badge.replaceChildren(label, span);
    this.showNotice(notice, status === "live");
    this.notice.dataset.status = status;
  }

  /** A notice about a problem stays. A temporary one is hidden after a while. */
  private showNotice(notice: string, isTemporary: boolean): void {
    if (notice === this.noticeText) return;
    this.noticeText = notice;
    clearTimeout(this.noticeTimer);
    this.notice.textContent = notice;
    this.notice.hidden = notice === "";
    if (!notice || !isTemporary) return;
    this.noticeTimer = window.setTimeout(() => {
      this.notice.hidden = true;
    }, NOTICE_MS);
  }

  /** Replace the buttons. Without buttons, the bar is hidden. */
  setControls(language: Language, buttons: readonly Button[]): void {
    this.controls.hidden = buttons.length === 0;
    this.controls.replaceChildren(
      ...buttons.map(([symbol, key, onClick]) => {
        const button = document.createElement("button");
        button.type = "button";
        button.ariaLabel = button.title = translate(language, key);
        button.append(icon(symbol));
        button.addEventListener("click", onClick);
        return button;
      }),
    );
  }

  close(): void {
    clearTimeout(this.noticeTimer);
  }
}

/** An element with a class and a `::part()` of the same name. */
export function createPart(tag: string, name: string): HTMLElement {
  const element = document.createElement(tag);
  element.className = name;
  element.setAttribute("part", name);
  return element;
}
