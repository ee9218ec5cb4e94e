// What happened on several cameras: their events and their activity in a view, and where the next of either begins.

import type { ActivityScores } from "../core/activity.ts";
import { ApiError } from "../core/api.ts";
import type { EventMark } from "../core/event-marks.ts";
import type { View } from "../core/timeline.ts";
import type { EventList } from "../generated/api.ts";
import { activityIn, findActivity } from "./activity.ts";
import { iso } from "./archive.ts";
import { eventsIn } from "./event-list.ts";
import { store } from "./store.ts";

/** What begins within so much of the moment is what is shown, as of the next and the previous activity. */
const AHEAD_MS = 1000;
const BEHIND_MS = 4000;
/** Events that began before and go on are in the answer, too. */
const EVENTS_READ = 50;

/** The events of all cameras in a view, each with the name of its camera. */
export async function eventsOf(
  cameras: readonly string[],
  view: View,
  signal: AbortSignal,
  nameOf: (camera: string) => string,
): Promise<EventMark[]> {
  const found = await Promise.all(cameras.map((camera) => eventsIn(camera, view, signal)));
  return found.flatMap(({ marks }, number) =>
    marks.map((mark) => ({ ...mark, label: `${nameOf(cameras[number] ?? "")}: ${mark.label}` })),
  );
}

/** The activity in a view: of each step the highest score of any camera. */
export async function activityOf(
  cameras: readonly string[],
  view: View,
  width: number,
  signal: AbortSignal,
): Promise<ActivityScores | null> {
  const found = await Promise.all(cameras.map((camera) => activityIn(camera, view, width, signal)));
  const all = found.filter((scores) => scores !== null);
  const [first] = all;
  if (!first) return null;
  // They are of one view and one step, and begin at multiples of the step.
  const scores = first.scores.map((_, step) => {
    const known = all.map((each) => each.scores[step] ?? null).filter((score) => score !== null);
    return known.length > 0 ? Math.max(...known) : null;
  });
  return { ...first, scores };
}

/** When an event or activity of any of the cameras begins after a time, or before it; null without any. */
export async function findMark(
  cameras: readonly string[],
  time: number,
  direction: "next" | "previous",
  signal: AbortSignal,
): Promise<number | null> {
  const found = await Promise.all(
    cameras.flatMap((camera) => [
      findActivity(camera, time, direction, signal),
      findEvent(camera, time, direction, signal),
    ]),
  );
  const times = found.filter((each) => each !== null);
  if (times.length === 0) return null;
  return direction === "next" ? Math.min(...times) : Math.max(...times);
}

async function findEvent(
  camera: string,
  time: number,
  direction: "next" | "previous",
  signal: AbortSignal,
): Promise<number | null> {
  if (!store.hasScope("view")) return null;
  const query =
    direction === "next"
      ? new URLSearchParams({ start: iso(time + AHEAD_MS), order: "oldest" })
      : new URLSearchParams({ end: iso(time - BEHIND_MS), order: "newest" });
  query.set("limit", String(EVENTS_READ));
  try {
    const { events } = await store.api.json<EventList>(`/api/cameras/${camera}/events?${query}`, { signal });
    const starts = events.map(({ start }) => Date.parse(start));
    const isWanted = (start: number) => (direction === "next" ? start > time + AHEAD_MS : start < time - BEHIND_MS);
    return starts.find(isWanted) ?? null;
  } catch (error) {
    if (error instanceof ApiError && [401, 403, 404].includes(error.status)) return null;
    throw error;
  }
}
