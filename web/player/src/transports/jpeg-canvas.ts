// A surface for JPEG: decoded beside the main thread, drawn when it is ready.

import type { TransportStats } from "./transport.ts";

export class Canvas {
  readonly element = document.createElement("canvas");
  private readonly context = this.element.getContext("bitmaprenderer");
  private frames = 0;
  private bytes = 0;

  /** Show a JPEG. Throws where it is none. */
  async draw(jpeg: ArrayBuffer | Uint8Array<ArrayBuffer>): Promise<void> {
    const picture = await createImageBitmap(new Blob([jpeg], { type: "image/jpeg" }));
    this.element.width = picture.width;
    this.element.height = picture.height;
    this.context?.transferFromImageBitmap(picture);
    this.frames += 1;
    this.bytes += jpeg.byteLength;
  }

  get statistics(): TransportStats {
    return { frames: this.frames, bytes: this.bytes, width: this.element.width, height: this.element.height };
  }
}
