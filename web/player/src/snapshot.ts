// The frame that a <video> or <canvas> shows, as an image file.

const QUALITY = 0.92;

export async function toBlob(surface: HTMLVideoElement | HTMLCanvasElement, type: string): Promise<Blob | null> {
  const canvas = document.createElement("canvas");
  canvas.width = surface instanceof HTMLVideoElement ? surface.videoWidth : surface.width;
  canvas.height = surface instanceof HTMLVideoElement ? surface.videoHeight : surface.height;
  canvas.getContext("2d")?.drawImage(surface, 0, 0);
  return new Promise((resolve) => canvas.toBlob(resolve, type, QUALITY));
}
