// The controls of a clip: select it in the timeline, save it, or export it.

import { icon } from "../icons.ts";
import { clipPath, fileTime, save } from "./archive.ts";
import { h, setText } from "./dom.ts";
import { exportsHash } from "./exports.ts";
import { t as exportsWord } from "./exports-i18n.ts";
import { duration } from "./format.ts";
import { t } from "./i18n.ts";
import { iconButton } from "./icon-button.ts";
import { store } from "./store.ts";
import type { Timeline } from "./timeline.ts";

/** What is exported where nothing is selected: the minutes around the moment that is shown. */
const EXPORT_MS = 5 * 60_000;

export class ClipControls {
  /** Begins a selection. */
  readonly selectButton: HTMLButtonElement;
  /** Leads to the view of exports, with the selection, or else the minutes around the moment that is shown. */
  readonly exportButton: HTMLButtonElement;
  /** What is shown during a selection. */
  readonly elements: readonly HTMLElement[];
  private readonly label = h("span", { class: "muted" });
  private readonly saveButton: HTMLButtonElement;

  /** `at`: the moment that is shown, ms. A clip can be saved of one camera. */
  constructor(
    private readonly cameras: readonly string[],
    private readonly timeline: Timeline,
    private readonly at: () => number,
    private readonly failed: (error: unknown) => void,
  ) {
    this.selectButton = iconButton("cut", "cut", () => timeline.selectAround());
    const word = exportsWord("exportRecordings");
    this.exportButton = h(
      "button",
      { type: "button", class: "icon", title: word, "aria-label": word, onclick: () => this.export() },
      icon("export"),
    );
    this.saveButton = h(
      "button",
      { type: "button", class: "primary", hidden: true, onclick: () => this.save() },
      icon("download"),
      t("saveClip"),
    );
    this.elements = [
      this.label,
      this.saveButton,
      iconButton("markIn", "clipFrom", () => timeline.setSelectionEdge("from")),
      iconButton("markOut", "clipTo", () => timeline.setSelectionEdge("to")),
      iconButton("close", "clear", () => timeline.clearSelection()),
    ];
  }

  get isSelecting(): boolean {
    const { from, to } = this.timeline.selection;
    return from !== null || to !== null;
  }

  /** The selection has changed. */
  update(): void {
    const { from, to } = this.timeline.selection;
    const isComplete = from !== null && to !== null;
    const { isSelecting } = this;
    for (const element of this.elements) element.hidden = !isSelecting;
    this.saveButton.hidden = !isComplete || this.cameras.length !== 1;
    this.selectButton.disabled = isSelecting;
    setText(this.label, isComplete ? t("clipLength", { length: duration(to - from) }) : "");
  }

  export(): void {
    const { from, to } = this.timeline.selection;
    const { now } = store;
    const end = to ?? Math.min(from === null ? this.at() + EXPORT_MS / 2 : from + EXPORT_MS, now);
    location.hash = exportsHash(this.cameras, from ?? end - EXPORT_MS, end);
  }

  private save(): void {
    const { from, to } = this.timeline.selection;
    const [camera] = this.cameras;
    if (from === null || to === null || camera === undefined) return;
    void save(clipPath(camera, from, to), `${camera}_${fileTime(from)}.mp4`).catch(this.failed);
  }
}
