// Which of a camera's streams is shown: the main stream, or the sub stream, which is smaller. The gateway chooses, and
// has to know at what size the video is shown.

export const RENDITIONS = ["auto", "main", "sub"] as const;

/** What a player asks for; `auto` lets the gateway choose, and change its choice. */
export type RenditionRequest = (typeof RENDITIONS)[number];

/** What is shown. */
export type Rendition = Exclude<RenditionRequest, "auto">;

/** The size at which a video is shown, in device pixels. */
export interface Tile {
  width: number;
  height: number;
}

/** What the gateway says about a viewer's stream. */
export interface ShownRendition {
  rendition: Rendition;
  /** The streams that the camera has. */
  available: readonly Rendition[];
}

export function parseRendition(text: string | null): RenditionRequest {
  return RENDITIONS.find((name) => name === text) ?? "auto";
}

/** The request after this one, as a button goes through them. */
export function nextRendition(request: RenditionRequest): RenditionRequest {
  return RENDITIONS[(RENDITIONS.indexOf(request) + 1) % RENDITIONS.length] ?? "auto";
}

/** The tile of an element of this size in CSS pixels; null while it has none. */
export function tileOf(width: number, height: number, pixelRatio: number): Tile | null {
  const tile = { width: Math.ceil(width * pixelRatio), height: Math.ceil(height * pixelRatio) };
  return tile.width > 0 && tile.height > 0 ? tile : null;
}

/** The query of `/whep/{camera}`; empty if there is nothing to say. */
export function renditionQuery(request: RenditionRequest, tile: Tile | null): string {
  const parameters = new URLSearchParams();
  if (request !== "auto") parameters.set("rendition", request);
  if (tile) {
    parameters.set("width", String(tile.width));
    parameters.set("height", String(tile.height));
  }
  const query = parameters.toString();
  return query && `?${query}`;
}

/** Which stream's recording to play where both were recorded: the pinned one, else the one that fitted live. */
export function recordedRendition(request: RenditionRequest, lastShown: Rendition | null): Rendition {
  return request === "auto" ? (lastShown ?? "main") : request;
}

/** The level of a multivariant playlist to play: -1 lets the player choose. */
export function levelOf(request: RenditionRequest, urls: readonly string[]): number {
  if (request === "auto") return -1;
  return urls.findIndex((url) => renditionOfUrl(url) === request);
}

/** Which stream a media playlist is of. */
export function renditionOfUrl(url: string): Rendition {
  return /\/hls\/[^/]+\/sub\/[^/]*$/.test(url.split("?")[0] ?? "") ? "sub" : "main";
}
