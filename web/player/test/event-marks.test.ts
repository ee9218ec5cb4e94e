import { expect, it } from "vitest";
import { type EventMark, extentOf, markAt, toMark } from "../src/core/event-marks.ts";

const view = { from: 1_000_000, to: 1_100_000 };
const now = 1_090_000;
const mark = (id: string, start: number, end: number | null): EventMark => ({
  id,
  label: id,
  source: "api",
  start,
  end,
});
const at = (marks: EventMark[], x: number) => markAt(marks, view, 1000, now, x)?.id;

it("reads the times of an event", () => {
  const event = { id: "1", label: "ring", source: "ems", start: "1970-01-01T00:16:40Z", end: null };
  expect(toMark(event as Parameters<typeof toMark>[0])).toEqual({ ...event, start: 1_000_000 });
  expect(toMark({ ...event, end: "1970-01-01T00:16:41.500Z" } as Parameters<typeof toMark>[0]).end).toBe(1_001_500);
});

it("has the pixels of a span, cut to the view", () => {
  expect(extentOf(mark("span", 1_010_000, 1_030_000), view, 1000, now)).toEqual({ left: 100, width: 200 });
  expect(extentOf(mark("over all", 0, 9_000_000), view, 1000, now)).toEqual({ left: 0, width: 1000 });
  expect(extentOf(mark("short", 1_010_000, 1_010_001), view, 1000, now)).toEqual({ left: 100, width: 3 });
});

it("has a tick around a moment", () => {
  expect(extentOf(mark("moment", 1_010_000, 1_010_000), view, 1000, now)).toEqual({ left: 98.5, width: 3 });
});

it("ends an event that goes on now, never before its start", () => {
  expect(extentOf(mark("open", 1_050_000, null), view, 1000, now)).toEqual({ left: 500, width: 400 });
  expect(extentOf(mark("ahead", now + 5000, null), view, 1000, now)).toEqual({ left: 950, width: 3 });
});

it("has nothing of what is not in the view", () => {
  expect(extentOf(mark("before", 0, 999_999), view, 1000, now)).toBeNull();
  expect(extentOf(mark("after", 1_100_001, 1_200_000), view, 1000, now)).toBeNull();
  expect(extentOf(mark("open, over", 1_100_001, null), view, 1000, now)).toBeNull();
});

it("finds the shortest event at a pixel, and the nearest moment", () => {
  const marks = [
    mark("long", 1_000_000, 1_080_000),
    mark("ring", 1_020_000, 1_020_000),
    mark("second ring", 1_020_800, 1_020_800),
  ];
  expect(at(marks, 400)).toBe("long");
  expect(at(marks, 200)).toBe("ring");
  expect(at(marks, 207)).toBe("second ring");
  expect(at(marks, 820)).toBeUndefined();
  expect(at(marks, 803)).toBe("long");
});
