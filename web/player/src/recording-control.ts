// Switches a player between live and its recording. There is at most one recording at a time. Its code is loaded when it
// is first needed.
//
// Rules:
// 1. A time at or past the live edge is live, and a recording that reaches the live edge becomes live.
// 2. What was asked for last holds, also while the code is loading.
// 3. The playback rate belongs to the recording: it survives seeks, and ends with the return to live.

import type { Api } from "./core/api.ts";
import type { Rendition } from "./core/rendition.ts";
import type { RecordingPlayback } from "./recording-playback.ts";

/** A time this close to now is live. */
const LIVE_EDGE_MS = 1000;

/** The player that the recording belongs to. */
interface Player {
  readonly camera: string;
  readonly muted: boolean;
}

export interface RecordingControlEvents {
  /** Whether the player is on a page. */
  isActive(): boolean;
  api(): Api;
  /** The gateway's clock, ms. */
  now(): number;
  /** The stream to play where both were recorded. */
  rendition(): Rendition;
  /** A new surface, to be placed below the one that is shown. */
  mount(surface: HTMLVideoElement): void;
  /** The surface has its first frame. */
  show(surface: HTMLVideoElement): void;
  changed(): void;
  /** The recording has reached the live edge. */
  goLive(): void;
}

export class RecordingControl {
  /** The recording; null while live. */
  current: RecordingPlayback | null = null;
  /** How often something was asked for; see rule 2. */
  private asked = 0;

  constructor(
    private readonly player: Player,
    private readonly events: RecordingControlEvents,
  ) {}

  /** Whether the recording is on the screen, so that live is no longer needed. */
  get isShown(): boolean {
    return this.current?.surface.classList.contains("shown") ?? false;
  }

  async seek(time: number): Promise<void> {
    const { player, events } = this;
    if (time >= events.now() - LIVE_EDGE_MS) return events.goLive();
    const asked = ++this.asked;
    if (!this.current) {
      const { RecordingPlayback } = await import("./recording-playback.ts");
      if (!events.isActive() || asked !== this.asked) return;
      this.current = new RecordingPlayback(events.api(), player.camera, player.muted, events.rendition, {
        changed: () => events.changed(),
        reachedLiveEdge: () => events.goLive(),
        firstFrame: (surface) => events.show(surface),
      });
      events.mount(this.current.surface);
    }
    this.current.seek(time);
    events.changed();
  }

  stop(): void {
    const { current } = this;
    this.asked++;
    this.current = null;
    current?.stop();
  }
}
