// MJPEG over plain HTTP, for networks that let nothing else through. It is read with fetch and not with <img>, so that
// the player knows about every frame and its capture time, and notices when frames stop.

import { toFailure } from "../core/api.ts";
import { JpegCanvas } from "./jpeg-canvas.ts";
import { multipartParts } from "./multipart.ts";
import type { Transport, TransportContext, TransportStats } from "./transport.ts";

export class MjpegTransport implements Transport {
  readonly name = "mjpeg";
  readonly surface: HTMLCanvasElement;
  private readonly canvas = new JpegCanvas();
  private readonly stopping = new AbortController();

  constructor(private readonly context: TransportContext) {
    this.surface = this.canvas.element;
  }

  start(): void {
    this.read().catch((error: unknown) => {
      if (!this.stopping.signal.aborted) this.context.onFailure(toFailure(error));
    });
  }

  stop(): void {
    this.stopping.abort();
  }

  async statistics(): Promise<TransportStats> {
    return this.canvas.statistics;
  }

  private async read(): Promise<void> {
    const { api, camera, width } = this.context;
    const response = await api.fetch(`/mjpeg/${camera}?width=${width}`, {
      signal: this.stopping.signal,
      // Not multipart/x-mixed-replace: WebKit splits that itself, before a script can read it.
      headers: { Accept: "multipart/mixed" },
    });
    if (!response.body) throw new TypeError("no body");
    await showNewest(multipartParts(response.body), async ({ headers, body }) => {
      await this.canvas.draw(body);
      if (!this.stopping.signal.aborted) this.context.onFrame(Date.parse(headers.get("x-captured-at") ?? ""));
    });
    throw new TypeError("the stream ended");
  }
}

/** Show one item after the other. Skip items that are older than the newest, since many can queue up while a tab sleeps. */
export async function showNewest<T>(items: AsyncIterable<T>, show: (item: T) => Promise<void>): Promise<void> {
  const waiting: T[] = [];
  let isShowing = false;
  let shown = Promise.resolve();
  const showAll = async (): Promise<void> => {
    isShowing = true;
    try {
      for (let item = waiting.pop(); item !== undefined; item = waiting.pop()) await show(item);
    } finally {
      isShowing = false;
    }
  };
  for await (const item of items) {
    waiting[0] = item;
    if (isShowing) continue;
    // An earlier failure is thrown here with the next item, or below after the last one.
    await shown;
    shown = showAll();
    shown.catch(() => {});
  }
  await shown;
}
