// Saved walls, and the tour that shows one after the other.

import type { Wall } from "../generated/api.ts";
import { TOUR } from "./route.ts";

/** The walls of the tour, in their order. */
export function tourOf(walls: readonly Wall[]): Wall[] {
  return walls.filter(({ tour_s }) => tour_s !== null);
}

/** The wall of the tour after this one; null without a tour. The one after a wall that is gone is the first. */
export function nextOf(walls: readonly Wall[], shown: Wall | null): Wall | null {
  const tour = tourOf(walls);
  const at = tour.findIndex(({ wall_id }) => wall_id === shown?.wall_id);
  return tour[(at + 1) % tour.length] ?? null;
}

/** The items with one moved by a number of places, as far as there are any. */
export function moved<T>(items: readonly T[], from: number, by: number): T[] {
  const rest = items.filter((_, at) => at !== from);
  const [item] = items.slice(from, from + 1);
  if (item === undefined) return rest;
  const to = Math.min(rest.length, Math.max(0, from + by));
  return [...rest.slice(0, to), item, ...rest.slice(to)];
}

/** An id for a new wall: of its name where that has letters that an id may have. */
export function newWallId(name: string, taken: readonly string[]): string {
  const plain = name
    .normalize("NFKD")
    .replace(/\p{M}/gu, "")
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/^-+|-+$/g, "")
    .slice(0, 40);
  const base = plain === "" || plain === TOUR ? "wall" : plain;
  let id = base;
  for (let number = 2; taken.includes(id); number++) id = `${base}-${number}`;
  return id;
}
