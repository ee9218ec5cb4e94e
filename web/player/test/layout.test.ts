import { describe, expect, it } from "vitest";
import { bestColumns, GAP_PX, TILE_MIN_PX } from "../src/core/layout.ts";

/** The width of a 16:9 tile in so many columns. */
function tile(columns: number, count: number, width: number, height: number): number {
  const rows = Math.ceil(count / columns);
  return Math.min((width - (columns - 1) * GAP_PX) / columns, ((height - (rows - 1) * GAP_PX) / rows) * (16 / 9));
}

describe("bestColumns", () => {
  it.each([
    [1, 1440, 800, 1],
    [2, 1440, 800, 2],
    [4, 1440, 800, 2],
    [9, 1440, 800, 3],
    [9, 1920, 1080, 3],
    [12, 1920, 1080, 4],
    [16, 1920, 1080, 4],
    [25, 3840, 2160, 5],
    [9, 804, 1100, 2],
    [3, 3840, 1080, 3],
    [9, 374, 700, 1],
  ])("%i cameras in %i × %i have %i columns", (count, width, height, columns) => {
    expect(bestColumns(count, width, height)).toBe(columns);
  });

  it("makes the largest possible tiles", () => {
    for (let count = 1; count <= 40; count++) {
      const [width, height] = [1200 + count * 37, 700 + ((count * 53) % 400)];
      const best = tile(bestColumns(count, width, height), count, width, height);
      if (best < TILE_MIN_PX) continue;
      for (let columns = 1; columns <= count; columns++)
        expect(tile(columns, count, width, height)).toBeLessThanOrEqual(best);
    }
  });

  it("fills the width if the tiles do not fit on the screen", () => {
    expect(bestColumns(100, 1000, 600)).toBe(4);
  });

  it("is 1 at least, even without any space", () => {
    expect([bestColumns(0, 300, 300), bestColumns(5, 0, 0), bestColumns(3, 100, -50)]).toEqual([1, 1, 1]);
  });
});
