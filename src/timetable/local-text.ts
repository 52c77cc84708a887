/** Local dates and date-times as rules write them: "2026-10-25" and "2026-10-25T02:30:00". */
import type { CivilDate, WallTime } from "./civil-time.ts";
import { formatDate, utcMs } from "./civil-time.ts";

const dateForm = /^(\d{4})-(\d\d)-(\d\d)$/;
const dateTimeForm = /^(\d{4}-\d\d-\d\d)T(\d\d):(\d\d)(?::(\d\d))?$/;
const midnight = { hour: 0, minute: 0, second: 0 } as const;

/** "2026-10-25", or null when the text is none or the calendar has no such date (the years 1 to 9999). */
export function readDate(text: string): CivilDate | null {
  const [year = 0, month = 0, day = 0] = (dateForm.exec(text) ?? []).slice(1).map(Number);
  return year > 0 && utcMs({ year, month, day, ...midnight }) !== null ? { year, month, day } : null;
}

/** "2026-10-25T02:30:00", seconds at will, or null when the text is none or there is no such date or time. */
export function readDateTime(text: string): WallTime | null {
  const [, datePart = "", hour, minute, second = "00"] = dateTimeForm.exec(text) ?? [];
  const date = readDate(datePart);
  if (date === null) return null;
  const local = { ...date, hour: Number(hour), minute: Number(minute), second: Number(second) };
  return utcMs(local) === null ? null : local;
}

/** "2026-10-25T02:30:00" */
export function formatDateTime({ hour, minute, second, ...date }: WallTime): string {
  return `${formatDate(date)}T${[hour, minute, second].map((part) => String(part).padStart(2, "0")).join(":")}`;
}

/** What a clock in UTC shows at `utcInstantMs` (epoch milliseconds): a local time that is held as such a reading. */
export function wallTimeAt(utcInstantMs: number): WallTime {
  const utc = new Date(utcInstantMs);
  return {
    year: utc.getUTCFullYear(),
    month: utc.getUTCMonth() + 1,
    day: utc.getUTCDate(),
    hour: utc.getUTCHours(),
    minute: utc.getUTCMinutes(),
    second: utc.getUTCSeconds(),
  };
}
