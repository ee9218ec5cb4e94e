// Starts and stops the live playback of a player. It plays while it is wanted and can be seen. One that is not seen any more
// goes on for a while.

import type { Api } from "./core/api.ts";
import { clockOf } from "./core/clock-sync.ts";
import { type Rendition, type RenditionRequest, tileOf } from "./core/rendition.ts";
import type { TransportName } from "./core/transports.ts";
import { type LiveEvents, LivePlayback } from "./live-playback.ts";
import type { Visibility } from "./visibility.ts";

/** The player that the playback belongs to. */
interface Player {
  readonly camera: string;
  readonly transports: readonly TransportName[];
  readonly rendition: RenditionRequest;
  readonly clientWidth: number;
  readonly clientHeight: number;
  getAttribute(name: string): string | null;
}

export interface LiveControlEvents extends LiveEvents {
  api(): Api;
  isMuted(): boolean;
  /** How many times larger than its tile the picture is shown. */
  scale(): number;
  /** Playback begins: there is no frame yet. */
  starting(): void;
  stopped(): void;
}

export class LiveControl {
  /** The playback; null while there is none. */
  current: LivePlayback | null = null;
  private lastShown: Rendition | null = null;
  private stopTimer = 0;

  constructor(
    private readonly player: Player,
    private readonly visibility: Visibility,
    private readonly events: LiveControlEvents,
  ) {}

  /** The stream that is shown, or was when playback stopped; null if it is not known. */
  get rendition(): Rendition | null {
    return this.current?.shown?.rendition ?? this.lastShown;
  }

  /** Play while it can be seen. */
  play(): void {
    clearTimeout(this.stopTimer);
    if (this.visibility.isSeen) this.current ??= this.start();
    else if (this.current) this.stopTimer = window.setTimeout(() => this.stop(), this.visibility.patienceMs);
  }

  /** Stop at once. */
  stop(): void {
    clearTimeout(this.stopTimer);
    const { current } = this;
    this.lastShown = this.rendition;
    this.current = null;
    current?.stop();
    this.events.stopped();
  }

  /** Do not stop later: what is shown stays. */
  keep(): void {
    clearTimeout(this.stopTimer);
  }

  private start(): LivePlayback {
    const { player, events } = this;
    const api = events.api();
    clockOf(api);
    events.starting();
    const width = Math.min(1920, Math.max(320, Math.ceil((player.clientWidth * devicePixelRatio) / 320) * 320));
    const signaling = player.getAttribute("signaling") === "socketio" ? "socketio" : "whep";
    const { camera, transports, rendition } = player;
    const tile = () => tileOf(player.clientWidth, player.clientHeight, devicePixelRatio * events.scale());
    const muted = events.isMuted();
    return new LivePlayback({ api, camera, transports, muted, width, signaling, rendition, tile }, events);
  }
}
