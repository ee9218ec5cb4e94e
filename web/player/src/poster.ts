// The gateway's newest snapshot, shown until the first frame plays.

import type { Api } from "./core/api.ts";
import { askCamera, checkOf, knownCamera } from "./core/camera-states.ts";

const WIDTH_PX = 640;

export class Poster {
  readonly element = document.createElement("img");

  constructor() {
    this.element.className = "poster";
    this.element.alt = "";
    this.element.hidden = true;
    this.element.setAttribute("part", "poster");
  }

  /** Load the snapshot of a camera that is live, and show it if `isWanted` is still true then. */
  async load(api: Api, camera: string, signal: AbortSignal, isWanted: () => boolean): Promise<void> {
    try {
      const known = knownCamera(api, camera) ?? (await askCamera(api, camera));
      if (!known || checkOf(api, known).state !== "live" || signal.aborted || !isWanted()) return;
      const response = await api.fetch(`/snapshot/${camera}.jpg?width=${WIDTH_PX}&wait=0`, { signal });
      const url = URL.createObjectURL(await response.blob());
      this.element.onload = () => URL.revokeObjectURL(url);
      this.element.src = url;
      this.element.hidden = !isWanted();
    } catch {
      // The camera has no snapshot yet.
    }
  }

  hide(): void {
    if (!this.element.hidden) this.element.hidden = true;
  }
}
