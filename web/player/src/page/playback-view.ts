// The recordings of several cameras on one clock: tiles, one timeline, one scrub.

import { ApiError } from "../core/api.ts";
import type { EventMark } from "../core/event-marks.ts";
import { bestColumns, GAP_PX } from "../core/layout.ts";
import { CAMERAS_MAX, playbackHash } from "../core/route.ts";
import { SharedClock } from "../core/shared-clock.ts";
import { dayOf, firstView, mergeRanges, type RecordedRange, reveal, type View } from "../core/timeline.ts";
import type { Segment } from "../generated/api.ts";
import { icon } from "../icons.ts";
import { rangeOf, segmentsOf } from "./archive.ts";
import { awayNote } from "./away.ts";
import { chooseCameras } from "./camera-chooser.ts";
import { ClipControls } from "./clip-controls.ts";
import { h, setText } from "./dom.ts";
import { failureText } from "./failure.ts";
import { day } from "./format.ts";
import { t } from "./i18n.ts";
import { iconButton } from "./icon-button.ts";
import { activityOf, eventsOf, findMark } from "./marks.ts";
import { copyLink } from "./moment-link.ts";
import { MomentPicker } from "./moment-picker.ts";
import { PlaybackControls } from "./playback-controls.ts";
import { PlaybackTile } from "./playback-tile.ts";
import { RecordedPictures } from "./recorded-pictures.ts";
import { isShortcut } from "./shortcut.ts";
import { nameOf, store } from "./store.ts";
import { Timeline } from "./timeline.ts";
import { every } from "./timer.ts";
import { dayControls, zoomControls } from "./view-controls.ts";

const HOUR_MS = 3_600_000;
/** How often players are corrected, and the page is brought up to date. */
const FOLLOW_MS = 50;
const PLAYHEAD_MS = 200;
const RELOAD_MS = 10_000;
const RELOAD_DELAY_MS = 150;
/** What is nearer to now is live: it is not on the disk yet. */
const LIVE_EDGE_MS = 12_000;
const PHONE_PX = 480;
/** A step, for cameras whose frame rate is not known. */
const FRAME_RATE = 25;

export class PlaybackView {
  readonly element: HTMLElement;
  private readonly closing = new AbortController();
  private readonly tiles: PlaybackTile[];
  private readonly tileBox = h("div", { class: "tiles" });
  private readonly timeline: Timeline;
  private readonly clip: ClipControls;
  /** null while live. */
  private clock: SharedClock | null = null;
  private readonly controls = new PlaybackControls({
    playOrPause: () => this.playOrPause(),
    step: (frames) => this.step(frames),
    setRate: (rate) => this.clock?.setRate(rate, performance.now()),
    goLive: () => this.goLive(),
  });
  private readonly message = h("p", { class: "message", role: "status" });
  private readonly picker = new MomentPicker({
    cameras: () => this.ids,
    at: () => this.now,
    seek: (time) => this.seekAndShow(time),
    showDay: (time) => this.timeline.setView(dayOf(time)),
  });
  private readonly pictures: RecordedPictures;
  private isFirstView = true;
  private reloadTimer = 0;
  private readonly segments = new Map<string, Segment[]>();
  private reloading = new AbortController();

  /** `time`: the moment to begin with; null for live. */
  constructor(
    private readonly ids: readonly string[],
    time: number | null,
  ) {
    this.tiles = ids.map((id) => new PlaybackTile(id));
    this.pictures = new RecordedPictures(ids);
    const { now } = store;
    const view = { from: now - 0.95 * HOUR_MS, to: now + 0.05 * HOUR_MS };
    this.timeline = new Timeline(t("camerasTogether", { count: ids.length }), view, this.pictures, {
      seek: (at) => this.seek(at),
      seekToLiveEdge: () => this.goLive(),
      seekToEvent: (mark: EventMark) => this.seekAndShow(mark.start),
      viewChanged: () => this.scheduleReload(),
      selectionChanged: () => this.clip.update(),
    });
    this.clip = new ClipControls(
      ids,
      this.timeline,
      () => this.now,
      (error) => this.fail(error),
    );
    this.clip.update();
    this.element = this.build();
    const { signal } = this.closing;
    every(FOLLOW_MS, signal, () => this.follow());
    every(PLAYHEAD_MS, signal, () => this.updatePlayhead());
    every(RELOAD_MS, signal, () => document.hidden || void this.reload());
    document.addEventListener("keydown", (event) => this.key(event), { signal });
    const observer = new ResizeObserver(() => this.updateLayout());
    observer.observe(this.tileBox);
    addEventListener("resize", () => this.updateLayout(), { signal });
    signal.addEventListener("abort", () => observer.disconnect());
    if (Number.isNaN(time)) setText(this.message, t("wrongLink"));
    else if (time !== null) {
      this.isFirstView = false;
      this.seekAndShow(time);
    }
    void this.reload();
    this.updatePlayhead();
  }

  update(): void {
    for (const tile of this.tiles) tile.update();
  }

  close(): void {
    this.closing.abort();
    this.reloading.abort();
    clearTimeout(this.reloadTimer);
    this.timeline.close();
    for (const tile of this.tiles) tile.close();
  }

  private build(): HTMLElement {
    const choose = h("button", { type: "button", onclick: () => void this.choose() }, icon("wall"), t("chooseCamera"));
    this.tileBox.append(...this.tiles.map(({ element }) => element));
    if (this.tiles.length === 0)
      this.tileBox.append(h("p", { class: "empty" }, t("chooseCameras", { count: CAMERAS_MAX })));
    return h(
      "main",
      { class: "together" },
      h(
        "div",
        { class: "bar" },
        h("a", { href: "#/", class: "back" }, icon("back"), t("back")),
        h("h2", {}, t("playbackTitle")),
        choose,
      ),
      this.tileBox,
      h(
        "section",
        { class: "card time", "aria-label": t("playbackTitle") },
        h(
          "div",
          { class: "toolbar" },
          ...this.controls.elements,
          h("span", { class: "spacer" }),
          iconButton("activityBack", "previousMark", () => void this.jump("previous")),
          iconButton("activityNext", "nextMark", () => void this.jump("next")),
          this.clip.selectButton,
          this.clip.exportButton,
          iconButton("link", "copyLink", () => void this.copyLink()),
        ),
        this.timeline.element,
        h(
          "div",
          { class: "toolbar foot" },
          ...dayControls(this.timeline, this.picker),
          h("span", { class: "spacer" }),
          ...this.clip.elements,
          ...zoomControls(this.timeline),
        ),
        awayNote(this.closing.signal),
        this.message,
      ),
    );
  }

  // --- the clock

  /** The time that is shown. */
  private get now(): number {
    return this.clock?.time(performance.now()) ?? store.now;
  }

  private follow(): void {
    const { clock } = this;
    if (!clock) return;
    const now = performance.now();
    const before = clock.state(now);
    clock.update(new Map(this.tiles.map((tile) => [tile.id, tile.position(before)])), now);
    const state = clock.state(now);
    if (state.isRunning && state.time > store.now - LIVE_EDGE_MS) {
      this.goLive();
      return;
    }
    for (const tile of this.tiles) tile.follow(state);
  }

  private seek(time: number): void {
    setText(this.message, "");
    if (time > store.now - LIVE_EDGE_MS) {
      this.goLive();
      return;
    }
    const now = performance.now();
    if (this.clock) this.clock.seek(time, now);
    else this.clock = new SharedClock(time, now);
    this.updatePlayhead();
  }

  /** Show a time, which may be outside of the view. */
  private seekAndShow(time: number): void {
    this.seek(time);
    if (time > store.now) setText(this.message, t("notYet"));
    this.timeline.setView(reveal(this.timeline.view, Math.min(time, store.now)));
  }

  private goLive(): void {
    setText(this.message, "");
    this.controls.resetRate();
    if (this.clock) {
      this.clock = null;
      for (const tile of this.tiles) tile.goLive();
    }
    this.timeline.setView(reveal(this.timeline.view, store.now));
    this.updatePlayhead();
  }

  private playOrPause(): void {
    const now = performance.now();
    // Live is paused where it is: at the newest picture that is on the disk.
    if (!this.clock) this.clock = new SharedClock(store.now - LIVE_EDGE_MS, now);
    else if (this.clock.paused) {
      this.clock.play(now);
      this.updatePlayhead();
      return;
    }
    this.clock.pause(now);
    this.updatePlayhead();
  }

  /** One frame of the camera with the most of them. */
  private step(frames: number): void {
    if (!this.clock) return;
    const now = performance.now();
    this.clock.pause(now);
    const time = this.clock.time(now);
    const rates = this.ids.map((id) => this.pictures.segmentAt(id, time)?.fps ?? 0);
    this.clock.seek(time + (frames * 1000) / (Math.max(...rates, 0) || FRAME_RATE), now);
    this.updatePlayhead();
  }

  /** Go to where the next event or activity of any of the cameras begins, or the previous one. */
  private async jump(direction: "next" | "previous"): Promise<void> {
    setText(this.message, "");
    try {
      const found = await findMark(this.ids, this.now, direction, this.closing.signal);
      if (found !== null) this.seekAndShow(found);
      else setText(this.message, t(direction === "next" ? "noNextActivity" : "noPreviousActivity"));
    } catch (error) {
      this.fail(error);
    }
  }

  // --- the page

  private updatePlayhead(): void {
    const isLive = this.clock === null;
    this.timeline.setPlayhead(this.now, store.now, isLive);
    const { from, to } = this.timeline.view;
    this.picker.setLabel(day((from + to) / 2));
    // Live, the time is that of the newest picture: a clock would run on over cameras that are down.
    const shown = this.tiles.map((tile) => tile.liveTime).filter((time) => time !== null);
    const time = !isLive ? this.now : shown.length > 0 ? Math.max(...shown) : null;
    const isAtLiveEdge = isLive && this.tiles.some((tile) => tile.isAtLiveEdge);
    this.controls.show({ isLive, isAtLiveEdge, isPaused: this.clock?.paused ?? false, time });
  }

  private updateLayout(): void {
    const { clientWidth, offsetTop } = this.tileBox;
    const count = Math.max(1, this.tiles.length);
    const card = this.element.querySelector<HTMLElement>(".card.time")?.offsetHeight ?? 0;
    const height = Math.max(160, innerHeight - offsetTop - card - 3 * GAP_PX);
    // On a phone two beside each other: the controls need half of the screen.
    const columns = clientWidth < PHONE_PX ? Math.min(2, count) : bestColumns(count, clientWidth, height, GAP_PX);
    const rows = Math.ceil(count / columns);
    const tile = Math.floor(((height - (rows - 1) * GAP_PX) / rows) * (16 / 9));
    const most = tile < Math.min(240, clientWidth / columns) ? "1fr" : `${tile}px`;
    this.tileBox.style.gridTemplateColumns = `repeat(${columns}, minmax(0, ${most}))`;
  }

  private async choose(): Promise<void> {
    const chosen = await chooseCameras(this.ids);
    if (chosen) location.hash = playbackHash(chosen, this.clock ? Math.round(this.now) : null);
  }

  private async copyLink(): Promise<void> {
    setText(this.message, await copyLink(playbackHash(this.ids, this.clock ? Math.round(this.now) : null)));
  }

  private key(event: KeyboardEvent): void {
    if (!isShortcut(event)) return;
    const key = event.key.toLowerCase();
    if (["arrowleft", "arrowright", "[", "]", "+", "=", "-"].includes(key)) {
      this.timeline.key(event);
      return;
    }
    if (key === " ") this.playOrPause();
    else if (key === ",") this.step(-1);
    else if (key === ".") this.step(1);
    else if (key === "l") this.goLive();
    else if (key === "g") this.picker.open();
    else if (key === "e") this.clip.export();
    else if (key === "n") void this.jump(event.shiftKey ? "previous" : "next");
    else return;
    event.preventDefault();
  }

  private scheduleReload(): void {
    clearTimeout(this.reloadTimer);
    this.reloadTimer = window.setTimeout(() => void this.reload(), RELOAD_DELAY_MS);
  }

  /** Read what was recorded and what happened in the view. What cannot be read stays as it was. */
  private async reload(): Promise<void> {
    this.reloading.abort();
    this.reloading = new AbortController();
    const { signal } = this.reloading;
    const { view } = this.timeline;
    try {
      const found = await Promise.all(this.ids.map((id) => this.segmentsOf(id, view, signal)));
      if (signal.aborted) return;
      for (const [number, id] of this.ids.entries()) this.pictures.setSegments(id, found[number] ?? []);
      const rows = found.map((segments) => mergeRanges(segments.map(rangeOf)));
      this.timeline.setRows(rows);
      if (this.isFirstView) {
        this.isFirstView = false;
        const all: RecordedRange[] = rows.flat();
        const first = firstView(all, store.now);
        if (first) this.timeline.setView(first);
      }
      this.timeline.setEvents(await eventsOf(this.ids, view, signal, (id) => this.nameOf(id)));
      this.timeline.setActivity(await activityOf(this.ids, view, this.timeline.width, signal));
    } catch (error) {
      this.fail(error);
    }
  }

  /** Those of a camera that cannot be read stay as they were, and those of the others are shown. */
  private async segmentsOf(id: string, view: View, signal: AbortSignal): Promise<Segment[]> {
    try {
      const found = await segmentsOf(id, view, signal);
      if (!signal.aborted) this.segments.set(id, found);
    } catch (error) {
      // The tile says that there is no such camera.
      if (error instanceof ApiError && error.status === 404) this.segments.delete(id);
      else this.fail(error);
    }
    return this.segments.get(id) ?? [];
  }

  private nameOf(id: string): string {
    const camera = store.camera(id);
    return camera ? nameOf(camera) : id;
  }

  private fail(error: unknown): void {
    const text = failureText(error);
    if (text !== null) setText(this.message, text);
  }
}
