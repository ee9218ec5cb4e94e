// The timeline: what was recorded, the playhead, and the selection. It is a slider for keyboards and screen readers, and a
// canvas for everybody else.

import type { ActivityScores } from "../core/activity.ts";
import { type EventMark, markAt } from "../core/event-marks.ts";
import { pan, type RecordedRange, reveal, toTime, toX, type View, zoom } from "../core/timeline.ts";
import { h } from "./dom.ts";
import { clock, day } from "./format.ts";
import { t } from "./i18n.ts";
import { store } from "./store.ts";
import { EVENTS_TOP, HEIGHT, paint, RULER, type Selection } from "./timeline-canvas.ts";
import { type PreviewPictures, TimelinePreview } from "./timeline-preview.ts";

const DRAG_PX = 4;
/** An edge of the selection can be grabbed from this distance, which suits a finger. */
const EDGE_PX = 12;
/** How much a new selection covers before and after the playhead. */
const SELECTION_MS = 30_000;

export interface TimelineEvents {
  seek(time: number): void;
  seekToLiveEdge(): void;
  seekToEvent(mark: EventMark): void;
  viewChanged(view: View): void;
  selectionChanged(): void;
}

export class Timeline {
  readonly element: HTMLElement;
  view: View;
  /** The selected time range, for a clip. */
  selection: Selection = { from: null, to: null };
  private readonly canvas = h("canvas", { "aria-hidden": "true" });
  private readonly preview: TimelinePreview;
  private readonly slider: HTMLElement;
  private recorded: RecordedRange[] = [];
  private rows: RecordedRange[][] = [];
  private activity: ActivityScores | null = null;
  private marks: EventMark[] = [];
  private playhead: number | null = null;
  private now = store.now;
  private isLive = true;
  private readonly closing = new AbortController();
  private drag: { x: number; view: View; kind: "seek" | "pan" | "select" | "from" | "to"; moved: boolean } | null =
    null;

  constructor(
    camera: string,
    view: View,
    pictures: PreviewPictures,
    private readonly events: TimelineEvents,
  ) {
    this.view = view;
    this.preview = new TimelinePreview(pictures);
    this.slider = h(
      "div",
      {
        class: "slider",
        role: "slider",
        tabindex: 0,
        "aria-label": t("timeline", { camera }),
        "aria-describedby": "timeline-help",
      },
      this.canvas,
    );
    this.element = h(
      "div",
      { class: "timeline" },
      this.slider,
      this.preview.element,
      h("p", { id: "timeline-help", class: "visually-hidden" }, t("timelineHelp")),
    );
    const { signal } = this.closing;
    const observer = new ResizeObserver(() => this.draw());
    observer.observe(this.canvas);
    signal.addEventListener("abort", () => observer.disconnect());
    // Without the signal, the document would keep the listener, and so the view, for ever.
    for (const query of ["(prefers-color-scheme: dark)", "(forced-colors: active)"])
      matchMedia(query).addEventListener("change", () => this.draw(), { signal });
    this.slider.addEventListener("keydown", (event) => this.key(event));
    this.slider.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    this.slider.addEventListener("pointerdown", (event) => this.press(event));
    this.slider.addEventListener("pointermove", (event) => this.move(event));
    this.slider.addEventListener("pointerup", (event) => this.release(event));
    this.slider.addEventListener("pointercancel", () => (this.drag = null));
    this.slider.addEventListener("pointerleave", () => this.preview.hide());
  }

  setRecorded(recorded: RecordedRange[]): void {
    this.setRows([recorded]);
  }

  /** What was recorded of several cameras, a row for each. */
  setRows(rows: RecordedRange[][]): void {
    this.rows = rows;
    this.recorded = rows.flat().sort((a, b) => a.start - b.start);
    this.draw();
  }

  setActivity(activity: ActivityScores | null): void {
    this.activity = activity;
    this.draw();
  }

  close(): void {
    this.preview.close();
    this.closing.abort();
  }

  /** Pixels from its one end to the other. */
  get width(): number {
    return this.canvas.clientWidth;
  }

  setEvents(marks: EventMark[]): void {
    this.marks = marks;
    this.draw();
  }

  /** Move the playhead. `isLive`: it is at the live edge. */
  setPlayhead(time: number | null, now: number, isLive: boolean): void {
    this.playhead = time;
    this.now = now;
    if (isLive && !this.drag) {
      // A view that shows the live edge follows it.
      if (this.isLive && this.view.to > now - (this.view.to - this.view.from))
        this.setView(reveal(this.view, now), false);
    }
    this.isLive = isLive;
    const value = Math.round((time ?? now) / 1000);
    this.slider.setAttribute("aria-valuemin", String(Math.round(this.view.from / 1000)));
    this.slider.setAttribute("aria-valuemax", String(Math.round(now / 1000)));
    this.slider.setAttribute("aria-valuenow", String(value));
    this.slider.setAttribute("aria-valuetext", isLive ? t("jumpLive") : `${day(time ?? now)} ${clock(time ?? now)}`);
    this.draw();
  }

  setView(view: View, notify = true): void {
    const changed = view.from !== this.view.from || view.to !== this.view.to;
    this.view = view;
    this.draw();
    if (changed && notify) this.events.viewChanged(view);
  }

  zoom(factor: number): void {
    this.setView(
      zoom(
        this.view,
        factor,
        this.inView(this.playhead ?? this.now) ? (this.playhead ?? this.now) : (this.view.from + this.view.to) / 2,
      ),
    );
  }

  setSelectionEdge(edge: "from" | "to"): void {
    this.selection[edge] = this.playhead ?? this.now;
    const { from, to } = this.selection;
    if (from !== null && to !== null && from > to)
      this.selection = edge === "from" ? { from, to: null } : { from: null, to };
    this.draw();
    this.events.selectionChanged();
  }

  /** Select a minute around the playhead. Its edges can then be dragged. */
  selectAround(): void {
    const at = this.playhead ?? this.now;
    const to = Math.min(at + SELECTION_MS, this.now);
    this.selection = { from: to - 2 * SELECTION_MS, to };
    // Zoom in if the selection would be too narrow to grab its edges.
    const width =
      (toX(this.view, to, this.canvas.clientWidth) - toX(this.view, to - 2 * SELECTION_MS, this.canvas.clientWidth)) /
      (4 * EDGE_PX);
    if (width < 1) this.setView(zoom(this.view, width, at));
    this.draw();
    this.events.selectionChanged();
  }

  clearSelection(): void {
    this.selection = { from: null, to: null };
    this.draw();
    this.events.selectionChanged();
  }

  private inView(time: number): boolean {
    return time >= this.view.from && time <= this.view.to;
  }

  // --- input

  /** Handle a key of the timeline, whichever element has the focus. */
  key(event: KeyboardEvent): void {
    const at = this.playhead ?? this.now;
    const step = event.shiftKey ? 60_000 : 10_000;
    const jumps: Record<string, number> = {
      ArrowLeft: -step,
      ArrowRight: step,
      ArrowDown: -step,
      ArrowUp: step,
      PageDown: -600_000,
      PageUp: 600_000,
    };
    const jump = jumps[event.key];
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    if (jump !== undefined) this.events.seek(at + jump);
    else if (event.key === "Home")
      this.events.seek(this.recorded.find(({ end }) => end > this.view.from)?.start ?? this.view.from);
    else if (event.key === "End") this.events.seekToLiveEdge();
    else if (event.key === "+" || event.key === "=") this.zoom(1 / 2);
    else if (event.key === "-") this.zoom(2);
    else if (event.key === "[") this.setSelectionEdge("from");
    else if (event.key === "]") this.setSelectionEdge("to");
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  private wheel(event: WheelEvent): void {
    event.preventDefault();
    const { clientWidth } = this.canvas;
    const span = this.view.to - this.view.from;
    if (Math.abs(event.deltaX) > Math.abs(event.deltaY))
      this.setView(pan(this.view, (event.deltaX / clientWidth) * span));
    else this.setView(zoom(this.view, 1.0015 ** event.deltaY, toTime(this.view, event.offsetX, clientWidth)));
  }

  private press(event: PointerEvent): void {
    if (event.button !== 0) return;
    const mark = event.shiftKey || event.offsetY < EVENTS_TOP ? null : this.markAt(event.offsetX);
    if (mark) {
      this.events.seekToEvent(mark);
      return;
    }
    this.slider.setPointerCapture(event.pointerId);
    const kind = event.shiftKey ? "select" : (this.edgeAt(event) ?? (event.offsetY < RULER ? "pan" : "seek"));
    this.drag = { x: event.offsetX, view: this.view, kind, moved: false };
    if (kind === "seek") this.seekTo(event.offsetX);
  }

  private move(event: PointerEvent): void {
    const { clientWidth } = this.canvas;
    const x = Math.min(clientWidth, Math.max(0, event.offsetX));
    const { drag } = this;
    const mark = drag || event.offsetY < EVENTS_TOP ? null : this.markAt(x);
    this.showPreview(x, mark);
    if (mark) this.slider.style.cursor = "pointer";
    else if (this.edgeAt(event) || drag?.kind === "from" || drag?.kind === "to") this.slider.style.cursor = "ew-resize";
    else this.slider.style.cursor = event.offsetY < RULER ? "grab" : "";
    if (!drag) return;
    if (Math.abs(event.offsetX - drag.x) > DRAG_PX) drag.moved = true;
    if (!drag.moved) return;
    if (drag.kind === "pan")
      this.setView(pan(drag.view, ((drag.x - event.offsetX) / clientWidth) * (drag.view.to - drag.view.from)));
    else if (drag.kind === "seek") this.seekTo(x);
    else if (drag.kind === "from" || drag.kind === "to") this.dragEdge(drag.kind, toTime(this.view, x, clientWidth));
    else {
      const [a, b] = [toTime(this.view, drag.x, clientWidth), toTime(this.view, x, clientWidth)];
      this.selection = { from: Math.min(a, b), to: Math.min(Math.max(a, b), this.now) };
      this.draw();
      this.events.selectionChanged();
    }
  }

  private markAt(x: number): EventMark | null {
    return markAt(this.marks, this.view, this.canvas.clientWidth, this.now, x);
  }

  /** The edge of the selection under the pointer. */
  private edgeAt({ offsetX, offsetY }: PointerEvent): "from" | "to" | null {
    if (offsetY < RULER || offsetY >= EVENTS_TOP) return null;
    const away = (edge: "from" | "to") => {
      const time = this.selection[edge];
      return time === null ? Infinity : Math.abs(toX(this.view, time, this.canvas.clientWidth) - offsetX);
    };
    const nearest = away("from") < away("to") ? "from" : "to";
    return away(nearest) <= EDGE_PX ? nearest : null;
  }

  private dragEdge(edge: "from" | "to", time: number): void {
    const { from, to } = this.selection;
    const wanted = Math.min(time, this.now);
    // The selection is one second long at least.
    if (edge === "from") this.selection = { from: to === null ? wanted : Math.min(wanted, to - 1000), to };
    else this.selection = { from, to: from === null ? wanted : Math.max(wanted, from + 1000) };
    this.draw();
    this.events.selectionChanged();
  }

  private release(event: PointerEvent): void {
    const { drag } = this;
    this.drag = null;
    if (drag?.kind === "pan" && !drag.moved) this.seekTo(event.offsetX);
  }

  private seekTo(x: number): void {
    this.events.seek(toTime(this.view, x, this.canvas.clientWidth));
  }

  /** Show the picture of the time at `x`, or that of the start of an event. */
  private showPreview(x: number, mark: EventMark | null): void {
    const { view, width, now } = this;
    const time = mark?.start ?? toTime(view, x, width);
    this.preview.show({ x, time, mark, now, width, msPerPx: (view.to - view.from) / Math.max(1, width) });
  }

  // --- output

  private draw(): void {
    const { canvas, view, rows, activity, marks, now, selection, isLive } = this;
    const width = canvas.clientWidth;
    const context = canvas.getContext("2d");
    if (!context || width === 0) return;
    const ratio = devicePixelRatio;
    if (canvas.width !== Math.round(width * ratio)) canvas.width = Math.round(width * ratio);
    if (canvas.height !== Math.round(HEIGHT * ratio)) canvas.height = Math.round(HEIGHT * ratio);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    const playhead = this.playhead ?? (isLive ? now : null);
    paint(context, getComputedStyle(this.slider), width, {
      view,
      rows,
      activity,
      marks,
      now,
      selection,
      playhead,
      isLive,
    });
  }
}
