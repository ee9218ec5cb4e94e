// One camera: its player, timeline, details, statistics, events and recordings.

import { ApiError } from "../core/api.ts";
import type { EventMark } from "../core/event-marks.ts";
import { cameraHash } from "../core/route.ts";
import { RATES } from "../core/shared-clock.ts";
import { dayBeside, dayOf, firstView, listedRange, mergeRanges, reveal } from "../core/timeline.ts";
import { toggleFullscreen } from "../fullscreen.ts";
import type { Segment } from "../generated/api.ts";
import { icon } from "../icons.ts";
import type { LiveEdgePlayer, Statistics } from "../player.ts";
import { activityIn, findActivity } from "./activity.ts";
import { clipPath, frameAt, imageUrl, rangeOf, save, saveBlob, segmentsOf } from "./archive.ts";
import { Details } from "./details.ts";
import { h, setText } from "./dom.ts";
import { EventList, eventsIn } from "./event-list.ts";
import { exportsHash } from "./exports.ts";
import { t as exportsWord } from "./exports-i18n.ts";
import { clock, day, duration } from "./format.ts";
import { language, t } from "./i18n.ts";
import { iconButton, showPlayOrPause } from "./icon-button.ts";
import { copyLink } from "./moment-link.ts";
import { MomentPicker } from "./moment-picker.ts";
import { Plots } from "./plots.ts";
import { PtzPanel } from "./ptz.ts";
import { Recordings } from "./recordings.ts";
import { nameOf, store } from "./store.ts";
import { Timeline } from "./timeline.ts";

const HOUR_MS = 3_600_000;
const RELOAD_MS = 10_000;
/** Events are polled: a stream would keep one of the six connections that a browser has. */
const EVENTS_MS = 3000;
const RELOAD_DELAY_MS = 150;
const THUMBNAIL_PX = 384;
const PLAYHEAD_MS = 200;
/** What is exported where nothing is selected: the last minutes in the view. */
const EXPORT_MS = 5 * 60_000;

export class CameraView {
  readonly element: HTMLElement;
  readonly player: LiveEdgePlayer;
  private readonly closing = new AbortController();
  private readonly details: Details;
  private readonly ptz: PtzPanel;
  private readonly plots = new Plots();
  private readonly timeline: Timeline;
  private readonly recordings: Recordings;
  private readonly eventList = new EventList((mark) => this.seekToEvent(mark));
  private eventsRequest = new AbortController();
  private activityRequest = new AbortController();
  private isLoadingEvents = false;
  private readonly playButton = iconButton("pause", "pause", () => this.playOrPause());
  private readonly back = iconButton("stepBack", "stepBack", () => this.player.step(-1));
  private readonly forward = iconButton("stepForward", "stepForward", () => this.player.step(1));
  private readonly speed: HTMLSelectElement;
  private readonly liveButton = h(
    "button",
    { type: "button", class: "live", onclick: () => this.seekToLiveEdge() },
    t("jumpLive"),
  );
  private readonly heading = h("h2", {});
  private readonly time = h("output", { class: "time" });
  private readonly picker = new MomentPicker({
    cameras: () => [this.id],
    at: () => this.player.captureTime ?? Date.now(),
    seek: (time) => this.seekAndShow(time),
    showDay: (time) => this.timeline.setView(dayOf(time)),
  });
  private readonly saveClipButton = h(
    "button",
    { type: "button", class: "primary", hidden: true, onclick: () => this.saveClip() },
    icon("download"),
    t("saveClip"),
  );
  private readonly markFrom = iconButton("markIn", "clipFrom", () => this.timeline.setSelectionEdge("from"));
  private readonly markTo = iconButton("markOut", "clipTo", () => this.timeline.setSelectionEdge("to"));
  /** The buttons of a selection replace the legend, so that the timeline does not move. */
  private readonly legendSub = h("span", { class: "legend legendSub", hidden: true }, t("legendSub"));
  private readonly legendActivity = h("span", { class: "legend legendActivity", hidden: true }, t("legendActivity"));
  private readonly legendEvent = h("span", { class: "legend legendEvent", hidden: true }, t("legendEvent"));
  private readonly legend = h(
    "span",
    { class: "legends" },
    ...(["legendRecorded", "legendProtected", "legendMissing"] as const).map((word) =>
      h("span", { class: `legend ${word}` }, t(word)),
    ),
    this.legendSub,
    this.legendActivity,
    this.legendEvent,
  );
  private readonly previousActivity = iconButton("activityBack", "previousActivity", () => void this.jump("previous"));
  private readonly nextActivity = iconButton("activityNext", "nextActivity", () => void this.jump("next"));
  private readonly selectClip = iconButton("cut", "cut", () => this.timeline.selectAround());
  private readonly clearClip = iconButton("close", "clear", () => this.timeline.clearSelection());
  private readonly selectionLabel = h("span", { class: "muted" });
  private readonly message = h("p", { class: "message", role: "status" });
  private segments: Segment[] = [];
  private reloadTimer = 0;
  private isFirstView = true;

  /** `time`: the moment to begin with; null for live. */
  constructor(
    readonly id: string,
    time: number | null = null,
  ) {
    this.details = new Details(id);
    this.player = h("live-edge-player" as "div", {
      camera: id,
      lang: language,
      controls: true,
      zoom: true,
    }) as unknown as LiveEdgePlayer;
    this.ptz = new PtzPanel(id, this.player);
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
      ...RATES.map((speed) => h("option", { value: speed, selected: speed === 1 }, `${speed}×`)),
    );
    const now = Date.now();
    this.timeline = new Timeline(
      id,
      { from: now - 0.95 * HOUR_MS, to: now + 0.05 * HOUR_MS },
      {
        seek: (time) => this.seek(time),
        seekToLiveEdge: () => this.seekToLiveEdge(),
        seekToEvent: (mark) => this.seekToEvent(mark),
        viewChanged: () => this.scheduleReload(),
        selectionChanged: () => this.updateSelection(),
        thumbnail: (time) => this.thumbnail(time),
        frame: (time, signal) => frameAt(id, time, THUMBNAIL_PX, signal),
      },
    );
    this.recordings = new Recordings(
      id,
      (time) => this.seek(time),
      () => void this.reload(),
      (error) => this.fail(error),
    );
    this.element = this.build();
    this.updateSelection();
    const { signal } = this.closing;
    const every = (ms: number, callback: () => void) => {
      const timer = setInterval(callback, ms);
      signal.addEventListener("abort", () => clearInterval(timer));
    };
    every(PLAYHEAD_MS, () => this.updatePlayhead());
    every(RELOAD_MS, () => document.hidden || void this.reload());
    every(EVENTS_MS, () => document.hidden || this.isLoadingEvents || void this.reloadEvents());
    document.addEventListener("keydown", (event) => this.key(event), { signal });
    void this.reload();
    void this.reloadEvents();
    this.updatePlayhead();
    if (time !== null) {
      this.isFirstView = false;
      this.seekAndShow(time);
    }
  }

  update(): void {
    const camera = store.camera(this.id);
    this.player.toggleAttribute("talk", Boolean(camera?.can_talk) && store.hasScope("talk"));
    setText(this.heading, camera ? nameOf(camera) : this.id);
    const { width, height } = camera ?? {};
    if (width && height) this.element.style.setProperty("--aspect", `${width} / ${height}`);
    this.details.update();
    this.ptz.update();
  }

  close(): void {
    this.closing.abort();
    this.ptz.close();
    this.timeline.close();
    this.eventsRequest.abort();
    this.activityRequest.abort();
    clearTimeout(this.reloadTimer);
  }

  private build(): HTMLElement {
    return h(
      "main",
      { class: "single" },
      h("div", { class: "bar" }, h("a", { href: "#/", class: "back" }, icon("back"), t("back")), this.heading),
      h("div", { class: "stage" }, this.player),
      h(
        "section",
        { class: "card time", hidden: !store.hasScope("archive") },
        h(
          "div",
          { class: "toolbar" },
          this.playButton,
          this.back,
          this.forward,
          this.speed,
          this.liveButton,
          this.time,
          h("span", { class: "spacer" }),
          this.previousActivity,
          this.nextActivity,
          this.selectClip,
          this.exportButton(),
          iconButton("link", "copyLink", () => void this.copyLink()),
          iconButton("camera", "saveSnapshot", () => void this.saveSnapshot()),
        ),
        this.timeline.element,
        h(
          "div",
          { class: "toolbar foot" },
          iconButton("back", "previousDay", () => this.timeline.setView(dayBeside(this.timeline.view, -1))),
          this.picker.element,
          iconButton("next", "nextDay", () => this.timeline.setView(dayBeside(this.timeline.view, 1))),
          h("span", { class: "spacer" }),
          this.legend,
          this.selectionLabel,
          this.saveClipButton,
          this.markFrom,
          this.markTo,
          this.clearClip,
          iconButton("zoomOut", "zoomOut", () => this.timeline.zoom(2)),
          iconButton("zoomIn", "zoomIn", () => this.timeline.zoom(1 / 2)),
        ),
        this.message,
      ),
      h(
        "aside",
        {},
        this.details.element,
        this.ptz.element,
        this.plots.element,
        this.eventList.element,
        store.hasScope("archive") && this.recordings.element,
      ),
    );
  }

  /** To the view of exports, with the selection, or else the span that the timeline shows. */
  private exportButton(): HTMLButtonElement {
    const word = exportsWord("exportRecordings");
    const open = () => {
      const { from, to } = this.timeline.selection;
      const { view } = this.timeline;
      const end = Math.min(view.to, Date.now());
      location.hash = exportsHash(this.id, from ?? Math.max(view.from, end - EXPORT_MS), to ?? end);
    };
    return h(
      "button",
      { type: "button", class: "icon", title: word, "aria-label": word, onclick: open },
      icon("export"),
    );
  }

  // --- playback

  private get isLive(): boolean {
    return this.player.state.mode !== "recording";
  }

  private seek(time: number): void {
    setText(this.message, "");
    void this.player.seek(time).catch((error: unknown) => this.fail(error));
    this.updatePlayhead();
  }

  /** Play from a time, which may be outside of the view. */
  private seekAndShow(time: number): void {
    this.seek(time);
    this.timeline.setView(reveal(this.timeline.view, time));
  }

  /** Play from the start of an event. */
  private seekToEvent({ start }: Pick<EventMark, "start">): void {
    this.seekAndShow(start);
  }

  private async copyLink(): Promise<void> {
    setText(this.message, await copyLink(cameraHash(this.id, this.isLive ? null : this.player.captureTime)));
  }

  /** Play from where activity begins next, or before. */
  private async jump(direction: "next" | "previous"): Promise<void> {
    setText(this.message, "");
    try {
      const from = this.isLive ? Date.now() : (this.player.captureTime ?? Date.now());
      const start = await findActivity(this.id, from, direction, this.closing.signal);
      if (start !== null) this.seekToEvent({ start });
      else setText(this.message, t(direction === "next" ? "noNextActivity" : "noPreviousActivity"));
    } catch (error) {
      this.fail(error);
    }
  }

  private seekToLiveEdge(): void {
    setText(this.message, "");
    this.speed.value = "1";
    this.player.seekToLiveEdge();
    this.timeline.setView(reveal(this.timeline.view, Date.now()));
    this.updatePlayhead();
  }

  private playOrPause(): void {
    if (this.player.paused) this.player.play();
    else this.player.pause();
    this.updatePlayhead();
  }

  /** Update everything that depends on the playback position. */
  private updatePlayhead(): void {
    const { isLive, player } = this;
    const time = player.captureTime;
    const now = Date.now();
    this.timeline.setPlayhead(isLive ? now : time, now, isLive);
    setText(this.time, time === null ? "–" : isLive ? clock(time) : `${day(time)} ${clock(time)}`);
    const { from, to } = this.timeline.view;
    this.picker.setLabel(day((from + to) / 2));
    this.liveButton.setAttribute("aria-pressed", String(player.state.status === "live"));
    // The player resets the rate when it returns to live.
    const rate = String(player.playbackRate);
    if (this.speed.value !== rate && document.activeElement !== this.speed) this.speed.value = rate;
    for (const control of [this.back, this.forward, this.speed]) control.disabled = isLive;
    showPlayOrPause(this.playButton, player.paused ? "play" : "pause");
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
    else if (event.key.toLowerCase() === "l") this.seekToLiveEdge();
    else if (event.key.toLowerCase() === "n" && store.hasScope("archive"))
      void this.jump(event.shiftKey ? "previous" : "next");
    else if (event.key.toLowerCase() === "g" && store.hasScope("archive")) this.picker.open();
    else if (event.key.toLowerCase() === "f") toggleFullscreen(this.player, this.player.surface);
    else return;
    event.preventDefault();
  }

  // --- recordings

  private scheduleReload(): void {
    clearTimeout(this.reloadTimer);
    this.reloadTimer = window.setTimeout(() => {
      void this.reload();
      void this.reloadEvents();
    }, RELOAD_DELAY_MS);
  }

  private async reload(): Promise<void> {
    try {
      this.segments = await segmentsOf(this.id, listedRange(this.timeline.view, Date.now()), this.closing.signal);
    } catch (error) {
      if (error instanceof ApiError && error.status !== 404) this.fail(error);
      return;
    }
    void this.reloadActivity();
    const recorded = mergeRanges(this.segments.map(rangeOf));
    this.legendSub.hidden = !recorded.some(({ isSub }) => isSub);
    this.timeline.setRecorded(recorded);
    this.recordings.show(this.segments);
    if (this.isFirstView) {
      this.isFirstView = false;
      const view = firstView(recorded, Date.now());
      if (view) this.timeline.setView(view);
    }
  }

  /** What cannot be read stays as it was: the next time is soon. */
  private async reloadActivity(): Promise<void> {
    this.activityRequest.abort();
    this.activityRequest = new AbortController();
    const { signal } = this.activityRequest;
    const { timeline } = this;
    try {
      const activity = await activityIn(this.id, timeline.view, timeline.width, signal);
      if (signal.aborted) return;
      const hasAny = activity?.scores.some((score) => score) ?? false;
      this.legendActivity.hidden = !hasAny;
      timeline.setActivity(activity);
    } catch {
      // As said above.
    }
  }

  /** Poll the events in the view. An answer that comes too late does not replace that of a later request. */
  private async reloadEvents(): Promise<void> {
    this.eventsRequest.abort();
    this.eventsRequest = new AbortController();
    const { signal } = this.eventsRequest;
    this.isLoadingEvents = true;
    try {
      const { marks, hasMore } = await eventsIn(this.id, this.timeline.view, signal);
      if (signal.aborted) return;
      this.legendEvent.hidden = marks.length === 0;
      this.timeline.setEvents(marks);
      this.eventList.show(marks, hasMore);
    } catch {
      // What was shown stays. The next poll is soon, and the page says when the gateway does not answer.
    }
    if (!signal.aborted) this.isLoadingEvents = false;
  }

  private thumbnail(time: number): string | null {
    const segment = this.segments.find(({ start, end }) => Date.parse(start) <= time && time < Date.parse(end));
    return segment ? imageUrl(segment.thumbnail) : null;
  }

  private updateSelection(): void {
    const { from, to } = this.timeline.selection;
    const isComplete = from !== null && to !== null;
    this.saveClipButton.hidden = !isComplete;
    const isSelecting = from !== null || to !== null;
    this.selectClip.disabled = this.legend.hidden = isSelecting;
    this.clearClip.hidden = this.markFrom.hidden = this.markTo.hidden = this.selectionLabel.hidden = !isSelecting;
    setText(this.selectionLabel, isComplete ? t("clipLength", { length: duration(to - from) }) : "");
  }

  private saveClip(): void {
    const { from, to } = this.timeline.selection;
    if (from === null || to === null) return;
    const name = `${this.id}_${new Date(from).toISOString().replace(/[-:]|\.\d+/g, "")}.mp4`;
    void save(clipPath(this.id, from, to), name).catch((error: unknown) => this.fail(error));
  }

  private async saveSnapshot(): Promise<void> {
    const time = this.player.captureTime;
    const image = await this.player.snapshot();
    // The time of the picture, never of the click: it may be evidence.
    const stamp = time === null ? "time-unknown" : new Date(time).toISOString().replace(/[-:]|\.\d+/g, "");
    if (image) saveBlob(image, `${this.id}_${stamp}.jpg`);
  }

  private fail(error: unknown): void {
    if (error instanceof DOMException && error.name === "AbortError") return;
    setText(this.message, t("failed", { message: error instanceof Error ? error.message : String(error) }));
  }
}
