// One camera: its player, timeline, details, statistics, events and recordings.

import type { EventMark } from "../core/event-marks.ts";
import { cameraHash } from "../core/route.ts";
import { dayOf, reveal } from "../core/timeline.ts";
import { toggleFullscreen } from "../fullscreen.ts";
import { icon } from "../icons.ts";
import type { LiveEdgePlayer, Statistics } from "../player.ts";
import { findActivity } from "./activity.ts";
import { fileTime, recordedFrom, saveBlob } from "./archive.ts";
import { awayNote } from "./away.ts";
import { ClipControls } from "./clip-controls.ts";
import { Details } from "./details.ts";
import { h, setText } from "./dom.ts";
import { EventList } from "./event-list.ts";
import { failureText } from "./failure.ts";
import { clock, day } from "./format.ts";
import { language, t } from "./i18n.ts";
import { iconButton } from "./icon-button.ts";
import { copyLink } from "./moment-link.ts";
import { MomentPicker } from "./moment-picker.ts";
import { PlaybackControls } from "./playback-controls.ts";
import { Plots } from "./plots.ts";
import { PtzPanel } from "./ptz.ts";
import { RecordedPictures } from "./recorded-pictures.ts";
import { Recordings } from "./recordings.ts";
import { isShortcut } from "./shortcut.ts";
import { nameOf, noSuchCamera, store } from "./store.ts";
import { Timeline } from "./timeline.ts";
import { TimelineData } from "./timeline-data.ts";
import { TimelineLegend } from "./timeline-legend.ts";
import { every } from "./timer.ts";
import { dayControls, zoomControls } from "./view-controls.ts";

const HOUR_MS = 3_600_000;
const PLAYHEAD_MS = 200;
/** A hole between two files is not a gap. */
const HOLE_MS = 1500;

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
  private readonly controls = new PlaybackControls({
    playOrPause: () => this.playOrPause(),
    step: (frames) => this.player.step(frames),
    setRate: (rate) => (this.player.playbackRate = rate),
    goLive: () => this.seekToLiveEdge(),
  });
  private readonly heading = h("h2", {});
  private readonly picker = new MomentPicker({
    cameras: () => [this.id],
    at: () => this.player.playbackTime ?? store.now,
    seek: (time) => this.seekAndShow(time),
    showDay: (time) => this.timeline.setView(dayOf(time)),
  });
  private readonly clip: ClipControls;
  /** The controls of a selection replace it, so that the timeline does not move. */
  private readonly legend = new TimelineLegend();
  private readonly previousActivity = iconButton("activityBack", "previousActivity", () => void this.jump("previous"));
  private readonly nextActivity = iconButton("activityNext", "nextActivity", () => void this.jump("next"));
  private readonly message = h("p", { class: "message", role: "status" });
  private readonly data: TimelineData;
  /** How often another time was asked for. */
  private asked = 0;

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
    const pictures = new RecordedPictures([id]);
    const { now } = store;
    this.timeline = new Timeline(id, { from: now - 0.95 * HOUR_MS, to: now + 0.05 * HOUR_MS }, pictures, {
      seek: (time) => this.seek(time),
      seekToLiveEdge: () => this.seekToLiveEdge(),
      seekToEvent: (mark) => this.seekToEvent(mark),
      viewChanged: () => this.data.viewChanged(),
      selectionChanged: () => this.updateSelection(),
    });
    const at = () => (this.isLive ? store.now : (this.player.playbackTime ?? store.now));
    this.clip = new ClipControls([id], this.timeline, at, (error) => this.fail(error));
    this.recordings = new Recordings(
      id,
      (time) => this.seek(time),
      () => void this.data.reload(),
      (error) => this.fail(error),
    );
    this.element = this.build();
    this.updateSelection();
    const { signal } = this.closing;
    every(PLAYHEAD_MS, signal, () => this.updatePlayhead());
    document.addEventListener("keydown", (event) => this.key(event), { signal });
    const { timeline, legend, recordings, eventList } = this;
    const failed = (error: unknown) => this.fail(error);
    this.data = new TimelineData(id, { timeline, legend, pictures, recordings, eventList, failed });
    this.updatePlayhead();
    if (Number.isNaN(time)) setText(this.message, t("wrongLink"));
    else if (time !== null) {
      this.data.choosesView = false;
      this.seekAndShow(time);
    }
  }

  update(): void {
    const camera = store.camera(this.id);
    this.player.toggleAttribute("talk", Boolean(camera?.can_talk) && store.hasScope("talk"));
    setText(this.heading, camera ? nameOf(camera) : this.id);
    if (store.isMissing(this.id)) setText(this.message, noSuchCamera(this.id));
    const { width, height } = camera ?? {};
    if (width && height) this.element.style.setProperty("--aspect", `${width} / ${height}`);
    this.details.update();
    this.ptz.update();
  }

  close(): void {
    this.closing.abort();
    this.ptz.close();
    this.timeline.close();
    this.data.close();
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
          ...this.controls.elements,
          h("span", { class: "spacer" }),
          this.previousActivity,
          this.nextActivity,
          this.clip.selectButton,
          this.clip.exportButton,
          iconButton("link", "copyLink", () => void this.copyLink()),
          iconButton("camera", "saveSnapshot", () => void this.saveSnapshot()),
        ),
        this.timeline.element,
        h(
          "div",
          { class: "toolbar foot" },
          ...dayControls(this.timeline, this.picker),
          h("span", { class: "spacer" }),
          this.legend.element,
          ...this.clip.elements,
          ...zoomControls(this.timeline),
        ),
        awayNote(this.closing.signal),
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

  // --- playback

  private get isLive(): boolean {
    return this.player.state.mode !== "recording";
  }

  private seek(time: number): void {
    this.asked++;
    setText(this.message, "");
    void this.player.seek(time).catch((error: unknown) => this.fail(error));
    this.updatePlayhead();
  }

  /** Play from a time, which may be outside of the view. */
  private seekAndShow(time: number): void {
    this.seek(time);
    if (time > store.now) setText(this.message, t("notYet"));
    else void this.tellSkipped(time);
    this.timeline.setView(reveal(this.timeline.view, Math.min(time, store.now)));
  }

  /** Where nothing was recorded, the next recording is played: nobody is to take it for that of the time. */
  private async tellSkipped(time: number): Promise<void> {
    const { asked } = this;
    const start = await recordedFrom(this.id, time, this.closing.signal).catch(() => null);
    if (start === null || start - time < HOLE_MS || asked !== this.asked) return;
    const moment = (ms: number) => `${day(ms)} ${clock(ms)}`;
    setText(this.message, t("skippedTo", { time: moment(time), next: moment(start) }));
    this.timeline.setView(reveal(this.timeline.view, start));
  }

  /** Play from the start of an event. */
  private seekToEvent({ start }: Pick<EventMark, "start">): void {
    this.seekAndShow(start);
  }

  private async copyLink(): Promise<void> {
    setText(this.message, await copyLink(cameraHash(this.id, this.isLive ? null : this.player.playbackTime)));
  }

  /** Play from where activity begins next, or before. */
  private async jump(direction: "next" | "previous"): Promise<void> {
    setText(this.message, "");
    try {
      const from = this.isLive ? store.now : (this.player.playbackTime ?? store.now);
      const start = await findActivity(this.id, from, direction, this.closing.signal);
      if (start !== null) this.seekToEvent({ start });
      else setText(this.message, t(direction === "next" ? "noNextActivity" : "noPreviousActivity"));
    } catch (error) {
      this.fail(error);
    }
  }

  private seekToLiveEdge(): void {
    this.asked++;
    setText(this.message, "");
    this.controls.resetRate();
    this.player.seekToLiveEdge();
    this.timeline.setView(reveal(this.timeline.view, store.now));
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
    const { now } = store;
    this.timeline.setPlayhead(isLive ? now : player.playbackTime, now, isLive);
    const { from, to } = this.timeline.view;
    this.picker.setLabel(day((from + to) / 2));
    const isAtLiveEdge = player.state.status === "live";
    this.controls.show({ isLive, isAtLiveEdge, isPaused: player.paused, time });
    // The player resets the rate when it returns to live.
    this.controls.showRate(player.playbackRate);
  }

  private key(event: KeyboardEvent): void {
    if (!isShortcut(event)) return;
    if (["ArrowLeft", "ArrowRight", "[", "]", "+", "=", "-"].includes(event.key)) {
      if (store.hasScope("archive")) this.timeline.key(event);
      return;
    }
    if (event.key === " ") this.playOrPause();
    else if (event.key === "," && !this.isLive) this.player.step(-1);
    else if (event.key === "." && !this.isLive) this.player.step(1);
    else if (event.key.toLowerCase() === "l") this.seekToLiveEdge();
    else if (event.key.toLowerCase() === "n" && store.hasScope("archive"))
      void this.jump(event.shiftKey ? "previous" : "next");
    else if (event.key.toLowerCase() === "g" && store.hasScope("archive")) this.picker.open();
    else if (event.key.toLowerCase() === "e" && store.hasScope("archive")) this.clip.export();
    else if (event.key.toLowerCase() === "f") toggleFullscreen(this.player, this.player.surface);
    else return;
    event.preventDefault();
  }

  // --- pictures and clips

  private updateSelection(): void {
    this.clip.update();
    this.legend.element.hidden = this.clip.isSelecting;
  }

  private async saveSnapshot(): Promise<void> {
    const time = this.player.captureTime;
    const image = await this.player.snapshot();
    // The time of the picture, never of the click: it may be evidence.
    const stamp = time === null ? "time-unknown" : fileTime(time);
    if (image) saveBlob(image, `${this.id}_${stamp}.jpg`);
  }

  private fail(error: unknown): void {
    const text = failureText(error);
    if (text !== null) setText(this.message, text);
  }
}
