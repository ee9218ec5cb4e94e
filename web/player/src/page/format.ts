// Numbers and times as text.

import { language, type PageMessageKey, t } from "./i18n.ts";

const DATE_TIME = new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "short" });

export function bitrate(bps: number): string {
  return bps >= 1e6 ? `${(bps / 1e6).toFixed(1)} Mbit/s` : `${Math.round(bps / 1000)} kbit/s`;
}

export function bytes(count: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let [value, unit] = [count, 0];
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${value >= 100 || unit === 0 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}

/** Days for people: 1.5, 12, 1,200. */
export function days(count: number): string {
  return new Intl.NumberFormat(language, { maximumFractionDigits: count < 3 ? 1 : 0 }).format(count);
}

/** 3 min 20 s, 3분 20초: two units at most, without zeros. */
export function duration(ms: number): string {
  const seconds = Math.round(ms / 1000);
  const [hours, minutes, rest] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  const parts: [number, PageMessageKey][] =
    hours > 0
      ? [
          [hours, "hours"],
          [minutes, "minutes"],
        ]
      : [
          [minutes, "minutes"],
          [rest, "seconds"],
        ];
  const nonZero = parts.filter(([count]) => count > 0);
  return (nonZero.length > 0 ? nonZero : parts.slice(-1)).map(([count, unit]) => t(unit, { count })).join(" ");
}

export function clock(ms: number): string {
  return new Date(ms).toLocaleTimeString(language, {
    hour: "2-digit",
    minute: "2-digit",
    second: "2-digit",
    hourCycle: "h23",
  });
}

/** A date and a time, as people of the language write them. */
export function dateTime(ms: number): string {
  return DATE_TIME.format(ms);
}

export function shortClock(ms: number): string {
  return new Date(ms).toLocaleTimeString(language, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
}

/** A time in the past: with its day, unless that is today. */
export function since(ms: number): string {
  const isToday = new Date(ms).toDateString() === new Date().toDateString();
  return isToday ? shortClock(ms) : `${shortDay(ms)} ${shortClock(ms)}`;
}

export function day(ms: number): string {
  return new Date(ms).toLocaleDateString(language, {
    weekday: "short",
    year: "numeric",
    month: "short",
    day: "numeric",
  });
}

export function shortDay(ms: number): string {
  return new Date(ms).toLocaleDateString(language, { month: "short", day: "numeric" });
}
