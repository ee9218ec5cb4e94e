// One camera, large, with all that there is to know and to do: live, its past, its files.

import { ApiError } from "../core/api.ts";
import { dayOf, type RecordedRange, recordedDuration, reveal, type View } from "../core/timeline.ts";
import { toggleFullscreen } from "../fullscreen.ts";
import { type Icon, icon } from "../icons.ts";
import type { LiveEdgePlayer, Statistics } from "../player.ts";
import { clipPath, pictureAt, pictureLink, type Segment, save, saveBlob, segmentsOf } from "./archive.ts";
import { Details } from "./details.ts";
import { h, setText } from "./dom.ts";
import { clock, day, length } from "./format.ts";
import { language, type PageMessageKey, t } from "./i18n.ts";
import { Plots } from "./plots.ts";
import { Recordings } from "./recordings.ts";
import { store } from "./store.ts";
import { Timeline } from "./timeline.ts";

const HOUR_MS = 3_600_000;
const RELOAD_MS = 10_000;
const SETTLE_MS = 150;
const THUMBNAIL_PX = 384;
const PLAYHEAD_MS = 200;
const SPEEDS = [0.5, 1, 2, 4, 8];
/** Less than this recorded today, and the day is too wide a view to begin with. */
const DAY_WORTH_MS = 2 * HOUR_MS;

export class CameraView {
  readonly element: HTMLElement;
  readonly player: LiveEdgePlayer;
  private readonly ending = new AbortController();
  private readonly details: Details;
  private readonly plots = new Plots();
  private readonly timeline: Timeline;
  private readonly recordings: Recordings;
  private readonly playButton = this.button("pause", "pause", () => this.playOrPause());
  private readonly back = this.button("stepBack", "stepBack", () => this.player.step(-1));
  private readonly forward = this.button("stepForward", "stepForward", () => this.player.step(1));
  private readonly speed: HTMLSelectElement;
  private readonly liveButton = h(
    "button",
    { type: "button", class: "live", onclick: () => this.goLive() },
    t("jumpLive"),
  );
  private readonly time = h("output", { class: "time" });
  private readonly dayLabel = h("span", { class: "day" });
  private readonly clip = h(
    "button",
    { type: "button", class: "primary", hidden: true, onclick: () => this.saveClip() },
    icon("download"),
    t("saveClip"),
  );
  private readonly markFrom = this.button("markIn", "clipFrom", () => this.timeline.setMark("from"));
  private readonly markTo = this.button("markOut", "clipTo", () => this.timeline.setMark("to"));
  /** Gives way to what can be done with a marked stretch, so that the strip stays where it is. */
  private readonly legend = h(
    "span",
    { class: "legends" },
    ...(["legendRecorded", "legendProtected", "legendMissing"] as const).map((word) =>
      h("span", { class: `legend ${word}` }, t(word)),
    ),
  );
  private readonly cut = this.button("cut", "cut", () => this.timeline.markHere());
  private readonly clear = this.button("close", "clear", () => this.timeline.clearMark());
  private readonly marked = h("span", { class: "quiet" });
  private readonly message = h("p", { class: "message", role: "status" });
  private segments: Segment[] = [];
  private settle = 0;
  private firstView = true;

  constructor(readonly id: string) {
    this.details = new Details(id);
    this.player = h("live-edge-player" as "div", {
      camera: id,
      lang: language,
      controls: true,
    }) as unknown as LiveEdgePlayer;
    if (store.api.token) this.player.token = store.api.token;
    this.player.addEventListener("statistics", (event) =>
      this.plots.add((event as CustomEvent<Statistics>).detail, !this.isLive),
    );
    this.speed = h(
      "select",
      {
        "aria-label": t("speed"),
        title: t("speed"),
        onchange: () => (this.player.playbackRate = Number(this.speed.value)),
      },
      ...SPEEDS.map((speed) => h("option", { value: speed, selected: speed === 1 }, `${speed}×`)),
    );
    const now = Date.now();
    this.timeline = new Timeline(
      id,
      { from: now - 0.95 * HOUR_MS, to: now + 0.05 * HOUR_MS },
      {
        seek: (time) => this.seek(time),
        live: () => this.goLive(),
        viewed: () => this.reloadSoon(),
        marked: () => this.showMark(),
        thumbnail: (time) => this.thumbnail(time),
        picture: (time, signal) => pictureAt(id, time, THUMBNAIL_PX, signal),
      },
    );
    this.recordings = new Recordings(
      id,
      (time) => this.seek(time),
      () => void this.reload(),
      (error) => this.fail(error),
    );
    this.element = this.build();
    this.showMark();
    const { signal } = this.ending;
    const every = (ms: number, act: () => void) => {
      const timer = setInterval(act, ms);
      signal.addEventListener("abort", () => clearInterval(timer));
    };
    every(PLAYHEAD_MS, () => this.follow());
    every(RELOAD_MS, () => document.hidden || void this.reload());
    document.addEventListener("keydown", (event) => this.key(event), { signal });
    void this.reload();
    this.follow();
  }

  update(): void {
    const { width, height } = store.camera(this.id) ?? {};
    if (width && height) this.element.style.setProperty("--aspect", `${width} / ${height}`);
    this.details.update();
  }

  close(): void {
    this.ending.abort();
    clearTimeout(this.settle);
  }

  private build(): HTMLElement {
    return h(
      "main",
      { class: "single" },
      h("div", { class: "bar" }, h("a", { href: "#/", class: "back" }, icon("back"), t("back")), h("h2", {}, this.id)),
      h("div", { class: "stage" }, this.player),
      h(
        "section",
        { class: "card time", hidden: !store.may("archive") },
        h(
          "div",
          { class: "tools" },
          this.playButton,
          this.back,
          this.forward,
          this.speed,
          this.liveButton,
          this.time,
          h("span", { class: "spring" }),
          this.cut,
          this.button("camera", "savePicture", () => void this.savePicture()),
        ),
        this.timeline.element,
        h(
          "div",
          { class: "tools foot" },
          this.button("back", "previousDay", () => this.turn(-1)),
          this.dayLabel,
          this.button("next", "nextDay", () => this.turn(1)),
          h("span", { class: "spring" }),
          this.legend,
          this.marked,
          this.clip,
          this.markFrom,
          this.markTo,
          this.clear,
          this.button("zoomOut", "zoomOut", () => this.timeline.zoom(2)),
          this.button("zoomIn", "zoomIn", () => this.timeline.zoom(1 / 2)),
        ),
        this.message,
      ),
      h("aside", {}, this.details.element, this.plots.element, store.may("archive") && this.recordings.element),
    );
  }

  private button(symbol: Icon, word: PageMessageKey, act: () => void): HTMLButtonElement {
    return h(
      "button",
      { type: "button", class: "icon", title: t(word), "aria-label": t(word), onclick: act },
      icon(symbol),
    );
  }

  // --- playing

  private get isLive(): boolean {
    return this.player.state.mode !== "recording";
  }

  private seek(time: number): void {
    setText(this.message, "");
    void this.player.seek(time).catch((error: unknown) => this.fail(error));
    this.follow();
  }

  private goLive(): void {
    setText(this.message, "");
    this.speed.value = "1";
    this.player.goLive();
    this.timeline.setView(reveal(this.timeline.view, Date.now()));
    this.follow();
  }

  private playOrPause(): void {
    if (this.player.paused) this.player.play();
    else this.player.pause();
    this.follow();
  }

  /** Everything that depends on where the picture is. */
  private follow(): void {
    const { isLive, player } = this;
    const time = player.currentTime;
    const now = Date.now();
    this.timeline.setPlayhead(isLive ? now : time, now, isLive);
    const shown = time ?? now;
    setText(this.time, isLive ? clock(shown) : `${day(shown)} ${clock(shown)}`);
    const { from, to } = this.timeline.view;
    setText(this.dayLabel, day((from + to) / 2));
    this.liveButton.setAttribute("aria-pressed", String(isLive));
    // It comes to live by itself, and a recording begins at its natural speed.
    const rate = String(player.playbackRate);
    if (this.speed.value !== rate && document.activeElement !== this.speed) this.speed.value = rate;
    for (const control of [this.back, this.forward, this.speed]) control.disabled = isLive;
    const word = player.paused ? "play" : "pause";
    if (this.playButton.dataset.word !== word) {
      this.playButton.dataset.word = word;
      this.playButton.replaceChildren(icon(word));
      this.playButton.title = this.playButton.ariaLabel = t(word);
    }
  }

  private key(event: KeyboardEvent): void {
    const { tagName } = event.target as HTMLElement;
    if (
      event.defaultPrevented ||
      event.ctrlKey ||
      event.altKey ||
      event.metaKey ||
      document.querySelector("dialog[open]")
    )
      return;
    if (/^(INPUT|SELECT)$/.test(tagName) || (event.key === " " && /^(BUTTON|A)$/.test(tagName))) return;
    if (["ArrowLeft", "ArrowRight", "[", "]", "+", "=", "-"].includes(event.key)) {
      this.timeline.key(event);
      return;
    }
    if (event.key === " ") this.playOrPause();
    else if (event.key === "," && !this.isLive) this.player.step(-1);
    else if (event.key === "." && !this.isLive) this.player.step(1);
    else if (event.key.toLowerCase() === "l") this.goLive();
    else if (event.key.toLowerCase() === "f") toggleFullscreen(this.player, this.player.surface);
    else return;
    event.preventDefault();
  }

  // --- the past

  private turn(days: number): void {
    const { from, to } = this.timeline.view;
    const date = new Date((from + to) / 2);
    date.setDate(date.getDate() + days);
    this.timeline.setView(dayOf(date.getTime()));
  }

  private reloadSoon(): void {
    clearTimeout(this.settle);
    this.settle = window.setTimeout(() => void this.reload(), SETTLE_MS);
  }

  private async reload(): Promise<void> {
    const { view } = this.timeline;
    const today = dayOf((view.from + view.to) / 2);
    const range: View = { from: Math.min(view.from, today.from), to: Math.max(view.to, today.to) };
    try {
      this.segments = await segmentsOf(this.id, range, this.ending.signal);
    } catch (error) {
      if (error instanceof ApiError && error.status !== 404) this.fail(error);
      return;
    }
    const recorded: RecordedRange[] = this.segments.map(({ start, end, protected: isProtected }) => ({
      start: Date.parse(start),
      end: Date.parse(end),
      isProtected,
    }));
    this.timeline.setRecorded(recorded);
    this.recordings.show(this.segments);
    if (this.firstView) {
      this.firstView = false;
      if (recordedDuration(recorded, today.from, today.to) > DAY_WORTH_MS) this.timeline.setView(today);
    }
  }

  private thumbnail(time: number): string | null {
    const segment = this.segments.find(({ start, end }) => Date.parse(start) <= time && time < Date.parse(end));
    return segment ? pictureLink(segment.thumbnail) : null;
  }

  private showMark(): void {
    const { from, to } = this.timeline.mark;
    const isWhole = from !== null && to !== null;
    this.clip.hidden = !isWhole;
    const isMarking = from !== null || to !== null;
    this.cut.disabled = this.legend.hidden = isMarking;
    this.clear.hidden = this.markFrom.hidden = this.markTo.hidden = this.marked.hidden = !isMarking;
    setText(this.marked, isWhole ? t("clipLength", { length: length(to - from) }) : "");
  }

  private saveClip(): void {
    const { from, to } = this.timeline.mark;
    if (from === null || to === null) return;
    const name = `${this.id}_${new Date(from).toISOString().replace(/[-:]|\.\d+/g, "")}.mp4`;
    void save(clipPath(this.id, from, to), name).catch((error: unknown) => this.fail(error));
  }

  private async savePicture(): Promise<void> {
    const picture = await this.player.capture();
    if (picture)
      saveBlob(
        picture,
        `${this.id}_${new Date(this.player.currentTime ?? Date.now()).toISOString().replace(/[-:]|\.\d+/g, "")}.jpg`,
      );
  }

  private fail(error: unknown): void {
    if (error instanceof DOMException && error.name === "AbortError") return;
    setText(this.message, t("failed", { message: error instanceof Error ? error.message : String(error) }));
  }
}
