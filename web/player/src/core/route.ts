// What the page shows, in the fragment of its address.

import { parseMoment } from "./moment.ts";

/** The cameras. `wall`: the id of a saved wall, `TOUR`, or null for all. `isFull`: only tiles, from edge to edge. */
export interface GridRoute {
  view: "grid";
  isFull: boolean;
  wall: string | null;
}

/** `time`: the moment that a link names, ms since the Unix epoch; null for live, NaN if it cannot be read. */
export type PageRoute =
  | GridRoute
  | { view: "camera"; camera: string; time: number | null }
  | { view: "playback"; cameras: string[]; time: number | null }
  | { view: "exports"; parameters: URLSearchParams }
  | { view: "access" };

/** As many cameras play on one clock. */
export const CAMERAS_MAX = 9;

/** Instead of the id of a wall: the tour of all walls that have a time in it. */
export const TOUR = "tour";

const CAMERA_ID = /^[A-Za-z0-9][A-Za-z0-9_-]*$/;

/** What a fragment shows. What is none of the views is the grid. */
export function parseRoute(fragment: string): PageRoute {
  const [path = "", query = ""] = fragment.split("?", 2);
  const parameters = new URLSearchParams(query);
  const time = parameters.has("t") ? (parseMoment(parameters.get("t")) ?? Number.NaN) : null;
  const camera = /^#\/camera\/([^/]+)$/.exec(path)?.[1];
  if (camera !== undefined && CAMERA_ID.test(camera)) return { view: "camera", camera, time };
  if (path === "#/playback") {
    const cameras = (parameters.get("cameras") ?? "").split(",").filter((id) => CAMERA_ID.test(id));
    return { view: "playback", cameras: [...new Set(cameras)].slice(0, CAMERAS_MAX), time };
  }
  if (path === "#/access") return { view: "access" };
  if (path === "#/exports") return { view: "exports", parameters };
  return { view: "grid", isFull: path === "#/wall", wall: parameters.get("wall") || null };
}

/** The fragment that shows the grid so. */
export function gridHash({ isFull, wall }: Omit<GridRoute, "view">): string {
  const query = wall === null ? "" : `?${new URLSearchParams({ wall })}`;
  return `#/${isFull ? "wall" : ""}${query}`;
}

/** The fragment that shows a camera at a moment; without a moment live. */
export function cameraHash(camera: string, time: number | null): string {
  return `#/camera/${camera}${time === null ? "" : `?t=${new Date(time).toISOString()}`}`;
}

/** The fragment that plays cameras on one clock from a moment; without a moment live. */
export function playbackHash(cameras: readonly string[], time: number | null): string {
  return `#/playback?cameras=${cameras.join(",")}${time === null ? "" : `&t=${new Date(time).toISOString()}`}`;
}
