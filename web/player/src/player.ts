// The entry for everybody: defines <live-edge-player>, and hands its parts to our own page.

import { LiveEdgePlayer } from "./element.ts";

if (!customElements.get("live-edge-player")) customElements.define("live-edge-player", LiveEdgePlayer);

export type { Statistics } from "./core/stats.ts";
export type { PlayerMode, PlayerState } from "./element.ts";
export { LiveEdgePlayer };
