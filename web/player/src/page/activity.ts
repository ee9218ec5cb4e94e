// The activity of a camera: that of a view, and where the next one begins.

import { type ActivityScores, stepFor, toScores } from "../core/activity.ts";
import { ApiError } from "../core/api.ts";
import type { View } from "../core/timeline.ts";
import type { ActivityPeriod, ActivityTimeline } from "../generated/api.ts";
import { iso } from "./archive.ts";
import { store } from "./store.ts";

/** The activity in a view that is `width` pixels wide; null for a token that may not see it. */
export async function activityIn(
  camera: string,
  view: View,
  width: number,
  signal: AbortSignal,
): Promise<ActivityScores | null> {
  if (!store.hasScope("archive")) return null;
  const query = new URLSearchParams({ start: iso(view.from), end: iso(view.to), step: String(stepFor(view, width)) });
  try {
    return toScores(await store.api.json<ActivityTimeline>(`/api/cameras/${camera}/activity?${query}`, { signal }));
  } catch (error) {
    if (error instanceof ApiError && [401, 403, 404].includes(error.status)) return null;
    throw error;
  }
}

/** When activity begins after a time, or before it; null if there is none. */
export async function findActivity(
  camera: string,
  time: number,
  direction: "next" | "previous",
  signal: AbortSignal,
): Promise<number | null> {
  const query = new URLSearchParams({ time: iso(time), direction });
  try {
    const { start } = await store.api.json<ActivityPeriod>(`/api/cameras/${camera}/activity/next?${query}`, { signal });
    return Date.parse(start);
  } catch (error) {
    if (error instanceof ApiError && error.status === 404) return null;
    throw error;
  }
}
