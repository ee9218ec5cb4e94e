// Digital zoom: which part of the picture fills the player. All lengths are shares of the player's width and height.

/** The visible part begins at `x`, `y`, and is `1 / scale` wide and high. */
export interface Zoom {
  readonly scale: number;
  readonly x: number;
  readonly y: number;
}

export const WHOLE_PICTURE: Zoom = { scale: 1, x: 0, y: 0 };

export const MAX_SCALE = 8;

/** Zoom by a factor. What is shown at this point stays there, as far as the picture reaches. */
export function zoomAt(zoom: Zoom, factor: number, x: number, y: number): Zoom {
  const scale = Math.min(MAX_SCALE, Math.max(1, zoom.scale * factor));
  return within(scale, zoom.x + x / zoom.scale - x / scale, zoom.y + y / zoom.scale - y / scale);
}

/** Move the picture by so much, as a pointer drags it. */
export function panBy(zoom: Zoom, dx: number, dy: number): Zoom {
  return within(zoom.scale, zoom.x - dx / zoom.scale, zoom.y - dy / zoom.scale);
}

/** As a `transform` whose origin is the left upper corner. */
export function transformOf({ scale, x, y }: Zoom): string {
  return scale === 1 ? "" : `scale(${scale}) translate(${-100 * x}%, ${-100 * y}%)`;
}

function within(scale: number, x: number, y: number): Zoom {
  const most = 1 - 1 / scale;
  const clamp = (value: number) => Math.min(most, Math.max(0, value));
  return { scale, x: clamp(x), y: clamp(y) };
}
