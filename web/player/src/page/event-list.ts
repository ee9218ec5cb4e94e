// The events of a camera in the visible range of the timeline: polled, and listed with a button that jumps to each.

import { ApiError } from "../core/api.ts";
import { type EventMark, isMoment, toMark } from "../core/event-marks.ts";
import { dayOf, type View } from "../core/timeline.ts";
import type { EventList as EventPage } from "../generated/api.ts";
import { iso } from "./archive.ts";
import { askAllNodes } from "./away.ts";
import { h } from "./dom.ts";
import { clock, shortDay } from "./format.ts";
import { t } from "./i18n.ts";
import { store } from "./store.ts";

/** Of more events in a view, the newest are shown, and the list says so. */
const EVENTS_MAX = 500;
const SHOWN_FIRST = 12;

/** The newest events that overlap a view, newest first. None for a token that may not see them. */
export async function eventsIn(
  camera: string,
  view: View,
  signal: AbortSignal,
): Promise<{ marks: EventMark[]; hasMore: boolean }> {
  const none = { marks: [], hasMore: false };
  if (!store.hasScope("view")) return none;
  const query = new URLSearchParams({ start: iso(view.from), end: iso(view.to), limit: String(EVENTS_MAX) });
  try {
    const page = await askAllNodes<EventPage>("events", `/api/cameras/${camera}/events?${query}`, signal);
    return { marks: page.events.map(toMark), hasMore: page.next_cursor !== null };
  } catch (error) {
    if (error instanceof ApiError && [401, 403, 404].includes(error.status)) return none;
    throw error;
  }
}

/** When an event was: "14:03:20", "14:03:20 – 14:05:00", or with "goes on". With its day, unless that is today. */
export function whenOf(mark: EventMark, now = store.now): string {
  const { start, end } = mark;
  const at = (time: number) => `${dayOf(time).from === dayOf(now).from ? "" : `${shortDay(time)} `}${clock(time)}`;
  if (isMoment(mark)) return at(start);
  return `${at(start)} – ${end === null ? t("eventGoesOn") : dayOf(start).from === dayOf(end).from ? clock(end) : at(end)}`;
}

export class EventList {
  /** Hidden until the camera has an event: most have none. */
  readonly element: HTMLElement;
  private readonly list = h("ul", {});
  private readonly empty = h("p", { class: "muted", hidden: true }, t("noEvents"));
  private readonly tooMany = h("p", { class: "muted", hidden: true }, t("tooManyEvents", { count: EVENTS_MAX }));
  private readonly more = h("button", { type: "button", hidden: true, onclick: () => this.showMore() }, t("more"));
  private marks: EventMark[] = [];
  private shown = SHOWN_FIRST;
  private lastRows = "";

  constructor(private readonly jump: (mark: EventMark) => void) {
    this.element = h(
      "section",
      { class: "card rows events", "aria-label": t("events"), hidden: true },
      h("h2", {}, t("events")),
      this.empty,
      this.tooMany,
      this.list,
      this.more,
    );
  }

  /** Show events, given newest first. */
  show(marks: EventMark[], hasMore: boolean): void {
    this.marks = marks;
    if (marks.length > 0) this.element.hidden = false;
    this.empty.hidden = marks.length > 0;
    this.tooMany.hidden = !hasMore;
    this.draw();
  }

  private showMore(): void {
    this.shown += 4 * SHOWN_FIRST;
    this.draw();
  }

  private draw(): void {
    const visible = this.marks.slice(0, this.shown);
    this.more.hidden = this.marks.length <= this.shown;
    const lastRows = JSON.stringify([visible, dayOf(store.now).from, store.hasScope("archive")]);
    if (lastRows === this.lastRows) return;
    this.lastRows = lastRows;
    const focused = document.activeElement?.getAttribute("data-key");
    this.list.replaceChildren(...visible.map((mark) => this.row(mark)));
    if (focused) this.list.querySelector<HTMLElement>(`[data-key="${CSS.escape(focused)}"]`)?.focus();
  }

  private row(mark: EventMark): HTMLElement {
    return h(
      "li",
      {},
      h(
        "button",
        {
          type: "button",
          class: "jump",
          "data-key": `${mark.id}-jump`,
          disabled: !store.hasScope("archive"),
          onclick: () => this.jump(mark),
        },
        h("span", {}, h("b", {}, mark.label), h("small", {}, `${whenOf(mark)} · ${mark.source}`)),
      ),
    );
  }
}
