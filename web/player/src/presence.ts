// Whether a player is on a page: from the insertion to the removal. A player that is moved leaves its place and has another
// one in the same task. That is neither, although the browser reports both.

import { play } from "./transports/transport.ts";

export interface PresenceEvents {
  /** It was put on a page. */
  began(signal: AbortSignal): void;
  /** It was removed. The signal is aborted. */
  ended(): void;
}

export class Presence {
  /** Also while it is moved. */
  isActive = false;
  private ending = new AbortController();
  private timer = 0;
  /** The videos that played when it left its place. */
  private played: HTMLVideoElement[] = [];

  constructor(
    private readonly root: ShadowRoot,
    private readonly events: PresenceEvents,
  ) {}

  /** Aborted when the player is removed. */
  get signal(): AbortSignal {
    return this.ending.signal;
  }

  connected(): void {
    clearTimeout(this.timer);
    // A browser may have paused the videos of a player that was moved.
    for (const video of this.played.splice(0)) if (video.paused) void play(video);
    if (this.isActive) return;
    this.isActive = true;
    this.ending = new AbortController();
    this.events.began(this.signal);
  }

  disconnected(): void {
    this.played = [...this.root.querySelectorAll("video")].filter(({ paused }) => !paused);
    this.timer = window.setTimeout(() => this.end());
  }

  /** It does not come back. */
  end(): void {
    clearTimeout(this.timer);
    this.played = [];
    if (!this.isActive) return;
    this.isActive = false;
    this.ending.abort();
    this.events.ended();
  }
}
