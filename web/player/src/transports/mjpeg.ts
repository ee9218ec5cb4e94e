// MJPEG over plain HTTP: what gets through where nothing else does. Read by fetch and not by <img>, so that we know of
// every picture, when it was captured, and when there are none.

import { toFailure } from "../core/api.ts";
import { Canvas } from "./jpeg-canvas.ts";
import type { Transport, TransportContext, TransportStats } from "./transport.ts";

/** No part of ours is larger; beyond it, this is not MJPEG. */
const PART_MAX_BYTES = 16 * 1024 * 1024;

export class MjpegTransport implements Transport {
  readonly name = "mjpeg";
  readonly surface: HTMLCanvasElement;
  private readonly canvas = new Canvas();
  private readonly ending = new AbortController();

  constructor(private readonly context: TransportContext) {
    this.surface = this.canvas.element;
  }

  start(): void {
    this.read().catch((error: unknown) => {
      if (!this.ending.signal.aborted) this.context.failed(toFailure(error));
    });
  }

  stop(): void {
    this.ending.abort();
  }

  async statistics(): Promise<TransportStats> {
    return this.canvas.statistics;
  }

  private async read(): Promise<void> {
    const { api, camera, width } = this.context;
    const response = await api.fetch(`/mjpeg/${camera}?width=${width}`, {
      signal: this.ending.signal,
      // By this name: multipart/x-mixed-replace is taken apart by WebKit before we can see it.
      headers: { Accept: "multipart/mixed" },
    });
    if (!response.body) throw new TypeError("no body");
    await showNewest(parts(response.body), async ({ headers, body }) => {
      await this.canvas.draw(body);
      if (!this.ending.signal.aborted) this.context.picture(Date.parse(headers.get("x-captured-at") ?? ""));
    });
    throw new TypeError("the stream ended");
  }
}

/** Show one after the other; what has waited while another came is not shown: after a sleep, a whole queue is there. */
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
    // What failed is told here, with the next one, and below.
    await shown;
    shown = showAll();
    shown.catch(() => {});
  }
  await shown;
}

export interface Part {
  headers: Map<string, string>;
  body: Uint8Array<ArrayBuffer>;
}

/** The parts of a multipart body whose parts tell their Content-Length, as ours do. */
export async function* parts(stream: ReadableStream<Uint8Array<ArrayBuffer>>): AsyncGenerator<Part> {
  const reader = stream.getReader();
  let buffer = new Uint8Array(0);
  const more = async (): Promise<boolean> => {
    const { done, value } = await reader.read();
    if (done) return false;
    if (buffer.length + value.length > PART_MAX_BYTES) throw new RangeError("a part without an end");
    const joined = new Uint8Array(buffer.length + value.length);
    joined.set(buffer);
    joined.set(value, buffer.length);
    buffer = joined;
    return true;
  };
  try {
    for (;;) {
      let end = endOfHeaders(buffer);
      while (end < 0) {
        if (!(await more())) return;
        end = endOfHeaders(buffer);
      }
      const headers = new Map<string, string>();
      for (const line of new TextDecoder().decode(buffer.subarray(0, end)).split("\r\n")) {
        const colon = line.indexOf(":");
        if (colon > 0) headers.set(line.slice(0, colon).trim().toLowerCase(), line.slice(colon + 1).trim());
      }
      const length = Number(headers.get("content-length"));
      if (!Number.isInteger(length) || length <= 0) throw new RangeError("a part without a length");
      while (buffer.length < end + 4 + length) if (!(await more())) return;
      yield { headers, body: buffer.slice(end + 4, end + 4 + length) };
      buffer = buffer.slice(end + 4 + length);
    }
  } finally {
    await reader.cancel().catch(() => {});
  }
}

function endOfHeaders(bytes: Uint8Array): number {
  for (let i = 0; i + 3 < bytes.length; i++) {
    if (bytes[i] === 13 && bytes[i + 1] === 10 && bytes[i + 2] === 13 && bytes[i + 3] === 10) return i;
  }
  return -1;
}
