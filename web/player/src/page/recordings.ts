// The list of recordings of the day, with buttons to play, protect and download each. Those of the sub stream are in it where
// the main stream was not recorded.

import { dayOf, without } from "../core/timeline.ts";
import type { Segment } from "../generated/api.ts";
import { icon } from "../icons.ts";
import { protect, rangeOf, save } from "./archive.ts";
import { h } from "./dom.ts";
import { bytes, clock, duration, shortDay } from "./format.ts";
import { t } from "./i18n.ts";
import { store } from "./store.ts";

const SHOWN_FIRST = 24;

export class Recordings {
  readonly element: HTMLElement;
  private readonly list = h("ul", {});
  private readonly empty = h("p", { class: "muted", hidden: true }, t("noRecordings"));
  private readonly more = h("button", { type: "button", hidden: true, onclick: () => this.showMore() }, t("more"));
  private segments: Segment[] = [];
  private shown = SHOWN_FIRST;
  private lastRows = "";

  constructor(
    private readonly camera: string,
    private readonly seek: (time: number) => void,
    private readonly changed: () => void,
    private readonly failed: (error: unknown) => void,
  ) {
    this.element = h(
      "section",
      { class: "card rows recordings", "aria-label": t("recordings") },
      h("h2", {}, t("recordings")),
      this.empty,
      this.list,
      this.more,
    );
  }

  /** Show segments, given oldest first. The newest is at the top. */
  show(segments: Segment[]): void {
    const main = segments.map(rangeOf).filter(({ isSub }) => !isSub);
    this.segments = segments
      .filter((segment) => segment.rendition === "main" || without(rangeOf(segment), main).length > 0)
      .reverse();
    this.draw();
  }

  private showMore(): void {
    this.shown += 4 * SHOWN_FIRST;
    this.draw();
  }

  private draw(): void {
    const visible = this.segments.slice(0, this.shown);
    this.empty.hidden = visible.length > 0;
    this.more.hidden = this.segments.length <= this.shown;
    const lastRows = JSON.stringify(
      visible.map(({ id, size, state, protected: isProtected }) => [id, size, state, isProtected]),
    );
    if (lastRows === this.lastRows) return;
    this.lastRows = lastRows;
    const focused = document.activeElement?.getAttribute("data-key");
    this.list.replaceChildren(...visible.map((segment) => this.row(segment)));
    if (focused) this.list.querySelector<HTMLElement>(`[data-key="${CSS.escape(focused)}"]`)?.focus();
  }

  private row(segment: Segment): HTMLElement {
    const start = Date.parse(segment.start);
    const facts = [duration(segment.duration_s * 1000), bytes(segment.size)];
    if (segment.rendition === "sub") facts.push(t("subStream"));
    if (segment.state === "growing") facts.push(t("growing"));
    if (segment.protected) facts.push(t("protected"));
    const isToday = dayOf(start).from === dayOf(store.now).from;
    const span = `${isToday ? "" : `${shortDay(start)} `}${clock(start)} – ${clock(Date.parse(segment.end))}`;
    const file = `${this.camera}_${segment.id.replace("segment_", "")}.mp4`;
    const protectWord = t(segment.protected ? "unprotect" : "protect");
    const image = h("img", { alt: "", loading: "lazy", width: 96, height: 54 });
    void store.api.link(segment.thumbnail).then((url) => (image.src = url), this.failed);
    image.addEventListener("error", () => image.classList.add("none"));
    return h(
      "li",
      {},
      h(
        "button",
        { type: "button", class: "jump", "data-key": `${segment.id}-jump`, onclick: () => this.seek(start) },
        image,
        h("span", {}, h("b", {}, span), h("small", {}, facts.join(" · "))),
      ),
      h(
        "button",
        {
          type: "button",
          class: "icon",
          title: protectWord,
          "aria-label": `${protectWord}: ${span}`,
          "aria-pressed": String(segment.protected),
          disabled: !store.hasScope("control"),
          "data-key": `${segment.id}-protect`,
          onclick: () => void protect(this.camera, segment).then(this.changed, this.failed),
        },
        icon(segment.protected ? "lock" : "unlock"),
      ),
      h(
        "button",
        {
          type: "button",
          class: "icon",
          title: t("download"),
          "aria-label": `${t("download")}: ${span}`,
          "data-key": `${segment.id}-download`,
          onclick: () => void save(segment.url, file).catch(this.failed),
        },
        icon("download"),
      ),
    );
  }
}
