import { describe, expect, it } from "vitest";
import { MAX_SCALE, panBy, transformOf, WHOLE_PICTURE, type Zoom, zoomAt } from "../src/core/zoom.ts";

/** What a player shows at a place: the place in the whole picture. */
function seenAt({ scale, x, y }: Zoom, at: readonly [number, number]): [number, number] {
  return [x + at[0] / scale, y + at[1] / scale];
}

describe("zoomAt", () => {
  it.each([
    [0.5, 0.5],
    [0.1, 0.9],
    [0.83, 0.2],
  ] as const)("keeps what is shown at %f, %f", (x, y) => {
    const once = zoomAt(WHOLE_PICTURE, 2, x, y);
    const twice = zoomAt(once, 1.7, x, y);
    expect(twice.scale).toBeCloseTo(3.4);
    expect(seenAt(twice, [x, y])[0]).toBeCloseTo(x);
    expect(seenAt(twice, [x, y])[1]).toBeCloseTo(y);
  });

  it("shows the whole picture again after zooming out, wherever the pointer is", () => {
    let zoom = zoomAt(WHOLE_PICTURE, 4, 0.9, 0.1);
    for (let i = 0; i < 10; i++) zoom = zoomAt(zoom, 1 / 1.5, 0, 1);
    expect(zoom).toEqual(WHOLE_PICTURE);
  });

  it("has a limit", () => {
    expect(zoomAt(WHOLE_PICTURE, 1e9, 1, 1)).toEqual({ scale: MAX_SCALE, x: 1 - 1 / MAX_SCALE, y: 1 - 1 / MAX_SCALE });
  });
});

describe("panBy", () => {
  it("moves the picture with the pointer, and not over its edge", () => {
    const zoom = zoomAt(WHOLE_PICTURE, 4, 0.5, 0.5);
    const moved = panBy(zoom, 0.2, -0.1);
    expect(seenAt(moved, [0.7, 0.4])[0]).toBeCloseTo(seenAt(zoom, [0.5, 0.5])[0]);
    expect(seenAt(moved, [0.7, 0.4])[1]).toBeCloseTo(seenAt(zoom, [0.5, 0.5])[1]);
    expect(panBy(zoom, 9, -9)).toEqual({ scale: 4, x: 0, y: 0.75 });
  });

  it("does nothing to a picture that is shown whole", () => {
    expect(panBy(WHOLE_PICTURE, 0.5, -0.5)).toEqual(WHOLE_PICTURE);
  });
});

it("is a transform of the element that has the picture", () => {
  expect(transformOf(WHOLE_PICTURE)).toBe("");
  expect(transformOf({ scale: 2, x: 0.25, y: 0.5 })).toBe("scale(2) translate(-25%, -50%)");
});
