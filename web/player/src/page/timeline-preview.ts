// The picture beside the pointer on a timeline: first the nearest thumbnail, while the pointer moves a picture of each step,
// and where it rests the frame of its pixel. All frames are kept: a second pass over the same times loads none.

import type { EventMark } from "../core/event-marks.ts";
import { PreviewFrames } from "../core/preview-frames.ts";
import { h, setText } from "./dom.ts";
import { whenOf } from "./event-list.ts";
import { clock } from "./format.ts";

/** A pointer that rests for so long loads the frame of its pixel. */
const HOVER_MS = 120;
/** Frames are no nearer to each other. */
const FRAME_MS = 40;
/** While it moves, pictures are loaded for each so many pixels, and no nearer than STEP_MIN_MS. */
const STEP_PX = 8;
const STEP_MIN_MS = 1000;

export interface PreviewPictures {
  /** URL of an image from about that time; null if there is none yet. */
  thumbnail(time: number): string | null;
  /** The frame at that time. */
  frame(time: number, signal: AbortSignal): Promise<Blob | null>;
}

/** Where the pointer is on the timeline. */
export interface PreviewPlace {
  x: number;
  /** The time there, or that of the event. */
  time: number;
  mark: EventMark | null;
  now: number;
  /** Of the timeline, px. */
  width: number;
  /** Of one pixel. */
  msPerPx: number;
}

export class TimelinePreview {
  private readonly image = h("img", { alt: "", hidden: true });
  private readonly time = h("span", {});
  private readonly event = h("b", {});
  readonly element = h("div", { class: "preview", hidden: true }, this.image, this.event, this.time);
  private readonly closing = new AbortController();
  private readonly frames: PreviewFrames;
  private hoverTimer = 0;
  /** The time of the picture, and the step of what is loaded while the pointer moves; null while it is hidden. */
  private shown: { time: number; stepMs: number } | null = null;
  private thumbnail = "";

  constructor(private readonly pictures: PreviewPictures) {
    this.frames = new PreviewFrames(
      (time) => pictures.frame(time, this.closing.signal),
      () => this.showFrame(),
    );
  }

  show({ x, time, mark, now, width, msPerPx }: PreviewPlace): void {
    setText(this.event, mark?.label ?? "");
    setText(this.time, mark ? whenOf(mark, now) : clock(time));
    const thumbnail = this.pictures.thumbnail(time);
    // The picture of another time stays only while the pointer moves within one file of the recording.
    const isElsewhere = this.element.hidden || this.image.hidden || thumbnail !== this.thumbnail;
    if (thumbnail !== null && isElsewhere) this.image.src = this.thumbnail = thumbnail;
    this.image.hidden = thumbnail === null;
    this.hide();
    if (thumbnail !== null) {
      this.shown = { time, stepMs: Math.max(STEP_MIN_MS, Math.round(msPerPx * STEP_PX)) };
      this.hoverTimer = window.setTimeout(() => {
        this.shown = { time, stepMs: Math.max(FRAME_MS, Math.round(msPerPx)) };
        this.showFrame();
      }, HOVER_MS);
    }
    this.showFrame();
    this.element.hidden = false;
    const half = this.element.offsetWidth / 2;
    this.element.style.left = `${Math.min(width - half, Math.max(half, x))}px`;
  }

  hide(): void {
    this.element.hidden = true;
    this.shown = null;
    this.frames.rest();
    clearTimeout(this.hoverTimer);
  }

  close(): void {
    this.hide();
    this.closing.abort();
    this.frames.clear();
  }

  /** Show the picture of that time, if it was loaded, or load it. */
  private showFrame(): void {
    if (this.shown === null) return;
    const url = this.frames.url(this.shown.time, this.shown.stepMs);
    if (url !== null) this.image.src = url;
  }
}
