// The archive of a camera: its segments, clips, thumbnails and downloads.

import type { RecordedRange, View } from "../core/timeline.ts";
import type { Segment, SegmentPage } from "../generated/api.ts";
import { multipartParts } from "../transports/multipart.ts";
import { askAllNodes } from "./away.ts";
import { store } from "./store.ts";

const PAGE = 500;
/** A week of 10-minute segments is two pages. Of segments of a few seconds, only the newest are listed. */
const PAGES_MAX = 6;

/** The segments that overlap a view, oldest first. */
export async function segmentsOf(camera: string, view: View, signal: AbortSignal): Promise<Segment[]> {
  const query = new URLSearchParams({ start: iso(view.from), end: iso(view.to), limit: String(PAGE) });
  const all: Segment[] = [];
  for (let page = 0; page < PAGES_MAX; page++) {
    const path = `/api/cameras/${camera}/segments?${query}`;
    const { segments, next_cursor } = await askAllNodes<SegmentPage>("segments", path, signal);
    all.push(...segments);
    if (next_cursor === null) break;
    query.set("cursor", next_cursor);
  }
  return all;
}

/** Where the first recording begins that has not ended at a time; null if nothing was recorded from then on. */
export async function recordedFrom(camera: string, time: number, signal: AbortSignal): Promise<number | null> {
  const query = new URLSearchParams({ start: iso(time), limit: "1" });
  const { segments } = await store.api.json<SegmentPage>(`/api/cameras/${camera}/segments?${query}`, { signal });
  return segments[0] ? Date.parse(segments[0].start) : null;
}

export function rangeOf({ start, end, protected: isProtected, rendition }: Segment): RecordedRange {
  return { start: Date.parse(start), end: Date.parse(end), isProtected, isSub: rendition === "sub" };
}

export async function protect(camera: string, segment: Segment): Promise<Segment> {
  const method = segment.protected ? "DELETE" : "POST";
  return store.api.json<Segment>(`/api/cameras/${camera}/segments/${segment.id}/protect`, { method });
}

export function clipPath(camera: string, from: number, to: number): string {
  return `/api/cameras/${camera}/clip.mp4?${new URLSearchParams({ start: iso(from), end: iso(to) })}`;
}

/** The frame at a time, `width` pixels wide; null if nothing was recorded. */
export async function frameAt(camera: string, time: number, width: number, signal: AbortSignal): Promise<Blob | null> {
  const query = new URLSearchParams({ at: iso(time), width: String(width), frame_rate: "1" });
  const { body } = await store.api.fetch(`/mjpeg/${camera}?${query}`, { signal });
  if (!body) return null;
  for await (const part of multipartParts(body)) return new Blob([part.body], { type: "image/jpeg" });
  return null;
}

export function iso(time: number): string {
  return new Date(time).toISOString();
}

/** A time as a part of a file name. */
export function fileTime(time: number): string {
  return iso(time).replace(/[-:]|\.\d+/g, "");
}

/** Download a path of the gateway as a file of that name. Throws what is wrong: a browser tells only that it failed. */
export async function save(path: string, name: string): Promise<void> {
  const { body } = await store.api.fetch(path, { headers: { Range: "bytes=0-0" } });
  await body?.cancel();
  follow(await store.api.link(path), name);
}

const links = new Map<string, string>();

/** The URL of an image; null until it is signed. The next call returns it then. */
export function imageUrl(path: string): string | null {
  const known = links.get(path);
  if (known !== undefined) return known || null;
  if (!store.api.token) return store.api.url(path);
  links.set(path, "");
  store.api.link(path).then(
    (url) => links.set(path, url),
    () => links.delete(path),
  );
  return null;
}

export function saveBlob(blob: Blob, name: string): void {
  const url = URL.createObjectURL(blob);
  follow(url, name);
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

function follow(href: string, download: string): void {
  const link = document.createElement("a");
  Object.assign(link, { href, download });
  document.body.append(link);
  link.click();
  link.remove();
}
