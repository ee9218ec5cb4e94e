// The timeline: what was recorded, the playhead, and the selection. It is a slider for keyboards and screen readers, and a
// canvas for everybody else.

import type { ActivityScores } from "../core/activity.ts";
import { type EventMark, markAt } from "../core/event-marks.ts";
import { PreviewFrames } from "../core/preview-frames.ts";
import { pan, type RecordedRange, reveal, toTime, toX, type View, zoom } from "../core/timeline.ts";
import { h, setText } from "./dom.ts";
import { whenOf } from "./event-list.ts";
import { clock, day } from "./format.ts";
import { t } from "./i18n.ts";
import { EVENTS_TOP, HEIGHT, paint, RULER, type Selection } from "./timeline-canvas.ts";

const DRAG_PX = 4;
/** An edge of the selection can be grabbed from this distance, which suits a finger. */
const EDGE_PX = 12;
/** How much a new selection covers before and after the playhead. */
const SELECTION_MS = 30_000;
/** A pointer that rests for so long loads the exact frame. */
const HOVER_MS = 120;
/** While it moves, pictures are loaded for each so many pixels, and no nearer than PREVIEW_MIN_MS. */
const PREVIEW_PX = 8;
const PREVIEW_MIN_MS = 1000;

export interface TimelineEvents {
  seek(time: number): void;
  seekToLiveEdge(): void;
  seekToEvent(mark: EventMark): void;
  viewChanged(view: View): void;
  selectionChanged(): void;
  /** URL of an image from about that time; null if there is none yet. */
  thumbnail(time: number): string | null;
  /** The frame at that time. */
  frame(time: number, signal: AbortSignal): Promise<Blob | null>;
}

export class Timeline {
  readonly element: HTMLElement;
  view: View;
  /** The selected time range, for a clip. */
  selection: Selection = { from: null, to: null };
  private readonly canvas = h("canvas", { "aria-hidden": "true" });
  private readonly previewImage = h("img", { alt: "", hidden: true });
  private readonly previewTime = h("span", {});
  private readonly previewEvent = h("b", {});
  private readonly preview = h(
    "div",
    { class: "preview", hidden: true },
    this.previewImage,
    this.previewEvent,
    this.previewTime,
  );
  private readonly slider: HTMLElement;
  private recorded: RecordedRange[] = [];
  private rows: RecordedRange[][] = [];
  private activity: ActivityScores | null = null;
  private marks: EventMark[] = [];
  private playhead: number | null = null;
  private now = Date.now();
  private isLive = true;
  private hoverTimer = 0;
  private readonly closing = new AbortController();
  private readonly frames = new PreviewFrames(
    (time) => this.events.frame(time, this.closing.signal),
    () => this.showFrame(),
  );
  /** The time of the preview; null while it is hidden. */
  private previewed: number | null = null;
  private frameRequest = new AbortController();
  private blobUrl = "";
  private drag: { x: number; view: View; kind: "seek" | "pan" | "select" | "from" | "to"; moved: boolean } | null =
    null;

  constructor(
    camera: string,
    view: View,
    private readonly events: TimelineEvents,
  ) {
    this.view = view;
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
      this.preview,
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
    this.slider.addEventListener("pointerleave", () => this.hidePreview());
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
    this.hidePreview();
    this.closing.abort();
    this.frames.clear();
    URL.revokeObjectURL(this.blobUrl);
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
    const { clientWidth } = this.canvas;
    const time = mark?.start ?? toTime(this.view, x, clientWidth);
    setText(this.previewEvent, mark?.label ?? "");
    setText(this.previewTime, mark ? whenOf(mark, this.now) : clock(time));
    const thumbnail = this.events.thumbnail(time);
    if (thumbnail !== null && this.previewImage.hidden) this.previewImage.src = thumbnail;
    this.previewImage.hidden = thumbnail === null;
    this.hidePreview();
    this.previewed = thumbnail === null ? null : time;
    this.showFrame();
    if (thumbnail !== null) this.hoverTimer = window.setTimeout(() => void this.loadFrame(time), HOVER_MS);
    this.preview.hidden = false;
    const half = this.preview.offsetWidth / 2;
    this.preview.style.left = `${Math.min(clientWidth - half, Math.max(half, x))}px`;
  }

  /** Show the picture of the time of the preview, if it was loaded, or load it. */
  private showFrame(): void {
    if (this.previewed === null) return;
    const step = ((this.view.to - this.view.from) / Math.max(1, this.width)) * PREVIEW_PX;
    const url = this.frames.url(this.previewed, Math.max(PREVIEW_MIN_MS, Math.round(step)));
    if (url !== null) this.previewImage.src = url;
  }

  private hidePreview(): void {
    this.preview.hidden = true;
    this.previewed = null;
    this.frames.rest();
    clearTimeout(this.hoverTimer);
    this.frameRequest.abort();
  }

  private async loadFrame(time: number): Promise<void> {
    this.frameRequest = new AbortController();
    const { signal } = this.frameRequest;
    try {
      const image = await this.events.frame(time, signal);
      if (!image || signal.aborted) return;
      URL.revokeObjectURL(this.blobUrl);
      this.previewImage.src = this.blobUrl = URL.createObjectURL(image);
      // It is the exact one: none of a step takes its place.
      this.previewed = null;
    } catch {
      // The thumbnail stays.
    }
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
