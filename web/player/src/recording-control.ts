// A player's way into the past and back: at most one recording at a time, fetched with its code when it is first wanted.
//
// Rules:
// 1. A moment at or past the live edge is live, and whoever plays up to it has arrived there.
// 2. The speed is the recording's: it outlives seeks, and ends with the return to live.

import type { Api } from "./core/api.ts";
import type { Recording } from "./recording-playback.ts";

/** So near to now it is live. */
const EDGE_MS = 1000;

/** Whose recording it is. */
interface Player {
  readonly camera: string;
  readonly muted: boolean;
  readonly isConnected: boolean;
}

export interface RecordingControlEvents {
  api(): Api;
  /** The gateway's clock, ms. */
  now(): number;
  /** A surface has come; it is to be laid under what is shown. */
  mount(surface: HTMLVideoElement): void;
  /** It has its first picture. */
  show(surface: HTMLVideoElement): void;
  changed(): void;
  /** Nothing is left of the past: live again. */
  goLive(): void;
}

export class RecordingControl {
  /** What is played; null while it is live. */
  current: Recording | null = null;

  constructor(
    private readonly player: Player,
    private readonly events: RecordingControlEvents,
  ) {}

  /** Whether its pictures are seen, and live's no longer needed. */
  get isShown(): boolean {
    return this.current?.surface.classList.contains("shown") ?? false;
  }

  async seek(time: number): Promise<void> {
    const { player, events } = this;
    if (time >= events.now() - EDGE_MS) return events.goLive();
    if (!this.current) {
      const { Recording } = await import("./recording-playback.ts");
      if (!player.isConnected) return;
      // Another seek may have been quicker.
      if (!this.current) {
        this.current = new Recording(events.api(), player.camera, player.muted, {
          changed: () => events.changed(),
          arrived: () => events.goLive(),
          shown: (surface) => events.show(surface),
        });
        events.mount(this.current.surface);
      }
    }
    this.current.seek(time);
    events.changed();
  }

  /** Let go of it. */
  stop(): void {
    const { current } = this;
    this.current = null;
    current?.stop();
  }
}
