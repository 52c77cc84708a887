/**
 * Civil dates, zones, and the only place that turns a wall time in a zone into instants. Everything here depends on
 * its arguments and on the zone data alone: not on today's date, the process' zone or its locale.
 */
import { IANAZone } from "luxon";
import { CarillonError } from "../errors.ts";
import type { GapPolicy, OverlapPolicy } from "../reminder/rule.ts";

const secondMs = 1_000;
const minuteMs = 60 * secondMs;
const dayMs = 24 * 60 * minuteMs;

/** A day of the proleptic Gregorian calendar; `month` and `day` count from 1. */
export interface CivilDate {
  readonly year: number;
  readonly month: number;
  readonly day: number;
}

/** What a clock on the wall shows; hour 0-23, minute and second 0-59. */
export interface WallTime extends CivilDate {
  readonly hour: number;
  readonly minute: number;
  readonly second: number;
}

export interface WallTimePolicy {
  readonly gap: GapPolicy;
  readonly overlap: OverlapPolicy;
}

/** One instant of a wall time. `fold` is 1 for the second of two instants that show the same wall time, else 0. */
export interface ResolvedTime {
  /** epoch milliseconds, UTC */
  readonly instantMs: number;
  readonly fold: 0 | 1;
}

/**
 * The instants at which clocks in `zone` show `local`, ascending: one as a rule; for a time that comes twice, as the
 * overlap policy says; for a time that is left out, none (`skip`) or the one that lies behind the gap by as much as
 * was asked into it (`shift`: 02:30 becomes 03:30), as RFC 5545 section 3.3.5 and Temporal's "compatible" have it.
 *
 * @throws CarillonError unknown_zone, or malformed_time when the calendar has no such date or the day no such time
 */
export function resolveWallTime(local: WallTime, zone: string, policy: WallTimePolicy): readonly ResolvedTime[] {
  const known = zoneOf(zone);
  const wallMs = utcMs(local);
  if (wallMs === null) throw new CarillonError("malformed_time", `There is no ${JSON.stringify(local)}`);

  // Offsets stay within a day of UTC, and no zone changes twice within 48 hours (a test watches that), so whatever
  // change bears on this wall time lies between these two instants.
  const offsetBeforeMs = offsetMs(known, wallMs - dayMs);
  const offsetAfterMs = offsetMs(known, wallMs + dayMs);
  if (offsetBeforeMs === offsetAfterMs) return [{ instantMs: wallMs - offsetBeforeMs, fold: 0 }];
  const instants = [offsetBeforeMs, offsetAfterMs]
    .filter((candidateMs) => offsetMs(known, wallMs - candidateMs) === candidateMs)
    .map((candidateMs) => wallMs - candidateMs)
    .sort((a, b) => a - b);

  const [first, second] = instants;
  if (first === undefined) {
    return policy.gap === "skip" ? [] : [{ instantMs: wallMs - offsetBeforeMs, fold: 0 }];
  }
  const earlier = { instantMs: first, fold: 0 } as const;
  if (second === undefined) return [earlier];
  const later = { instantMs: second, fold: 1 } as const;
  if (policy.overlap === "both") return [earlier, later];
  return policy.overlap === "first" ? [earlier] : [later];
}

/**
 * Whether `zone` names an IANA zone of this runtime's zone data, in any case. A fixed offset ("+02:00") is no zone:
 * it would not follow the place's own rules.
 */
export function isKnownZone(zone: string): boolean {
  return /^[A-Za-z]/.test(zone) && IANAZone.isValidZone(zone);
}

/**
 * @param pointer RFC 6901 pointer to the field that holds the zone
 * @throws CarillonError unknown_zone
 */
export function assertZone(zone: string, pointer?: string): void {
  if (isKnownZone(zone)) return;
  throw new CarillonError(
    "unknown_zone",
    `${JSON.stringify(zone)} is not an IANA time zone such as "Europe/Berlin"`,
    pointer === undefined ? {} : { pointer },
  );
}

/** Parts of links' names that are not written as words are. */
const oddParts = new Map(
  [
    ...["ACT", "CDT", "CET", "CHAT", "CST", "EDT", "EET", "EST", "GB", "GMT", "HST", "IN", "LHI", "MDT", "MET", "MST"],
    ...["NSW", "NZ", "PDT", "PRC", "PST", "ROC", "ROK", "SU", "UCT", "US", "UTC", "WET"],
    ...["BajaNorte", "BajaSur", "ComodRivadavia", "DeNoronha", "EasterIsland"],
  ].map((part) => [part.toLowerCase(), part]),
);

/**
 * A known zone's name in its usual case ("europe/berlin" -> "Europe/Berlin"), so that spelling makes no second
 * schedule. Links ("Asia/Kolkata") keep their name: the runtime would turn them into another one, often an older one.
 */
export function usualZoneName(zone: string): string {
  const resolved = new Intl.DateTimeFormat("en-US", { timeZone: zone }).resolvedOptions().timeZone;
  const name = zone.toLowerCase();
  if (resolved.toLowerCase() === name) return resolved;
  return name.replaceAll(/[a-z]+/g, (part) => oddParts.get(part) ?? part.charAt(0).toUpperCase() + part.slice(1));
}

/**
 * The date on the wall in `zone` at `instantMs` (epoch milliseconds), with its ISO weekday, 1 (Monday) to 7 (Sunday).
 *
 * @throws CarillonError unknown_zone
 */
export function localDate(instantMs: number, zone: string): CivilDate & { readonly weekday: number } {
  const date = dateOf(instantMs + offsetMs(zoneOf(zone), instantMs));
  return { ...date, weekday: weekdayOf(date) };
}

/**
 * What clocks in `zone` show at `instantMs` (epoch milliseconds), to the second, and how far they are ahead of UTC.
 *
 * @throws CarillonError unknown_zone
 */
export function wallTimeAt(instantMs: number, zone: string): WallTime & { readonly offsetMs: number } {
  const aheadMs = offsetMs(zoneOf(zone), instantMs);
  const wall = new Date(instantMs + aheadMs);
  const time = { hour: wall.getUTCHours(), minute: wall.getUTCMinutes(), second: wall.getUTCSeconds() };
  return { ...dateOf(wall.getTime()), ...time, offsetMs: aheadMs };
}

/** "02:30", and with seconds where there are some */
export function formatTime({ hour, minute, second }: Omit<WallTime, keyof CivilDate>): string {
  const parts = second === 0 ? [hour, minute] : [hour, minute, second];
  return parts.map((part) => String(part).padStart(2, "0")).join(":");
}

/**
 * An instant (epoch milliseconds) as clocks in `zone` show it, RFC 3339: "2027-03-28T03:30:00+02:00".
 *
 * @throws CarillonError unknown_zone
 */
export function formatLocal(instantMs: number, zone: string): string {
  const wall = wallTimeAt(instantMs, zone);
  const time = [wall.hour, wall.minute, wall.second].map((part) => String(part).padStart(2, "0")).join(":");
  const seconds = Math.abs(wall.offsetMs) / secondMs;
  const offset = { hour: Math.floor(seconds / 3600), minute: Math.floor(seconds / 60) % 60, second: seconds % 60 };
  return `${formatDate(wall)}T${time}${wall.offsetMs < 0 ? "-" : "+"}${formatTime(offset)}`;
}

/** The date `days` (negative: before) from `date`. */
export function addDays(date: CivilDate, days: number): CivilDate {
  return dateOf(midnightMs(date) + days * dayMs);
}

/** ISO weekday, 1 (Monday) to 7 (Sunday). */
export function weekdayOf(date: CivilDate): number {
  // 1970-01-01 was a Thursday
  return modulo(midnightMs(date) / dayMs + 3, 7) + 1;
}

/** Below zero when `a` is before `b`, zero when they are the same day, above zero when it is after. */
export function compareDates(a: CivilDate, b: CivilDate): number {
  return midnightMs(a) - midnightMs(b);
}

/** The dates asked for last: a planner asks for the same ones for schedule after schedule. */
let datesKept: { readonly firstMs: number; readonly lastMs: number; readonly dates: readonly CivilDate[] } | null =
  null;

/** Every date from `first` through `last`, ascending. */
export function datesThrough(first: CivilDate, last: CivilDate): readonly CivilDate[] {
  const [firstMs, lastMs] = [midnightMs(first), midnightMs(last)];
  if (datesKept?.firstMs === firstMs && datesKept.lastMs === lastMs) return datesKept.dates;
  const dates: CivilDate[] = [];
  for (let ms = firstMs; ms <= lastMs; ms += dayMs) dates.push(dateOf(ms));
  datesKept = { firstMs, lastMs, dates };
  return dates;
}

/** "2026-10-25" */
export function formatDate(date: CivilDate): string {
  const year = date.year > 999 ? date.year : String(date.year).padStart(4, "0");
  return `${year}-${date.month < 10 ? "0" : ""}${date.month}-${date.day < 10 ? "0" : ""}${date.day}`;
}

/** The date that "2026-10-25" says, or null when it is not so written or the calendar has no such date. */
export function parseDate(text: string): CivilDate | null {
  const found = /^(\d{4})-(\d\d)-(\d\d)$/.exec(text);
  if (found === null) return null;
  const [year = 0, month = 0, day = 0] = found.slice(1).map(Number);
  const date = { year, month, day };
  return utcMs({ ...date, hour: 0, minute: 0, second: 0 }) === null ? null : date;
}

/** Epoch milliseconds of a date-time in UTC, or null when the calendar has no such date or the day no such time. */
export function utcMs(time: WallTime): number | null {
  const { hour, minute, second } = time;
  if (!Number.isInteger(hour) || !Number.isInteger(minute) || !Number.isInteger(second)) return null;
  if (hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 59) return null;
  const startMs = midnightMs(time);
  if (Number.isNaN(startMs) || compareParts(dateOf(startMs), time) !== 0) return null;
  return startMs + (hour * 60 + minute) * minuteMs + second * secondMs;
}

function compareParts(a: CivilDate, b: CivilDate): number {
  return a.year - b.year || a.month - b.month || a.day - b.day;
}

function midnightMs({ year, month, day }: CivilDate): number {
  // Date.UTC takes the years 0-99 for 1900-1999; setUTCFullYear does not.
  return year > 99 ? Date.UTC(year, month - 1, day) : new Date(0).setUTCFullYear(year, month - 1, day);
}

const daysIn400Years = 146_097;
/** from 0000-03-01 to 1970-01-01 */
const daysBefore1970 = 719_468;

/**
 * What `Date` says, by arithmetic (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", civil_from_days): planning
 * asks it some twenty times a schedule, and an object each time was a third of what it cost. Years begin in March here, so
 * that a leap day is a year's last.
 */
function dateOf(utcInstantMs: number): CivilDate {
  const days = Math.floor(utcInstantMs / dayMs) + daysBefore1970;
  const cycle = Math.floor(days / daysIn400Years);
  const dayOfCycle = days - cycle * daysIn400Years;
  const yearOfCycle = Math.floor(
    (dayOfCycle - Math.floor(dayOfCycle / 1460) + Math.floor(dayOfCycle / 36_524) - Math.floor(dayOfCycle / 146_096)) /
      365,
  );
  const dayOfYear = dayOfCycle - (365 * yearOfCycle + Math.floor(yearOfCycle / 4) - Math.floor(yearOfCycle / 100));
  const fromMarch = Math.floor((5 * dayOfYear + 2) / 153);
  const month = fromMarch < 10 ? fromMarch + 3 : fromMarch - 9;
  const day = dayOfYear - Math.floor((153 * fromMarch + 2) / 5) + 1;
  return { year: yearOfCycle + 400 * cycle + (month < 3 ? 1 : 0), month, day };
}

function modulo(value: number, divisor: number): number {
  return ((value % divisor) + divisor) % divisor;
}

function zoneOf(name: string): IANAZone {
  const zone = IANAZone.create(name);
  if (!zone.isValid) assertZone(name);
  return zone;
}

/**
 * Asking the runtime costs some five microseconds and is most of what a timetable's times cost. Where a zone has one
 * offset at both ends of a UTC day it has it all day, since no zone changes twice within 48 hours.
 */
function offsetMs(zone: IANAZone, instantMs: number): number {
  const day = Math.floor(instantMs / dayMs);
  const offsets = offsetsOf(zone);
  const [start, end] = [dayStartOffsetMs(zone, offsets, day), dayStartOffsetMs(zone, offsets, day + 1)];
  return start === end ? start : askOffsetMs(zone, instantMs);
}

/** By zone, the offsets at the starts of UTC days: zone data stays the same while a process lives. */
const dayStartOffsets = new Map<string, Map<number, number>>();
/** ten years of days for each zone, some megabytes in all */
const offsetsPerZoneMax = 3_660;

function offsetsOf(zone: IANAZone): Map<number, number> {
  const known = dayStartOffsets.get(zone.name);
  if (known !== undefined && known.size < offsetsPerZoneMax) return known;
  const offsets = new Map<number, number>();
  dayStartOffsets.set(zone.name, offsets);
  return offsets;
}

function dayStartOffsetMs(zone: IANAZone, offsets: Map<number, number>, day: number): number {
  const known = offsets.get(day);
  if (known !== undefined) return known;
  const asked = askOffsetMs(zone, day * dayMs);
  offsets.set(day, asked);
  return asked;
}

function askOffsetMs(zone: IANAZone, instantMs: number): number {
  // Luxon gives minutes, as a fraction where an old local mean time had seconds.
  return Math.round((zone.offset(instantMs) * minuteMs) / secondMs) * secondMs;
}
