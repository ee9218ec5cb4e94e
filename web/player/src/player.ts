// Entry point of player.js: defines <live-edge-player>, and exports its types.

import { LiveEdgePlayer } from "./element.ts";

if (!customElements.get("live-edge-player")) customElements.define("live-edge-player", LiveEdgePlayer);

export type { Statistics } from "./core/stats.ts";
export type { PlayerMode, PlayerState } from "./element.ts";
export { LiveEdgePlayer };
