import { describe, expect, it, test } from "vitest";
import { cameraHash, gridHash, parseRoute, playbackHash, TOUR } from "../src/core/route.ts";

const T = Date.UTC(2026, 10, 29, 14, 32, 5, 250);
const ALL = { view: "grid", isFull: false, wall: null };

describe("the grid", () => {
  it.each([
    ["", false, null],
    ["#/", false, null],
    ["#/wall", true, null],
    ["#/?wall=gates", false, "gates"],
    ["#/wall?wall=tour", true, TOUR],
    ["#/?wall=", false, null],
    ["#/?other=1", false, null],
    ["#/anything", false, null],
  ])("%j", (fragment, isFull, wall) => {
    expect(parseRoute(fragment)).toEqual({ view: "grid", isFull, wall });
  });

  it("is read as it is written", () => {
    for (const isFull of [true, false])
      for (const wall of [null, "gates", "a&b=c"])
        expect(parseRoute(gridHash({ isFull, wall }))).toEqual({ view: "grid", isFull, wall });
  });
});

test("cameras, and several on one clock, with the moments of links", () => {
  expect(parseRoute("#/camera/door")).toEqual({ view: "camera", camera: "door", time: null });
  expect(parseRoute(cameraHash("door", T))).toEqual({ view: "camera", camera: "door", time: T });
  expect(parseRoute("#/camera/..%2f")).toEqual(ALL);
  expect(parseRoute(playbackHash(["door", "gate"], T))).toEqual({
    view: "playback",
    cameras: ["door", "gate"],
    time: T,
  });
  const many = [...Array(12).keys()].map((number) => `cam${number}`);
  expect(parseRoute(playbackHash([...many, "cam1"], null))).toEqual({
    view: "playback",
    cameras: many.slice(0, 9),
    time: null,
  });
  expect(parseRoute("#/playback?cameras=door,,<b>,door")).toMatchObject({ cameras: ["door"] });
});

test("exports, with what is to be exported", () => {
  expect(parseRoute("#/access")).toEqual({ view: "access" });
  const route = parseRoute("#/exports?cameras=door");
  expect(route.view === "exports" && route.parameters.get("cameras")).toBe("door");
});
