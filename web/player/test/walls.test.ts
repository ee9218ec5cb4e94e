import { describe, expect, it } from "vitest";
import { moved, newWallId, nextOf } from "../src/core/walls.ts";
import type { Wall } from "../src/generated/api.ts";

const wall = (wall_id: string, tour_s: number | null = null): Wall => ({
  wall_id,
  name: wall_id,
  columns: 0,
  tiles: [{ camera_id: "door", rendition: "auto" }],
  tour_s,
  revision: "",
});

describe("the tour", () => {
  const walls = [wall("a", 10), wall("b"), wall("c", 5)];

  it("shows the walls that have a time, one after the other", () => {
    const [first] = [nextOf(walls, null)];
    const second = nextOf(walls, first);
    expect([first?.wall_id, second?.wall_id, nextOf(walls, second)?.wall_id]).toEqual(["a", "c", "a"]);
  });

  it("begins again after a wall that is gone", () => {
    expect(nextOf(walls, wall("gone", 3))?.wall_id).toBe("a");
  });

  it("is none without such walls", () => {
    expect(nextOf([wall("b")], null)).toBeNull();
  });
});

it("moves a tile, as far as there are places", () => {
  expect(moved(["a", "b", "c"], 0, 1)).toEqual(["b", "a", "c"]);
  expect(moved(["a", "b", "c"], 2, -5)).toEqual(["c", "a", "b"]);
  expect(moved(["a", "b", "c"], 1, 9)).toEqual(["a", "c", "b"]);
  expect(moved(["a"], 3, 1)).toEqual(["a"]);
});

it.each([
  ["Gates and doors", [], "gates-and-doors"],
  ["Gates", ["gates", "gates-2"], "gates-3"],
  ["정문", [], "wall"],
  ["Tour", [], "wall"],
  ["Entrée 2", [], "entree-2"],
])("makes an id of the name %j", (name, taken, id) => {
  expect(newWallId(name, taken)).toBe(id);
});
