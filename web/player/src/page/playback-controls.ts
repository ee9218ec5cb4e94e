// The controls of playback above a timeline: play and pause, one frame back and on, the speed, live, and the time that is
// shown. What has no meaning live is disabled there.

import { RATES } from "../core/shared-clock.ts";
import { h, setText } from "./dom.ts";
import { clock, day } from "./format.ts";
import { t } from "./i18n.ts";
import { iconButton, showPlayOrPause } from "./icon-button.ts";

export interface PlaybackCommands {
  playOrPause(): void;
  /** One frame on, or back if it is negative. */
  step(frames: number): void;
  setRate(rate: number): void;
  goLive(): void;
}

export interface PlaybackPosition {
  isLive: boolean;
  /** Whether "live" is pressed; live video that is too old is not. */
  isAtLiveEdge: boolean;
  isPaused: boolean;
  /** The time that is shown, ms; null if it is not known. */
  time: number | null;
}

export class PlaybackControls {
  /** In their order, for a toolbar. */
  readonly elements: readonly HTMLElement[];
  private readonly playButton: HTMLButtonElement;
  private readonly back: HTMLButtonElement;
  private readonly forward: HTMLButtonElement;
  private readonly speed: HTMLSelectElement;
  private readonly liveButton: HTMLButtonElement;
  private readonly time = h("output", { class: "time" });

  constructor(commands: PlaybackCommands) {
    this.playButton = iconButton("pause", "pause", () => commands.playOrPause());
    this.back = iconButton("stepBack", "stepBack", () => commands.step(-1));
    this.forward = iconButton("stepForward", "stepForward", () => commands.step(1));
    this.speed = h(
      "select",
      { "aria-label": t("speed"), title: t("speed"), onchange: () => commands.setRate(Number(this.speed.value)) },
      ...RATES.map((rate) => h("option", { value: rate, selected: rate === 1 }, `${rate}×`)),
    );
    this.liveButton = h("button", { type: "button", class: "live", onclick: () => commands.goLive() }, t("jumpLive"));
    this.elements = [this.playButton, this.back, this.forward, this.speed, this.liveButton, this.time];
  }

  show({ isLive, isAtLiveEdge, isPaused, time }: PlaybackPosition): void {
    setText(this.time, time === null ? "–" : isLive ? clock(time) : `${day(time)} ${clock(time)}`);
    this.liveButton.setAttribute("aria-pressed", String(isAtLiveEdge));
    for (const control of [this.back, this.forward, this.speed]) control.disabled = isLive;
    showPlayOrPause(this.playButton, isPaused ? "play" : "pause");
  }

  /** Show a rate that was not chosen here; one that somebody is choosing stays. */
  showRate(rate: number): void {
    const value = String(rate);
    if (this.speed.value !== value && document.activeElement !== this.speed) this.speed.value = value;
  }

  /** Live is shown as it comes. */
  resetRate(): void {
    this.speed.value = "1";
  }
}
