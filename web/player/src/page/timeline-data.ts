// Keeps the timeline of one camera up to date: what was recorded, how much happened, and its events; with the lists below
// it, and its legend. What cannot be read stays as it was: the next time is soon.

import { ApiError } from "../core/api.ts";
import { firstView, listedRange, mergeRanges } from "../core/timeline.ts";
import { activityIn } from "./activity.ts";
import { rangeOf, segmentsOf } from "./archive.ts";
import { type EventList, eventsIn } from "./event-list.ts";
import type { RecordedPictures } from "./recorded-pictures.ts";
import type { Recordings } from "./recordings.ts";
import { store } from "./store.ts";
import type { Timeline } from "./timeline.ts";
import type { TimelineLegend } from "./timeline-legend.ts";
import { every } from "./timer.ts";

const RELOAD_MS = 10_000;
/** Events are polled: a stream would keep one of the six connections that a browser has. */
const EVENTS_MS = 3000;
const RELOAD_DELAY_MS = 150;

/** Where it is shown. */
export interface TimelineParts {
  timeline: Timeline;
  legend: TimelineLegend;
  pictures: RecordedPictures;
  recordings: Recordings;
  eventList: EventList;
  failed(error: unknown): void;
}

export class TimelineData {
  /** Whether the first answer may choose what is shown. */
  choosesView = true;
  private readonly closing = new AbortController();
  private eventsRequest = new AbortController();
  private activityRequest = new AbortController();
  private isLoadingEvents = false;
  private reloadTimer = 0;

  constructor(
    private readonly camera: string,
    private readonly parts: TimelineParts,
  ) {
    const { signal } = this.closing;
    every(RELOAD_MS, signal, () => document.hidden || void this.reload());
    every(EVENTS_MS, signal, () => document.hidden || this.isLoadingEvents || void this.reloadEvents());
    void this.reload();
    void this.reloadEvents();
  }

  close(): void {
    this.closing.abort();
    this.eventsRequest.abort();
    this.activityRequest.abort();
    clearTimeout(this.reloadTimer);
  }

  /** Another part is shown now: read it when it has not changed for a moment. */
  viewChanged(): void {
    clearTimeout(this.reloadTimer);
    this.reloadTimer = window.setTimeout(() => {
      void this.reload();
      void this.reloadEvents();
    }, RELOAD_DELAY_MS);
  }

  async reload(): Promise<void> {
    if (!store.hasScope("archive")) return;
    const { timeline, legend, pictures, recordings, failed } = this.parts;
    const range = listedRange(timeline.view, store.now);
    const segments = await segmentsOf(this.camera, range, this.closing.signal).catch((error: unknown) => {
      if (error instanceof ApiError && error.status !== 404) failed(error);
    });
    if (!segments) return;
    void this.reloadActivity();
    const recorded = mergeRanges(segments.map(rangeOf));
    const hasSub = recorded.some(({ isSub }) => isSub);
    legend.explain("legendSub", hasSub);
    pictures.setSegments(this.camera, segments);
    timeline.setRecorded(recorded);
    recordings.show(segments);
    if (this.choosesView) {
      this.choosesView = false;
      const view = firstView(recorded, store.now);
      if (view) timeline.setView(view);
    }
  }

  private async reloadActivity(): Promise<void> {
    this.activityRequest.abort();
    this.activityRequest = new AbortController();
    const { signal } = this.activityRequest;
    const { timeline, legend } = this.parts;
    try {
      const activity = await activityIn(this.camera, timeline.view, timeline.width, signal);
      if (signal.aborted) return;
      legend.explain("legendActivity", activity?.scores.some((score) => score) ?? false);
      timeline.setActivity(activity);
    } catch {
      // As said above.
    }
  }

  /** An answer that comes too late does not replace that of a later request. */
  private async reloadEvents(): Promise<void> {
    this.eventsRequest.abort();
    this.eventsRequest = new AbortController();
    const { signal } = this.eventsRequest;
    const { timeline, legend, eventList } = this.parts;
    this.isLoadingEvents = true;
    try {
      const { marks, hasMore } = await eventsIn(this.camera, timeline.view, signal);
      if (signal.aborted) return;
      legend.explain("legendEvent", marks.length > 0);
      timeline.setEvents(marks);
      eventList.show(marks, hasMore);
    } catch {
      // As said above, and the page says when the gateway does not answer.
    }
    if (!signal.aborted) this.isLoadingEvents = false;
  }
}
