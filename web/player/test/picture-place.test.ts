import { describe, expect, it } from "vitest";
import { placeIn } from "../src/core/picture-place.ts";

describe("a place in a picture", () => {
  const box = { left: 10, top: 20, width: 160, height: 90 };

  it("is a share of its sides", () => {
    expect(placeIn(box, { clientX: 90, clientY: 65 }, 16 / 9)).toEqual({ x: 0.5, y: 0.5 });
    expect(placeIn(box, { clientX: 10, clientY: 20 }, 16 / 9)).toEqual({ x: 0, y: 0 });
  });

  it("leaves out the bars beside a narrow picture", () => {
    expect(placeIn(box, { clientX: 50, clientY: 65 }, 1)?.x).toBeCloseTo(5 / 90);
    expect(placeIn(box, { clientX: 44, clientY: 65 }, 1)).toBeNull();
  });
});
