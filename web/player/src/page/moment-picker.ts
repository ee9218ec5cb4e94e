// The choice of a moment: a calendar in which the days with recordings are marked, and a time that is typed in.
//
// Rules:
// 1. A day is marked if any of the cameras was recorded on it, by the days of the browser's time zone.
// 2. One answer a camera and month is kept while the dialog is open; what comes too late for its month is not shown.

import { addDays, addMonths, isoDay, momentOf, momentsOf, parseClock, utcOffset, weeksOf } from "../core/moment.ts";
import type { RecordedDays } from "../generated/api.ts";
import { icon } from "../icons.ts";
import { askAllNodes, awayNote } from "./away.ts";
import { isDialogOpen, openDialog, titledDialog } from "./dialog.ts";
import { h, setText } from "./dom.ts";
import { clock } from "./format.ts";
import { language, type PageMessageKey, t } from "./i18n.ts";
import { store } from "./store.ts";

const KEYS: Record<string, number> = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -7, ArrowDown: 7 };

export interface MomentPickerEvents {
  cameras(): readonly string[];
  /** The moment that is shown. */
  at(): number;
  seek(time: number): void;
  /** A day alone was chosen: noon of it. */
  showDay(time: number): void;
}

export class MomentPicker {
  /** The button that opens the dialog: it has the day that is shown. */
  readonly element: HTMLButtonElement;
  private readonly label = h("span", {});

  constructor(private readonly events: MomentPickerEvents) {
    this.element = h(
      "button",
      { type: "button", class: "day", title: t("goToMoment"), onclick: () => this.open() },
      icon("calendar"),
      this.label,
    );
  }

  setLabel(text: string): void {
    setText(this.label, text);
    const name = `${text}: ${t("goToMoment")}`;
    if (this.element.ariaLabel !== name) this.element.ariaLabel = name;
  }

  /** Open the dialog, unless one is open. */
  open(): void {
    if (isDialogOpen()) return;
    new MomentDialog(this.events).open();
  }
}

class MomentDialog {
  private readonly title = h("h3", { "aria-live": "polite" });
  private readonly body = h("tbody", {});
  private readonly time = h("input", {
    type: "text",
    autocomplete: "off",
    inputmode: "numeric",
    placeholder: "14:32:05",
  });
  private readonly error = h("p", { class: "error", role: "alert" });
  private readonly closing = new AbortController();
  private readonly recorded = new Map<string, Promise<Set<string>>>();
  private readonly firstDay: number;
  private day: string;

  constructor(private readonly events: MomentPickerEvents) {
    this.day = isoDay(events.at());
    this.time.value = clock(events.at());
    const locale = new Intl.Locale(navigator.language) as Intl.Locale & { getWeekInfo?(): { firstDay: number } };
    this.firstDay = locale.getWeekInfo?.().firstDay ?? 7;
  }

  open(): void {
    const week = weeksOf(this.day, this.firstDay)[0] ?? [];
    const names = week.map((day) => {
      const date = new Date(`${day}T12:00:00`);
      const long = date.toLocaleDateString(language, { weekday: "long" });
      return h("th", { scope: "col", abbr: long }, date.toLocaleDateString(language, { weekday: "short" }));
    });
    const box = titledDialog(
      "moment",
      t("goToMoment"),
      h(
        "div",
        { class: "month" },
        this.monthButton("back", "previousMonth", -1),
        this.title,
        this.monthButton("next", "nextMonth", 1),
      ),
      h(
        "table",
        { onkeydown: (event) => this.key(event as KeyboardEvent) },
        h("thead", {}, h("tr", {}, ...names)),
        this.body,
      ),
      h("p", { class: "muted legend legendDay" }, t("dayRecorded")),
      awayNote(this.closing.signal),
      h(
        "form",
        {
          class: "go",
          onsubmit: (event) => {
            event.preventDefault();
            if (this.go()) this.close();
          },
        },
        h("label", {}, t("timeOfDay"), this.time),
        h("button", { class: "primary" }, t("go")),
      ),
      this.error,
    );
    this.draw();
    this.closing.signal.addEventListener("abort", () => box.close());
    box.addEventListener("close", () => this.close());
    openDialog(box, true);
    this.time.focus();
    this.time.select();
  }

  private monthButton(symbol: "back" | "next", key: "previousMonth" | "nextMonth", by: number): HTMLButtonElement {
    const onclick = () => this.choose(addMonths(this.day, by));
    return h("button", { type: "button", class: "icon", title: t(key), "aria-label": t(key), onclick }, icon(symbol));
  }

  private key(event: KeyboardEvent): void {
    const by = KEYS[event.key];
    if (by !== undefined) this.choose(addDays(this.day, by), true);
    else if (event.key === "PageUp" || event.key === "PageDown")
      this.choose(addMonths(this.day, event.key === "PageUp" ? -1 : 1), true);
    else return;
    event.preventDefault();
  }

  private choose(day: string, hasFocus = false): void {
    this.day = day;
    this.draw();
    if (hasFocus) this.body.querySelector<HTMLElement>('[aria-pressed="true"]')?.focus();
  }

  private go(): boolean {
    if (this.time.value.trim() === "") {
      this.events.showDay(momentOf(this.day, { hours: 12, minutes: 0, seconds: 0 }));
      return true;
    }
    const time = parseClock(this.time.value);
    const [first, second] = time ? momentsOf(this.day, time) : [];
    if (first === undefined) return this.refuse(time ? "skippedTime" : "wrongTime");
    if (first > store.now) return this.refuse("notYet");
    if (second !== undefined && second <= store.now) {
      this.refuse("twiceTime");
      this.error.append(...[first, second].map((moment) => this.choice(moment)));
      return false;
    }
    this.events.seek(first);
    return true;
  }

  private close(): void {
    this.closing.abort();
  }

  private refuse(why: PageMessageKey): false {
    setText(this.error, t(why));
    return false;
  }

  /** A button for one of two moments with the same time of day. */
  private choice(moment: number): HTMLElement {
    const onclick = () => {
      this.events.seek(moment);
      this.close();
    };
    return h("button", { type: "button", onclick }, `${clock(moment)} ${utcOffset(moment)}`);
  }

  private draw(): void {
    const { day } = this;
    const month = day.slice(0, 7);
    const noon = new Date(`${day}T12:00:00`);
    setText(this.title, noon.toLocaleDateString(language, { year: "numeric", month: "long" }));
    const today = isoDay(store.now);
    const weeks = weeksOf(day, this.firstDay);
    this.body.replaceChildren(
      ...weeks.map((week) => h("tr", {}, ...week.map((each) => this.cell(each, month, today)))),
    );
    const [first, last] = [weeks[0]?.[0], weeks.at(-1)?.at(-1)];
    if (first && last) void this.mark(first, last);
  }

  private cell(day: string, month: string, today: string): HTMLElement {
    const button = h(
      "button",
      {
        type: "button",
        "data-day": day,
        class: day.startsWith(month) ? "" : "other",
        tabindex: day === this.day ? 0 : -1,
        "aria-pressed": String(day === this.day),
        "aria-current": day === today ? "date" : null,
        disabled: day > today,
        onclick: () => {
          this.choose(day);
          this.time.focus();
        },
      },
      h("span", { "aria-hidden": "true" }, String(Number(day.slice(8)))),
      h("span", { class: "visually-hidden" }, this.nameOf(day)),
    );
    return h("td", {}, button);
  }

  private nameOf(day: string): string {
    return new Date(`${day}T12:00:00`).toLocaleDateString(language, { dateStyle: "full" });
  }

  /** Rule 1. What cannot be read is not marked, and can still be chosen. */
  private async mark(first: string, last: string): Promise<void> {
    const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
    const load = async (camera: string) => {
      const query = new URLSearchParams({ first, last, zone });
      const path = `/api/cameras/${camera}/days?${query}`;
      const { days } = await askAllNodes<RecordedDays>("days", path, this.closing.signal);
      return new Set(days);
    };
    for (const camera of this.events.cameras()) {
      const key = `${camera} ${first}`;
      const loading = this.recorded.get(key) ?? load(camera).catch(() => new Set<string>());
      this.recorded.set(key, loading);
      const days = await loading;
      for (const button of this.body.querySelectorAll<HTMLElement>("[data-day]")) {
        const day = button.dataset.day ?? "";
        if (!days.has(day)) continue;
        button.classList.add("recorded");
        const name = button.querySelector(".visually-hidden");
        if (name) setText(name, `${this.nameOf(day)}, ${t("legendRecorded")}`);
      }
    }
  }
}
