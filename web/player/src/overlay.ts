// What lies on top of the video: the badge, a notice if there is one, and the buttons.

import { type Language, type MessageKey, translate } from "./core/i18n.ts";
import type { StatusText } from "./core/status-text.ts";
import { type Icon, icon } from "./icons.ts";

const NOTICE_MS = 8000;
/** After so long, the badge of live video is a dot: it covers the time that many cameras write into their picture. */
const BADGE_MS = 5000;

/** Icon, accessible name, and action. */
export type Button = readonly [Icon, MessageKey, () => void];

export class Overlay {
  readonly badge = createPart("div", "badge");
  readonly notice = createPart("div", "notice");
  readonly controls = createPart("div", "controls");
  private badgeTimer = 0;
  private noticeTimer = 0;
  private noticeText = "";

  constructor() {
    this.notice.setAttribute("role", "status");
    this.notice.hidden = true;
  }

  show({ status, label, detail, notice }: StatusText): void {
    if (this.badge.dataset.status !== status) this.showBadge(status === "live");
    this.badge.dataset.status = status;
    this.badge.replaceChildren(textSpan("label", label), textSpan("detail", detail));
    this.showNotice(notice, status === "live");
    this.notice.dataset.status = status;
  }

  private showBadge(isTemporary: boolean): void {
    clearTimeout(this.badgeTimer);
    delete this.badge.dataset.quiet;
    if (!isTemporary) return;
    this.badgeTimer = window.setTimeout(() => {
      this.badge.dataset.quiet = "";
    }, BADGE_MS);
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

  /** Replace the buttons. Without buttons, the bar is hidden. The focus stays on the button in its place. */
  setControls(language: Language, buttons: readonly Button[]): void {
    this.controls.hidden = buttons.length === 0;
    const before = [...this.controls.children];
    const focused = before.findIndex((button) => button.matches(":focus"));
    this.controls.replaceChildren(
      ...buttons.map(([symbol, key, onClick]) => {
        const button = document.createElement("button");
        button.type = "button";
        button.ariaLabel = button.title = translate(language, key);
        button.append(icon(symbol));
        button.dataset.icon = symbol;
        button.addEventListener("click", onClick);
        return button;
      }),
    );
    if (focused >= 0) this.focusAgain((before[focused] as HTMLElement).dataset.icon, focused);
  }

  private focusAgain(symbol: string | undefined, place: number): void {
    const buttons = [...this.controls.querySelectorAll("button")];
    const same = buttons.find((button) => button.dataset.icon === symbol);
    (same ?? buttons[Math.min(place, buttons.length - 1)])?.focus();
  }

  close(): void {
    clearTimeout(this.noticeTimer);
    clearTimeout(this.badgeTimer);
  }
}

function textSpan(name: string, text: string): HTMLElement {
  const span = document.createElement("span");
  span.className = name;
  span.textContent = text;
  return span;
}

/** An element with a class and a `::part()` of the same name. */
export function createPart(tag: string, name: string): HTMLElement {
  const element = document.createElement(tag);
  element.className = name;
  element.setAttribute("part", name);
  return element;
}
