import { afterEach, describe, expect, test, vi } from "vitest";
import {
  addDays,
  addMonths,
  isoDay,
  momentOf,
  momentsOf,
  parseClock,
  parseMoment,
  utcOffset,
  weeksOf,
} from "../src/core/moment.ts";

const T = Date.UTC(2026, 10, 29, 14, 32, 5, 250);

describe("a time of day", () => {
  test.each([
    ["14:32", [14, 32, 0]],
    [" 14:32:05 ", [14, 32, 5]],
    ["1432", [14, 32, 0]],
    ["143205", [14, 32, 5]],
    ["14.32", [14, 32, 0]],
    ["9", [9, 0, 0]],
    ["2:32 pm", [14, 32, 0]],
    ["2:32PM", [14, 32, 0]],
    ["12:05 AM", [0, 5, 0]],
    ["오후 2:32", [14, 32, 0]],
    ["오전 12:05", [0, 5, 0]],
  ])("%s", (text, [hours, minutes, seconds]) => {
    expect(parseClock(text)).toEqual({ hours, minutes, seconds });
  });
  test.each(["", "24:00", "14:60", "14:32:61", "13 pm", "noon", "14:", "123", "12345", "-1"])("%s is none", (text) => {
    expect(parseClock(text)).toBeNull();
  });
});

test("a moment of a day, and the day of a moment, are local", () => {
  const time = momentOf("2026-11-29", { hours: 23, minutes: 59, seconds: 59 });
  expect(isoDay(time)).toBe("2026-11-29");
  expect(isoDay(time + 1000)).toBe("2026-11-30");
});

test("days and months", () => {
  expect(addDays("2026-12-31", 1)).toBe("2027-01-01");
  expect(addMonths("2027-01-31", 1)).toBe("2027-02-28");
  expect(addMonths("2027-01-31", -1)).toBe("2026-12-31");
  const sunday = weeksOf("2026-11-29", 7);
  expect(sunday.length).toBe(6);
  expect(sunday[0]?.[0]).toBe("2026-11-01");
  expect(weeksOf("2026-11-29", 1)[0]?.[0]).toBe("2026-10-26");
  expect(sunday.flat().length).toBe(new Set(sunday.flat()).size);
});

test("moments in links", () => {
  expect(parseMoment("2026-11-29T14:32:05.25Z")).toBe(T);
  expect(parseMoment("2026-11-29T23:32:05.250+09:00")).toBe(T);
  expect(parseMoment("2026-11-29T23:32:05.250 09:00")).toBe(T);
  expect(parseMoment(String(T / 1000))).toBe(T);
  for (const text of [
    "",
    null,
    "yesterday",
    "2026-11-29",
    "2026-11-29T14:32:05",
    "2026-13-29T14:32:05Z",
    "0",
    "59",
    "1969-12-31T23:59:59Z",
  ])
    expect(parseMoment(text)).toBeNull();
});

describe("where clocks are changed", () => {
  afterEach(() => vi.unstubAllEnvs());

  test.each([
    // Central Europe: from 02:00 to 03:00 on 28 March, from 03:00 to 02:00 on 31 October 2027. Lord Howe: half an hour.
    ["Europe/Berlin", "2027-03-28", [1, 59, 0], ["2027-03-28T00:59:00Z"], ["UTC+1"]],
    ["Europe/Berlin", "2027-03-28", [2, 30, 0], [], []],
    ["Europe/Berlin", "2027-10-31", [2, 30, 0], ["2027-10-31T00:30:00Z", "2027-10-31T01:30:00Z"], ["UTC+2", "UTC+1"]],
    ["Europe/Berlin", "2027-10-31", [3, 0, 0], ["2027-10-31T02:00:00Z"], ["UTC+1"]],
    [
      "Australia/Lord_Howe",
      "2027-04-04",
      [1, 45, 0],
      ["2027-04-03T14:45:00Z", "2027-04-03T15:15:00Z"],
      ["UTC+11", "UTC+10:30"],
    ],
    ["America/St_Johns", "2027-07-01", [14, 32, 0], ["2027-07-01T17:02:00Z"], ["UTC\u22122:30"]],
    ["Asia/Seoul", "2027-10-31", [2, 30, 0], ["2027-10-30T17:30:00Z"], ["UTC+9"]],
  ] as const)("%s, %s %s", (zone, day, [hours, minutes, seconds], expected, offsets) => {
    vi.stubEnv("TZ", zone);
    const moments = momentsOf(day, { hours, minutes, seconds });
    expect(moments).toEqual(expected.map((text) => Date.parse(text)));
    expect(moments.map(utcOffset)).toEqual(offsets);
  });
});
