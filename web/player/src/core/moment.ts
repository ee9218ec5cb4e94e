// Moments: a time of day that is typed in, the days of a calendar, and moments in links.
// Times are ms since the Unix epoch. Days are those of the browser's time zone, written 2026-11-22.

export interface ClockTime {
  hours: number;
  minutes: number;
  seconds: number;
}

const WEEKS = 6;
const DAY_MS = 86_400_000;
const DAYS_OF_WEEK = 7;
/** Nothing was recorded before it, and times around it could be negative. */
const EARLIEST_MS = Date.UTC(1971, 0, 1);

/** A time of day: 14:32, 14:32:05, 1432, 143205, 2:32 pm, 오후 2:32; null if it is none. */
export function parseClock(text: string): ClockTime | null {
  const half = /(?:^|[\s\d])(am|pm|오전|오후)(?=$|[\s\d])/i.exec(text)?.[1]?.toLowerCase() ?? "";
  const digits = text.replace(/am|pm|오전|오후/i, "").trim();
  const match =
    /^(\d{1,2})(?:[:.\s](\d{1,2}))?(?:[:.\s](\d{1,2}))?$/.exec(digits) ?? /^(\d{2})(\d{2})(\d{2})?$/.exec(digits);
  if (!match) return null;
  let hours = Number(match[1]);
  const [minutes, seconds] = [Number(match[2] ?? 0), Number(match[3] ?? 0)];
  if (half && (hours < 1 || hours > 12)) return null;
  if (half === "pm" || half === "오후") hours = (hours % 12) + 12;
  else if (half) hours %= 12;
  return hours < 24 && minutes < 60 && seconds < 60 ? { hours, minutes, seconds } : null;
}

/** The moment of a time of day on a day. */
export function momentOf(day: string, { hours, minutes, seconds }: ClockTime): number {
  const [year = 1970, month = 1, date = 1] = day.split("-").map(Number);
  return new Date(year, month - 1, date, hours, minutes, seconds).getTime();
}

/** All moments of a time of day: none where summer time skips it, two where the clocks show it twice. */
export function momentsOf(day: string, { hours, minutes, seconds }: ClockTime): number[] {
  const [year = 1970, month = 1, date = 1] = day.split("-").map(Number);
  const utc = Date.UTC(year, month - 1, date, hours, minutes, seconds);
  const offsets = [-1, 1].map((days) => new Date(utc + days * DAY_MS).getTimezoneOffset());
  return [...new Set(offsets)]
    .map((offset) => utc + offset * 60_000)
    .filter((time) => new Date(time).getHours() === hours && new Date(time).getMinutes() === minutes)
    .sort((a, b) => a - b);
}

/** The offset of local time from UTC at a moment: UTC+9, UTC+5:30, UTC−3. */
export function utcOffset(time: number): string {
  const offset = -new Date(time).getTimezoneOffset();
  const [hours, minutes] = [Math.floor(Math.abs(offset) / 60), Math.abs(offset) % 60];
  return `UTC${offset < 0 ? "\u2212" : "+"}${hours}${minutes ? `:${String(minutes).padStart(2, "0")}` : ""}`;
}

/** The local day of a moment. */
export function isoDay(time: number | Date): string {
  const date = new Date(time);
  const two = (value: number) => String(value).padStart(2, "0");
  return `${String(date.getFullYear()).padStart(4, "0")}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
}

/** A day that is so many days after another one, or before it if negative. */
export function addDays(day: string, days: number): string {
  const [year = 1970, month = 1, date = 1] = day.split("-").map(Number);
  return isoDay(new Date(year, month - 1, date + days));
}

/** The same day of another month, or the last one of that month. */
export function addMonths(day: string, months: number): string {
  const [year = 1970, month = 1, date = 1] = day.split("-").map(Number);
  const last = new Date(year, month + months, 0).getDate();
  return isoDay(new Date(year, month - 1 + months, Math.min(date, last)));
}

/** The weeks of a calendar page with a day's month. `firstDay`: 1 is Monday, 7 Sunday. */
export function weeksOf(day: string, firstDay: number): string[][] {
  const [year = 1970, month = 1] = day.split("-").map(Number);
  const first = new Date(year, month - 1, 1);
  const before = (first.getDay() - (firstDay % DAYS_OF_WEEK) + DAYS_OF_WEEK) % DAYS_OF_WEEK;
  const begin = isoDay(new Date(year, month - 1, 1 - before));
  return Array.from({ length: WEEKS }, (_, week) =>
    Array.from({ length: DAYS_OF_WEEK }, (_, place) => addDays(begin, week * DAYS_OF_WEEK + place)),
  );
}

/** A moment in a link: RFC 3339 with a zone, or Unix seconds; null if it is none. */
export function parseMoment(text: string | null): number | null {
  if (!text) return null;
  if (/^\d{1,11}(\.\d+)?$/.test(text)) return later(Math.round(Number(text) * 1000));
  // A "+" that nobody escaped arrives as a space.
  const rfc3339 = /^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+ -]\d\d:\d\d)$/i;
  const time = rfc3339.test(text) ? Date.parse(text.replace(" ", "+")) : Number.NaN;
  return later(time);
}

const later = (time: number) => (time >= EARLIEST_MS ? time : null);
