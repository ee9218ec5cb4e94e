import { LiveEdgePlayer } from "@liveedge/player";

// All players of a page can have one gateway. A single one has the attribute `src`.
LiveEdgePlayer.defaultSrc = import.meta.env.VITE_GATEWAY ?? "http://127.0.0.1:8000";

const player = find("live-edge-player", LiveEdgePlayer);
const state = find("#state", HTMLOutputElement);
const statistics = find("#statistics", HTMLOutputElement);

player.addEventListener("statechange", ({ detail }) => {
  state.value = `${detail.label} ${detail.transport ?? ""} ${detail.notice}`;
});
player.addEventListener("statistics", ({ detail }) => {
  statistics.value = detail.fps === null ? "" : `${detail.fps.toFixed(0)} frames/s`;
});
find("#before", HTMLButtonElement).onclick = () => player.seek((player.captureTime ?? Date.now()) - 30_000);
find("#live", HTMLButtonElement).onclick = () => player.seekToLiveEdge();

player.camera = import.meta.env.VITE_CAMERA ?? "demo";

function find<T extends Element>(selector: string, kind: new () => T): T {
  const found = document.querySelector(selector);
  if (!(found instanceof kind)) throw new Error(`the page has no ${selector}`);
  return found;
}
