/**
 * Opening hours: those of each weekday, and other hours (or none) on single dates. What is open past midnight belongs to
 * the day on which it opened, and its closing is counted on: 18:00 to 26:00.
 */
import type { CarillonError } from "../errors.ts";
import type { CivilDate } from "./civil-time.ts";
import { addDays, formatDate, parseDate, weekdayOf } from "./civil-time.ts";
import { dayMinutes, dayTimeAt, dayTimeForm, parseDayTime } from "./day-time.ts";
import { asList, asRecord, invalid, parametersOf, pointerTo } from "./parameters.ts";
import type { SlotTime } from "./slot-time.ts";

/** From `opens` ("09:00", before "24:00") until `closes` (after it, "26:00" for two in the night). */
export interface Hours {
  readonly opens: string;
  readonly closes: string;
}

export interface WeeklyTimetable {
  readonly kind: "weekly";
  /** by ISO weekday, "1" (Monday) to "7" (Sunday), all of them; an empty list: closed */
  readonly days: Readonly<Record<string, readonly Hours[]>>;
  /** by date ("2026-12-25"), in place of the weekday's hours; an empty list: closed */
  readonly exceptions: Readonly<Record<string, readonly Hours[]>>;
}

const weekdays = ["1", "2", "3", "4", "5", "6", "7"] as const;
const hoursPerDayMax = 10;
const exceptionsMax = 5_000;
const numberedSlot = /^(opens|closes)(?::([1-9]\d?))?$/;

/**
 * `opens` and `closes`, the first opening and the last closing of a day; and where some day has several hours, those of
 * each by number: `opens:1`, `closes:1`, `opens:2`, `closes:2` and so on.
 */
export function weeklySlots({ days, exceptions }: WeeklyTimetable): readonly string[] {
  const most = Math.max(...[...Object.values(days), ...Object.values(exceptions)].map((hours) => hours.length));
  const numbers = most < 2 ? [] : Array.from({ length: most }, (_, index) => index + 1);
  return ["opens", "closes", ...numbers.flatMap((number) => [`opens:${number}`, `closes:${number}`])];
}

/**
 * When `slot` is on `date` in `zone`. Hours that lie wholly within an hour that clocks leave out are not held.
 *
 * @throws CarillonError unknown_zone
 */
export function weeklyTime(timetable: WeeklyTimetable, zone: string, slot: string, date: CivilDate): SlotTime {
  const [, end, number] = numberedSlot.exec(slot) ?? [];
  if (end !== "opens" && end !== "closes") return { none: "no_such_slot" };
  const all = hoursOn(timetable, date);
  if (all.length === 0) return { none: "closed" };
  const index = number === undefined ? (end === "opens" ? 0 : all.length - 1) : Number(number) - 1;
  const hours = all[index];
  if (hours === undefined) return { none: weeklySlots(timetable).includes(slot) ? "no_further_hours" : "no_such_slot" };

  const opens = dayTimeAt(date, parseDayTime(hours.opens) ?? Number.NaN, zone);
  const closes = dayTimeAt(date, parseDayTime(hours.closes) ?? Number.NaN, zone);
  if ("at" in opens && "at" in closes && closes.at <= opens.at) return { none: "skipped_wall_time" };
  return end === "opens" ? opens : closes;
}

/**
 * @param pointer RFC 6901 pointer to `params`
 * @throws CarillonError invalid_request, pointing at the parameter at fault: a weekday, date or time that isn't one,
 *   hours that overlap each other or those that are still open from the day before
 */
export function parseWeeklyTimetable(params: unknown, pointer = ""): WeeklyTimetable {
  const given = parametersOf("weekly", params, ["days", "exceptions"], pointer);
  const timetable: WeeklyTimetable = {
    kind: "weekly",
    days: parseDays(given.days ?? {}, `${pointer}/days`),
    exceptions: parseExceptions(given.exceptions ?? {}, `${pointer}/exceptions`),
  };
  const all = [...Object.values(timetable.days), ...Object.values(timetable.exceptions)];
  if (all.every((hours) => hours.length === 0)) throw invalid("Some day must have hours", `${pointer}/days`);
  assertClosedBefore(timetable, pointer);
  return timetable;
}

function hoursOn({ days, exceptions }: WeeklyTimetable, date: CivilDate): readonly Hours[] {
  return exceptions[formatDate(date)] ?? days[weekdayOf(date)] ?? [];
}

function parseDays(given: unknown, pointer: string): Record<string, readonly Hours[]> {
  const days: Record<string, readonly Hours[]> = Object.fromEntries(weekdays.map((weekday) => [weekday, []]));
  for (const [weekday, hours] of Object.entries(asRecord(given, pointer))) {
    const at = pointerTo(pointer, weekday);
    if (!weekdays.some((known) => known === weekday)) throw invalid("A day must be 1 (Monday) to 7 (Sunday)", at);
    days[weekday] = parseHours(hours, at);
  }
  return days;
}

function parseExceptions(given: unknown, pointer: string): Record<string, readonly Hours[]> {
  const exceptions: Record<string, readonly Hours[]> = {};
  const dates = Object.entries(asRecord(given, pointer));
  if (dates.length > exceptionsMax) throw invalid(`There can be ${exceptionsMax} exceptions at most`, pointer);
  for (const [date, hours] of dates) {
    const at = pointerTo(pointer, date);
    if (parseDate(date) === null) throw invalid('There is no such date; it is written "YYYY-MM-DD"', at);
    exceptions[date] = parseHours(hours, at);
  }
  return exceptions;
}

function parseHours(given: unknown, pointer: string): readonly Hours[] {
  const list = asList(given, pointer);
  if (list.length > hoursPerDayMax) throw invalid(`A day can have ${hoursPerDayMax} hours at most`, pointer);
  let closedAt = 0;
  return list.map((each, index) => {
    const at = `${pointer}/${index}`;
    const { opens, closes, ...others } = asRecord(each, at);
    for (const name of Object.keys(others)) throw invalid("Hours have opens and closes only", pointerTo(at, name));
    const opensAt = minutesOf(opens, `${at}/opens`);
    const closesAt = minutesOf(closes, `${at}/closes`);
    if (opensAt >= dayMinutes) throw invalid("Hours must open before 24:00 of their own day", `${at}/opens`);
    if (opensAt < closedAt) throw invalid("Hours must not overlap, the earliest first", `${at}/opens`);
    if (closesAt <= opensAt) {
      throw invalid('closes must be after opens; two in the night is written "26:00"', `${at}/closes`);
    }
    closedAt = closesAt;
    return { opens: String(opens), closes: String(closes) };
  });
}

function minutesOf(value: unknown, pointer: string): number {
  const minutes = typeof value === "string" ? parseDayTime(value) : null;
  if (minutes === null) throw invalid(`A time is written ${dayTimeForm}`, pointer);
  return minutes;
}

/** Nobody opens while still open from the day before: between weekdays, and around each exception. */
function assertClosedBefore(timetable: WeeklyTimetable, pointer: string): void {
  for (const [index, weekday] of weekdays.entries()) {
    const before = timetable.days[weekdays[(index + 6) % 7] ?? ""] ?? [];
    const fault = stillOpen(before, timetable.days[weekday] ?? [], `${pointer}/days/${weekday}`);
    if (fault !== null) throw fault;
  }
  for (const text of Object.keys(timetable.exceptions)) {
    const date = parseDate(text);
    if (date === null) continue;
    const at = `${pointer}/exceptions/${text}`;
    const [before, on, after] = [addDays(date, -1), date, addDays(date, 1)].map((each) => hoursOn(timetable, each));
    const fault = stillOpen(before ?? [], on ?? [], at) ?? stillOpen(on ?? [], after ?? [], at);
    if (fault !== null) throw fault;
  }
}

function stillOpen(before: readonly Hours[], on: readonly Hours[], pointer: string): CarillonError | null {
  const closesAt = parseDayTime(before.at(-1)?.closes ?? "") ?? 0;
  const opensAt = parseDayTime(on[0]?.opens ?? "") ?? dayMinutes;
  if (closesAt - dayMinutes <= opensAt) return null;
  return invalid("These hours overlap those of the day before or after", pointer);
}
