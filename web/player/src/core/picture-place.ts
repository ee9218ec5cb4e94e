// Places in a picture.

/** The place of a point in a picture of an aspect ratio that is fitted into a box, each from 0 to 1; null outside. */
export function placeIn(
  box: { left: number; top: number; width: number; height: number },
  point: { clientX: number; clientY: number },
  aspect: number,
): { x: number; y: number } | null {
  const width = Math.min(box.width, box.height * aspect);
  const height = width / aspect;
  const x = (point.clientX - box.left - (box.width - width) / 2) / width;
  const y = (point.clientY - box.top - (box.height - height) / 2) / height;
  return x >= 0 && x <= 1 && y >= 0 && y <= 1 ? { x, y } : null;
}
