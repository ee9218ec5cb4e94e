// The controls of what a timeline shows: the day, and how much of it.

import { dayBeside } from "../core/timeline.ts";
import { iconButton } from "./icon-button.ts";
import type { MomentPicker } from "./moment-picker.ts";
import type { Timeline } from "./timeline.ts";

/** The days before and after, and between them the choice of any. */
export function dayControls(timeline: Timeline, picker: MomentPicker): HTMLElement[] {
  return [
    iconButton("back", "previousDay", () => timeline.setView(dayBeside(timeline.view, -1))),
    picker.element,
    iconButton("next", "nextDay", () => timeline.setView(dayBeside(timeline.view, 1))),
  ];
}

export function zoomControls(timeline: Timeline): HTMLElement[] {
  return [
    iconButton("zoomOut", "zoomOut", () => timeline.zoom(2)),
    iconButton("zoomIn", "zoomIn", () => timeline.zoom(1 / 2)),
  ];
}
