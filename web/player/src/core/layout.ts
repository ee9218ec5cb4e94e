// How tiles fill a window.

/** Between two tiles, and around all of them. */
export const GAP_PX = 8;
export const WALL_GAP_PX = 2;
export const TILE_MIN_PX = 240;

/** The number of columns with the largest 16:9 tiles, for `count` tiles in `width` × `height` pixels, `gap` apart. */
export function bestColumns(count: number, width: number, height: number, gap = GAP_PX): number {
  const most = Math.max(1, Math.min(count, Math.floor((width + gap) / (Math.min(TILE_MIN_PX, width) + gap))));
  let best = most;
  let bestWidth = 0;
  for (let columns = 1; columns <= most; columns++) {
    const rows = Math.ceil(count / columns);
    const byWidth = (width - (columns - 1) * gap) / columns;
    const byHeight = ((height - (rows - 1) * gap) / rows) * (16 / 9);
    const tile = Math.min(byWidth, byHeight);
    if (tile > bestWidth) [best, bestWidth] = [columns, tile];
  }
  // If they do not all fit on one screen, fill the width and scroll.
  return bestWidth < TILE_MIN_PX ? most : best;
}
