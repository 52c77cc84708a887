/**
 * The occurrences of a rule. The same inputs give the same keys and instants on any node at any time: `now` is only
 * ever an argument.
 */
import { CarillonError, unreachable } from "../errors.ts";
import type { InstantRule, Occurrence, Rule, TimetableRule, WallRule } from "../reminder/rule.ts";
import type { CivilDate } from "./civil-time.ts";
import { addDays, datesThrough, formatDate, localDate, resolveWallTime, weekdayOf } from "./civil-time.ts";
import type { PlaceTimes } from "./timetable.ts";
import { timeOf } from "./timetable.ts";

const minuteMs = 60_000;
const dayMs = 24 * 60 * minuteMs;

/**
 * The occurrences of `rule` that are due after `fromMs` (exclusive) and no later than `throughMs` (inclusive), both
 * epoch milliseconds, ascending by instant.
 *
 * @param place the rule's place, for a timetable rule; else null
 * @throws CarillonError unknown_place when a timetable rule comes without its place; unknown_zone
 */
export function occurrencesBetween(
  rule: Rule,
  place: PlaceTimes | null,
  fromMs: number,
  throughMs: number,
): Occurrence[] {
  if (throughMs <= fromMs) return [];
  return occurrencesNear(rule, place, fromMs, throughMs)
    .filter(({ dueAtMs }) => dueAtMs > fromMs && dueAtMs <= throughMs)
    .sort((a, b) => a.dueAtMs - b.dueAtMs);
}

/**
 * The first occurrence due after `afterMs` (epoch milliseconds, exclusive), or null when there is none within
 * `searchDays`. An instant is found however far ahead it is.
 *
 * @throws CarillonError as `occurrencesBetween`
 */
export function nextOccurrenceAfter(
  rule: Rule,
  place: PlaceTimes | null,
  afterMs: number,
  searchDays = 400,
): Occurrence | null {
  if (rule.kind === "instant") return occurrencesBetween(rule, place, afterMs, Number.POSITIVE_INFINITY)[0] ?? null;
  const endMs = afterMs + searchDays * dayMs;
  // Nearly every rule has one tomorrow; the few that don't are worth doubling for.
  for (let fromMs = afterMs, days = 1; fromMs < endMs; days *= 2) {
    const throughMs = Math.min(fromMs + days * dayMs, endMs);
    const [first] = occurrencesBetween(rule, place, fromMs, throughMs);
    if (first !== undefined) return first;
    fromMs = throughMs;
  }
  return null;
}

/** All occurrences within the window, and some that lie around it. */
function occurrencesNear(rule: Rule, place: PlaceTimes | null, fromMs: number, throughMs: number): Occurrence[] {
  switch (rule.kind) {
    case "instant":
      return [instantOccurrence(rule)];
    case "wall":
      return wallOccurrences(rule, fromMs, throughMs);
    case "timetable":
      return timetableOccurrences(rule, placeOf(rule, place), fromMs, throughMs);
    default:
      return unreachable(rule);
  }
}

function instantOccurrence(rule: InstantRule): Occurrence {
  return { key: rule.at, dueAtMs: Date.parse(rule.at) };
}

/**
 * One day before and after, because a time that is shifted out of a gap may leave its date (by a whole day in Apia on
 * 2011-12-30) and clocks that go back at midnight return to the date before.
 */
function wallOccurrences(rule: WallRule, fromMs: number, throughMs: number): Occurrence[] {
  const [hour = 0, minute = 0, second = 0] = rule.time.split(":").map(Number);
  const time = [hour, minute, second].map((part) => String(part).padStart(2, "0")).join(":");
  // A date that the calendar leaves out is shifted on to the next one, where the same time may have an occurrence of
  // its own: keyed by instant, the later date's stands and nobody is rung twice.
  const byInstant = new Map<number, Occurrence>();
  for (const date of datesAround(rule.zone, fromMs, throughMs, 1)) {
    if (!rule.days.includes(weekdayOf(date))) continue;
    for (const { instantMs, fold } of resolveWallTime({ ...date, hour, minute, second }, rule.zone, rule)) {
      byInstant.set(instantMs, { key: `${formatDate(date)}T${time}[${fold}]`, dueAtMs: instantMs });
    }
  }
  return [...byInstant.values()];
}

/** Two days before and after: a slot's instant may lie on the date next to its own, and so may its adjustment. */
function timetableOccurrences(rule: TimetableRule, place: PlaceTimes, fromMs: number, throughMs: number): Occurrence[] {
  const offsetMs = rule.offsetMinutes * minuteMs;
  const occurrences: Occurrence[] = [];
  for (const date of datesAround(place.zone, fromMs - offsetMs, throughMs - offsetMs, 2)) {
    const slotMs = timeOf(place, rule.slot, date);
    if (slotMs !== null) occurrences.push({ key: timetableKey(rule, date), dueAtMs: slotMs + offsetMs });
  }
  return occurrences;
}

function timetableKey({ placeId, slot, offsetMinutes }: TimetableRule, date: CivilDate): string {
  const sign = offsetMinutes > 0 ? "+" : "";
  const offset = offsetMinutes === 0 ? "" : `${sign}${offsetMinutes}m`;
  return `${placeId}/${slot}/${formatDate(date)}${offset}`;
}

/** The place's own date that the key of a timetable's occurrence names, "2026-11-24". */
export function timetableKeyDate(key: string): string {
  return /\d{4,}-\d\d-\d\d(?=(?:[+-]\d+m)?$)/.exec(key)?.[0] ?? "";
}

function datesAround(zone: string, fromMs: number, throughMs: number, days: number): Generator<CivilDate> {
  return datesThrough(addDays(localDate(fromMs, zone), -days), addDays(localDate(throughMs, zone), days));
}

function placeOf(rule: TimetableRule, place: PlaceTimes | null): PlaceTimes {
  if (place === null) throw new CarillonError("unknown_place", `The rule's place ${rule.placeId} is not known`);
  if (place.placeId !== rule.placeId) {
    throw new CarillonError("internal", `Given place ${place.placeId} for a rule of place ${rule.placeId}`);
  }
  return place;
}
