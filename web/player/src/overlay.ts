// What lies over the picture: a badge, a sentence where there is something to translate, the buttons.

import { type Language, type MessageKey, translate } from "./core/i18n.ts";
import type { StatusText } from "./core/status-text.ts";
import { type Icon, icon } from "./icons.ts";

const NOTICE_MS = 8000;

/** Its icon, its name, what it does. */
export type Button = readonly [Icon, MessageKey, () => void];

export class Overlay {
  readonly badge = part("div", "badge");
  readonly notice = part("div", "notice");
  readonly controls = part("div", "controls");
  private noticeTimer = 0;
  private noticed = "";

  constructor() {
    this.notice.setAttribute("role", "status");
    this.notice.hidden = true;
  }

  show({ tone, label, more, notice }: StatusText): void {
    this.badge.dataset.tone = tone;
    const rest = document.createElement("span");
    rest.className = "more";
    rest.textContent = more;
    this.badge.replaceChildren(label, rest);
    this.translate(notice, tone === "live");
    this.notice.dataset.tone = tone;
  }

  /** What is wrong stays; what is merely worth knowing (`passes`) goes after a while. */
  private translate(notice: string, passes: boolean): void {
    if (notice === this.noticed) return;
    this.noticed = notice;
    clearTimeout(this.noticeTimer);
    this.notice.textContent = notice;
    this.notice.hidden = notice === "";
    if (notice && passes) this.noticeTimer = window.setTimeout(() => (this.notice.hidden = true), NOTICE_MS);
  }

  /** Buttons, each with its icon, its name and what it does; none hides them. */
  setControls(language: Language, buttons: readonly Button[]): void {
    this.controls.hidden = buttons.length === 0;
    this.controls.replaceChildren(
      ...buttons.map(([symbol, word, act]) => {
        const button = document.createElement("button");
        button.type = "button";
        button.ariaLabel = button.title = translate(language, word);
        button.append(icon(symbol));
        button.addEventListener("click", act);
        return button;
      }),
    );
  }

  close(): void {
    clearTimeout(this.noticeTimer);
  }
}

export function part(tag: string, name: string): HTMLElement {
  const element = document.createElement(tag);
  element.className = name;
  element.setAttribute("part", name);
  return element;
}
