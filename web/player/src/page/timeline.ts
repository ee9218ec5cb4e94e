// The strip of time: what was recorded, where we are, what is marked. A slider for keyboards and screen readers, a canvas
// for the eye.

import { mergeRanges, pan, type RecordedRange, reveal, toTime, toX, type View, zoom } from "../core/timeline.ts";
import { h, setText } from "./dom.ts";
import { clock, day } from "./format.ts";
import { t } from "./i18n.ts";
import { HEIGHT, paint, RULER, type Selection } from "./timeline-canvas.ts";

const DRAG_PX = 4;
/** A finger takes hold of an edge from so far. */
const EDGE_PX = 12;
/** What is marked first around the picture that is seen, to either side. */
const MARK_MS = 30_000;
/** A pointer that rests so long wants to know exactly. */
const REST_MS = 120;

export interface TimelineEvents {
  /** Somebody wants to be there. */
  seek(time: number): void;
  live(): void;
  viewed(view: View): void;
  marked(): void;
  /** A picture of about that time, at once. */
  thumbnail(time: number): string | null;
  /** The picture of that moment. */
  picture(time: number, signal: AbortSignal): Promise<Blob | null>;
}

export class Timeline {
  readonly element: HTMLElement;
  view: View;
  /** The stretch to be saved. */
  mark: Selection = { from: null, to: null };
  private readonly canvas = h("canvas", { "aria-hidden": "true" });
  private readonly bubbleImage = h("img", { alt: "", hidden: true });
  private readonly bubbleTime = h("span", {});
  private readonly bubble = h("div", { class: "bubble", hidden: true }, this.bubbleImage, this.bubbleTime);
  private readonly slider: HTMLElement;
  private recorded: RecordedRange[] = [];
  private playhead: number | null = null;
  private now = Date.now();
  private isLive = true;
  private resting = 0;
  private looking = new AbortController();
  private blobUrl = "";
  private drag: { x: number; view: View; kind: "seek" | "pan" | "mark" | "from" | "to"; moved: boolean } | null = null;

  constructor(
    camera: string,
    view: View,
    private readonly events: TimelineEvents,
  ) {
    this.view = view;
    this.slider = h(
      "div",
      {
        class: "strip",
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
      this.bubble,
      h("p", { id: "timeline-help", class: "sr" }, t("timelineHelp")),
    );
    new ResizeObserver(() => this.draw()).observe(this.canvas);
    for (const query of ["(prefers-color-scheme: dark)", "(forced-colors: active)"])
      matchMedia(query).addEventListener("change", () => this.draw());
    this.slider.addEventListener("keydown", (event) => this.key(event));
    this.slider.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    this.slider.addEventListener("pointerdown", (event) => this.press(event));
    this.slider.addEventListener("pointermove", (event) => this.move(event));
    this.slider.addEventListener("pointerup", (event) => this.release(event));
    this.slider.addEventListener("pointercancel", () => (this.drag = null));
    this.slider.addEventListener("pointerleave", () => this.leave());
  }

  setRecorded(recorded: RecordedRange[]): void {
    this.recorded = mergeRanges(recorded);
    this.draw();
  }

  /** Where the picture is from; `isLive` where it is the live edge. */
  setPlayhead(time: number | null, now: number, isLive: boolean): void {
    this.playhead = time;
    this.now = now;
    if (isLive && !this.drag) {
      // Live moves; whoever looks at it moves along.
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

  setView(view: View, tell = true): void {
    const changed = view.from !== this.view.from || view.to !== this.view.to;
    this.view = view;
    this.draw();
    if (changed && tell) this.events.viewed(view);
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

  setMark(edge: "from" | "to"): void {
    this.mark[edge] = this.playhead ?? this.now;
    const { from, to } = this.mark;
    if (from !== null && to !== null && from > to)
      this.mark = edge === "from" ? { from, to: null } : { from: null, to };
    this.draw();
    this.events.marked();
  }

  /** Selection a minute around the picture, to be dragged to size. */
  markHere(): void {
    const at = this.playhead ?? this.now;
    const to = Math.min(at + MARK_MS, this.now);
    this.mark = { from: to - 2 * MARK_MS, to };
    // Where it would be too small to be taken hold of, nearer.
    const width =
      (toX(this.view, to, this.canvas.clientWidth) - toX(this.view, to - 2 * MARK_MS, this.canvas.clientWidth)) /
      (4 * EDGE_PX);
    if (width < 1) this.setView(zoom(this.view, width, at));
    this.draw();
    this.events.marked();
  }

  clearMark(): void {
    this.mark = { from: null, to: null };
    this.draw();
    this.events.marked();
  }

  private inView(time: number): boolean {
    return time >= this.view.from && time <= this.view.to;
  }

  // --- hands

  /** A key that is meant for the strip, wherever it was pressed. */
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
    else if (event.key === "End") this.events.live();
    else if (event.key === "+" || event.key === "=") this.zoom(1 / 2);
    else if (event.key === "-") this.zoom(2);
    else if (event.key === "[") this.setMark("from");
    else if (event.key === "]") this.setMark("to");
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
    this.slider.setPointerCapture(event.pointerId);
    const kind = event.shiftKey ? "mark" : (this.edgeAt(event) ?? (event.offsetY < RULER ? "pan" : "seek"));
    this.drag = { x: event.offsetX, view: this.view, kind, moved: false };
    if (kind === "seek") this.seekTo(event.offsetX);
  }

  private move(event: PointerEvent): void {
    const { clientWidth } = this.canvas;
    const x = Math.min(clientWidth, Math.max(0, event.offsetX));
    this.hover(x);
    const { drag } = this;
    this.slider.style.cursor =
      this.edgeAt(event) || drag?.kind === "from" || drag?.kind === "to"
        ? "ew-resize"
        : event.offsetY < RULER
          ? "grab"
          : "";
    if (!drag) return;
    if (Math.abs(event.offsetX - drag.x) > DRAG_PX) drag.moved = true;
    if (!drag.moved) return;
    if (drag.kind === "pan")
      this.setView(pan(drag.view, ((drag.x - event.offsetX) / clientWidth) * (drag.view.to - drag.view.from)));
    else if (drag.kind === "seek") this.seekTo(x);
    else if (drag.kind === "from" || drag.kind === "to") this.dragEdge(drag.kind, toTime(this.view, x, clientWidth));
    else {
      const [a, b] = [toTime(this.view, drag.x, clientWidth), toTime(this.view, x, clientWidth)];
      this.mark = { from: Math.min(a, b), to: Math.min(Math.max(a, b), this.now) };
      this.draw();
      this.events.marked();
    }
  }

  /** The edge of the marked stretch that is pointed at. */
  private edgeAt({ offsetX, offsetY }: PointerEvent): "from" | "to" | null {
    if (offsetY < RULER) return null;
    const away = (edge: "from" | "to") => {
      const time = this.mark[edge];
      return time === null ? Infinity : Math.abs(toX(this.view, time, this.canvas.clientWidth) - offsetX);
    };
    const nearest = away("from") < away("to") ? "from" : "to";
    return away(nearest) <= EDGE_PX ? nearest : null;
  }

  private dragEdge(edge: "from" | "to", time: number): void {
    const { from, to } = this.mark;
    const wanted = Math.min(time, this.now);
    // Never past the other one: a second remains.
    if (edge === "from") this.mark = { from: to === null ? wanted : Math.min(wanted, to - 1000), to };
    else this.mark = { from, to: from === null ? wanted : Math.max(wanted, from + 1000) };
    this.draw();
    this.events.marked();
  }

  private release(event: PointerEvent): void {
    const { drag } = this;
    this.drag = null;
    if (drag?.kind === "pan" && !drag.moved) this.seekTo(event.offsetX);
  }

  private seekTo(x: number): void {
    this.events.seek(toTime(this.view, x, this.canvas.clientWidth));
  }

  private hover(x: number): void {
    const { clientWidth } = this.canvas;
    const time = toTime(this.view, x, clientWidth);
    setText(this.bubbleTime, clock(time));
    const thumbnail = this.events.thumbnail(time);
    if (thumbnail !== null && this.bubbleImage.hidden) this.bubbleImage.src = thumbnail;
    this.bubbleImage.hidden = thumbnail === null;
    this.leave();
    if (thumbnail !== null) this.resting = window.setTimeout(() => void this.look(time), REST_MS);
    this.bubble.hidden = false;
    const half = this.bubble.offsetWidth / 2;
    this.bubble.style.left = `${Math.min(clientWidth - half, Math.max(half, x))}px`;
  }

  private leave(): void {
    this.bubble.hidden = true;
    clearTimeout(this.resting);
    this.looking.abort();
  }

  private async look(time: number): Promise<void> {
    this.looking = new AbortController();
    const { signal } = this.looking;
    try {
      const picture = await this.events.picture(time, signal);
      if (!picture || signal.aborted) return;
      URL.revokeObjectURL(this.blobUrl);
      this.bubbleImage.src = this.blobUrl = URL.createObjectURL(picture);
    } catch {
      // The thumbnail must do.
    }
  }

  // --- eyes

  private draw(): void {
    const { canvas, view, recorded, now, mark, isLive } = this;
    const width = canvas.clientWidth;
    const context = canvas.getContext("2d");
    if (!context || width === 0) return;
    const ratio = devicePixelRatio;
    if (canvas.width !== Math.round(width * ratio)) canvas.width = Math.round(width * ratio);
    if (canvas.height !== Math.round(HEIGHT * ratio)) canvas.height = Math.round(HEIGHT * ratio);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    const head = this.playhead ?? (isLive ? now : null);
    paint(context, getComputedStyle(this.slider), width, { view, recorded, now, mark, head, isLive });
  }
}
