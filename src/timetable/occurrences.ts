/**
 * The occurrences of a rule. The same inputs give the same keys and instants on any node at any time: `now` is only
 * ever an argument.
 */
import { CarillonError, unreachable } from "../errors.ts";
import type {
  Bounded,
  InstantRule,
  InZone,
  Occurrence,
  RecurrenceRule,
  Rule,
  TimetableRule,
  WallRule,
} from "../reminder/rule.ts";
import type { CivilDate, WallTime } from "./civil-time.ts";
import { addDays, datesThrough, formatDate, localDate, resolveWallTime, utcMs, weekdayOf } from "./civil-time.ts";
import { formatDateTime, readDate, wallTimeAt } from "./local-text.ts";
import { localTimesBetween, nextLocalTime, untilInstantMs } from "./recurrence.ts";
import type { PlaceTimes } from "./timetable.ts";
import { timeOf } from "./timetable.ts";

const minuteMs = 60_000;
const dayMs = 24 * 60 * minuteMs;
/** No moment is as far as this from its own local time read as UTC: a zone's offset, a shift of a day, an offset. */
const farMs = 4 * dayMs;
const maxAheadMs = 32 * dayMs;

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
 * `searchDays`, counted from the rule's first date where that lies ahead. An instant or a recurrence is found however far
 * ahead it is.
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
  if (rule.kind === "recurrence") return nextOfRecurrence(rule, afterMs);
  const beginMs = Math.max(afterMs, dateMs(rule.startsOn, Number.NEGATIVE_INFINITY) - farMs);
  const endMs = Math.min(beginMs + searchDays * dayMs, dateMs(rule.endsOn, Number.POSITIVE_INFINITY) + farMs);
  // Nearly every rule has one tomorrow; the few that don't are worth doubling for.
  for (let fromMs = beginMs, days = 1; fromMs < endMs; days *= 2) {
    const throughMs = Math.min(fromMs + days * dayMs, endMs);
    const [first] = occurrencesBetween(rule, place, fromMs, throughMs);
    if (first !== undefined) return first;
    fromMs = throughMs;
  }
  return null;
}

/**
 * `occurrencesBetween`, and with it `nextOccurrenceAfter(throughMs)`: what a planner asks of every schedule. Nearly every
 * rule of days has its next one within a day, where the same pass over its dates finds it.
 *
 * @throws CarillonError as `occurrencesBetween`
 */
export function occurrencesAndNext(
  rule: Rule,
  place: PlaceTimes | null,
  fromMs: number,
  throughMs: number,
): { readonly due: Occurrence[]; readonly next: Occurrence | null } {
  if (rule.kind === "instant" || rule.kind === "recurrence" || throughMs <= fromMs) {
    const due = occurrencesBetween(rule, place, fromMs, throughMs);
    return { due, next: nextOccurrenceAfter(rule, place, throughMs) };
  }
  const found = occurrencesBetween(rule, place, fromMs, throughMs + dayMs);
  const next = found.find(({ dueAtMs }) => dueAtMs > throughMs) ?? nextOccurrenceAfter(rule, place, throughMs);
  return { due: found.filter(({ dueAtMs }) => dueAtMs <= throughMs), next };
}

/** Whether the rule's last date is so long ago at `atMs` (epoch milliseconds) that nothing of it can still come. */
export function hasEnded(rule: Rule, atMs: number): boolean {
  return rule.kind !== "instant" && dateMs(rule.endsOn, Number.POSITIVE_INFINITY) + farMs < atMs;
}

/**
 * From one local time to the next: years may lie between them. Looks further ahead with each turn, so that a rule of
 * every minute that has ended is not gone through minute by minute.
 */
function nextOfRecurrence(rule: RecurrenceRule, afterMs: number): Occurrence | null {
  const untilMs = Math.min(
    untilInstantMs(rule) ?? Number.POSITIVE_INFINITY,
    dateMs(rule.endsOn, Number.POSITIVE_INFINITY),
  );
  let localMs = nextLocalTime(rule, Math.max(afterMs, dateMs(rule.startsOn, Number.NEGATIVE_INFINITY)) - farMs);
  let lookedMs = afterMs;
  for (
    let aheadMs = dayMs;
    localMs !== null && localMs <= untilMs + farMs;
    aheadMs = Math.min(2 * aheadMs, maxAheadMs)
  ) {
    const throughMs = Math.max(localMs + farMs, lookedMs + aheadMs);
    const [first] = occurrencesBetween(rule, null, Math.max(lookedMs, localMs - farMs), throughMs);
    if (first !== undefined) return first;
    lookedMs = throughMs;
    // whatever is due later has a local time behind this
    localMs = nextLocalTime(rule, lookedMs - farMs);
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
    case "recurrence":
      return recurrenceOccurrences(rule, fromMs, throughMs);
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
  const dates = datesAround(rule, rule.zone, fromMs, throughMs, 1);
  return laidOnZone(
    rule,
    dates.filter((date) => rule.days.includes(weekdayOf(date))).map((date) => ({ ...date, hour, minute, second })),
  );
}

function recurrenceOccurrences(rule: RecurrenceRule, fromMs: number, throughMs: number): Occurrence[] {
  const locals = localTimesBetween(rule, fromMs - farMs, throughMs + farMs).map(wallTimeAt);
  const untilMs = untilInstantMs(rule) ?? Number.POSITIVE_INFINITY;
  return laidOnZone(
    rule,
    locals.filter((local) => isWithin(rule, local)),
    untilMs,
  );
}

/**
 * @param locals ascending
 * @param untilMs the last instant there is, before offsets
 */
function laidOnZone(
  rule: Bounded & InZone,
  locals: readonly WallTime[],
  untilMs = Number.POSITIVE_INFINITY,
): Occurrence[] {
  const moments = locals.flatMap((local) =>
    resolveWallTime(local, rule.zone, rule).map(({ instantMs, fold }) => ({
      key: `${formatDateTime(local)}[${fold}]`,
      dueAtMs: instantMs,
    })),
  );
  return atOffsets(
    rule,
    moments.filter(({ dueAtMs }) => dueAtMs <= untilMs),
  );
}

/** Two days before and after: a slot's instant may lie on the date next to its own, and so may its adjustment. */
function timetableOccurrences(rule: TimetableRule, place: PlaceTimes, fromMs: number, throughMs: number): Occurrence[] {
  const moments: Occurrence[] = [];
  for (const date of datesAround(rule, place.zone, fromMs, throughMs, 2)) {
    const dueAtMs = timeOf(place, rule.slot, date);
    if (dueAtMs !== null) moments.push({ key: `${rule.placeId}/${rule.slot}/${formatDate(date)}`, dueAtMs });
  }
  return atOffsets(rule, moments);
}

/**
 * The moments with each offset of the rule, none twice at one instant: a date that the calendar leaves out is shifted on
 * to the next one, where the same time may have an occurrence of its own, and the day before one moment may be the day
 * of another. The later moment's stands, and nobody is rung twice.
 *
 * @param moments in the order of their local times
 */
function atOffsets({ offsetsMinutes }: Bounded, moments: readonly Occurrence[]): Occurrence[] {
  const byInstant = new Map<number, Occurrence>();
  for (const moment of moments) {
    for (const minutes of offsetsMinutes) {
      const dueAtMs = moment.dueAtMs + minutes * minuteMs;
      byInstant.set(dueAtMs, { key: `${moment.key}${offsetSuffix(minutes)}`, dueAtMs });
    }
  }
  return [...byInstant.values()];
}

function offsetSuffix(minutes: number): string {
  if (minutes === 0) return "";
  return minutes > 0 ? `+${minutes}m` : `${minutes}m`;
}

/** The rule's dates whose moments, moved by its offsets, may lie in the window: `days` more to either side. */
export function datesAround(
  rule: Bounded,
  zone: string,
  fromMs: number,
  throughMs: number,
  days: number,
): readonly CivilDate[] {
  const first = addDays(localDate(fromMs - Math.max(...rule.offsetsMinutes) * minuteMs, zone), -days);
  const last = addDays(localDate(throughMs - Math.min(...rule.offsetsMinutes) * minuteMs, zone), days);
  const dates = datesThrough(first, last);
  return rule.startsOn === undefined && rule.endsOn === undefined
    ? dates
    : dates.filter((date) => isWithin(rule, date));
}

function isWithin({ startsOn, endsOn }: Bounded, date: CivilDate): boolean {
  // dates as texts compare as dates do
  const written = formatDate(date);
  return (startsOn === undefined || written >= startsOn) && (endsOn === undefined || written <= endsOn);
}

/** A local date's midnight as if it were UTC's, in epoch milliseconds. */
function dateMs(text: string | undefined, without: number): number {
  const date = text === undefined ? null : readDate(text);
  return (date === null ? null : utcMs({ ...date, hour: 0, minute: 0, second: 0 })) ?? without;
}

/** The place's own date that the key of a timetable's occurrence names, "2026-11-24". */
export function timetableKeyDate(key: string): string {
  return /\d{4,}-\d\d-\d\d(?=(?:[+-]\d+m)?$)/.exec(key)?.[0] ?? "";
}

function placeOf(rule: TimetableRule, place: PlaceTimes | null): PlaceTimes {
  if (place === null) throw new CarillonError("unknown_place", `The rule's place ${rule.placeId} is not known`);
  if (place.placeId !== rule.placeId) {
    throw new CarillonError("internal", `Given place ${place.placeId} for a rule of place ${rule.placeId}`);
  }
  return place;
}
