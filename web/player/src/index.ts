// Entry point of the package @liveedge/player: defines <live-edge-player>, and exports its class and its types.

import { LiveEdgePlayer } from "./element.ts";

if (globalThis.customElements && !customElements.get("live-edge-player")) {
  customElements.define("live-edge-player", LiveEdgePlayer);
}

export type { Rendition, RenditionRequest } from "./core/rendition.ts";
export type { Statistics } from "./core/stats.ts";
export type { TransportName } from "./core/transports.ts";
export type { LiveEdgePlayerEventMap } from "./element.ts";
export type { PlayerMode, PlayerState } from "./player-state.ts";
export { LiveEdgePlayer };
