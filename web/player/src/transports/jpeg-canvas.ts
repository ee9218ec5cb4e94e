// A canvas for JPEG frames. They are decoded off the main thread, and drawn when they are ready.

import type { TransportStats } from "./transport.ts";

export class JpegCanvas {
  readonly element = document.createElement("canvas");
  private readonly context = this.element.getContext("bitmaprenderer");
  private frames = 0;
  private bytes = 0;

  /** Show a JPEG. Throws if it cannot be decoded. */
  async draw(jpeg: ArrayBuffer | Uint8Array<ArrayBuffer>): Promise<void> {
    const bitmap = await createImageBitmap(new Blob([jpeg], { type: "image/jpeg" }));
    this.element.width = bitmap.width;
    this.element.height = bitmap.height;
    this.context?.transferFromImageBitmap(bitmap);
    this.frames += 1;
    this.bytes += jpeg.byteLength;
  }

  get statistics(): TransportStats {
    return { frames: this.frames, bytes: this.bytes, width: this.element.width, height: this.element.height };
  }
}
