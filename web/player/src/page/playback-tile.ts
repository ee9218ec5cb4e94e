// A tile of the view of several cameras: live, or the camera's recording at the time of the shared clock.

import { cameraHash } from "../core/route.ts";
import type { ClockState, PlayerPosition } from "../core/shared-clock.ts";
import { dayOf } from "../core/timeline.ts";
import { type FollowedRecording, type LiveEdgePlayer, loadFollowedRecording } from "../player.ts";
import { h, setText } from "./dom.ts";
import { clock as clockText, shortDay } from "./format.ts";
import { language, t } from "./i18n.ts";
import { nameOf, noSuchCamera, store } from "./store.ts";
import { reloadIfUpdated } from "./updated.ts";

/** A tile that is wider than this, in device pixels, plays the main stream. */
const SUB_MAX_PX = 960;
/** Code that could not be loaded is asked for again after this. */
const RETRY_MS = 3000;

export class PlaybackTile {
  readonly element: HTMLElement;
  private readonly player: LiveEdgePlayer;
  private readonly link: HTMLAnchorElement;
  private readonly time = h("output", { class: "detail" });
  private readonly message = h("p", { class: "gap", hidden: true });
  private followed: FollowedRecording | null = null;
  private isLoadingPlayer = false;
  private isRecording = false;
  private isClosed = false;

  constructor(readonly id: string) {
    this.player = h("live-edge-player" as "div", { camera: id, lang: language }) as unknown as LiveEdgePlayer;
    if (store.api.token) this.player.token = store.api.token;
    this.link = h("a", { href: cameraHash(id, null), class: "open" }, id);
    this.element = h(
      "article",
      { class: "tile", "data-camera": id },
      this.player,
      this.message,
      h("footer", {}, h("h2", {}, this.link), this.time),
    );
    this.update();
  }

  update(): void {
    const camera = store.camera(this.id);
    setText(this.link, camera ? nameOf(camera) : this.id);
  }

  /** Capture time of the live picture, ms; null without one. */
  get liveTime(): number | null {
    return this.isRecording ? null : this.player.captureTime;
  }

  get isAtLiveEdge(): boolean {
    return !this.isRecording && this.player.state.status === "live";
  }

  position(clock: ClockState): PlayerPosition | null {
    return this.followed?.position(clock, store.now) ?? null;
  }

  /** Show the recording at the time of a clock. To be called many times a second. */
  follow(clock: ClockState): void {
    if (!this.isRecording) {
      this.isRecording = true;
      this.player.pause();
    }
    if (!this.followed) {
      void this.load();
      return;
    }
    this.followed.follow(clock, store.now);
    const { captureTime, hasBegun, status } = this.followed;
    // The live picture stays until there is another one, and so does the last one of the recording during a seek.
    this.player.hidden = hasBegun;
    this.followed.element.classList.toggle("none", status.kind === "gap" || status.kind === "error");
    this.message.hidden = status.kind === "playing" || (status.kind === "loading" && hasBegun);
    if (store.isMissing(this.id) && status.kind === "gap" && !status.next) this.tell(noSuchCamera(this.id), "");
    else if (status.kind === "gap") {
      const next =
        status.next === undefined
          ? ""
          : status.next === null
            ? t("noNextRecording")
            : t("nextRecordingAt", { time: whenBeside(status.next, clock.time) });
      this.tell(t("nothingRecorded"), next);
    } else if (status.kind === "error")
      this.tell(status.message ? t("noRecordingAtAll", { message: status.message }) : t("recordingUnreadable"), "");
    else this.tell(t("tileLoading"), "");
    if (captureTime !== null || status.kind !== "loading")
      setText(this.time, captureTime === null ? "" : clockText(captureTime));
    this.link.href = cameraHash(this.id, Math.round(clock.time));
  }

  /** Show the live edge. */
  goLive(): void {
    this.isRecording = false;
    this.followed?.stop();
    this.followed = null;
    this.player.hidden = false;
    this.message.hidden = true;
    this.player.seekToLiveEdge();
    setText(this.time, "");
    this.link.href = cameraHash(this.id, null);
  }

  close(): void {
    this.isClosed = true;
    this.followed?.stop();
  }

  private tell(what: string, more: string): void {
    const text = more ? `${what} · ${more}` : what;
    if (this.message.textContent !== text) setText(this.message, text);
  }

  private async load(): Promise<void> {
    if (this.isLoadingPlayer) return;
    this.isLoadingPlayer = true;
    const Followed = await loadFollowedRecording().catch(() => null);
    if (Followed === null) {
      await this.waitForCode();
      return;
    }
    this.isLoadingPlayer = false;
    if (this.isClosed || !this.isRecording) return;
    this.followed = new Followed(store.api, this.id, () =>
      this.element.clientWidth * devicePixelRatio > SUB_MAX_PX ? "main" : "sub",
    );
    this.player.after(this.followed.element);
  }

  /** The code was not loaded: do not show the live picture for a recorded one, and try again in a moment. */
  private async waitForCode(): Promise<void> {
    void reloadIfUpdated();
    if (this.isRecording) {
      this.player.hidden = true;
      this.message.hidden = false;
      this.tell(t("recordingUnreadable"), "");
    }
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    this.isLoadingPlayer = false;
  }
}

/** A time, with its day unless that is the day of the moment that is shown. */
function whenBeside(time: number, shown: number): string {
  const isSameDay = dayOf(time).from === dayOf(shown).from;
  return `${isSameDay ? "" : `${shortDay(time)} `}${clockText(time)}`;
}
