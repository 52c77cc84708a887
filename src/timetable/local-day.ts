/**
 * "At most once per local day": who moves between places (or zones) gets a slot of one local date once. What makes two
 * occurrences the same is the local date (of rules of wall times: the local date and time) and the offset, wherever they
 * are; both stand at the end of an occurrence's key.
 */
import { CarillonError, unreachable } from "../errors.ts";
import type { Occurrence, Rule } from "../reminder/rule.ts";
import { nextOccurrenceAfter, occurrencesBetween } from "./occurrences.ts";
import type { PlaceTimes } from "./timetable.ts";

/**
 * By offset in minutes, the last local date ("2026-11-24", of wall times "2026-11-24T07:30:00") that has come for a
 * user. Dates before it count as having come, too: they are over wherever that one has been.
 */
export type RungThrough = ReadonlyMap<number, string>;

/** Somebody's time in a schedule, as its row tells it. */
export interface Stay {
  /** it is the schedule that they are about to join (again) */
  readonly here: boolean;
  /** epoch milliseconds; moments from here on were theirs */
  readonly fromMs: number;
  /** epoch milliseconds; moments from here on are not; null: it stands */
  readonly endedMs: number | null;
  /** they did not leave but move on */
  readonly moved: boolean;
  /** the schedule's, as `momentsAround` gives them */
  readonly moments: readonly Occurrence[];
  /** what had rung elsewhere before */
  readonly rungBefore: RungThrough;
}

/** From when on a schedule's moments are somebody's, and what had rung for them before. */
export interface Beginning {
  /** epoch milliseconds */
  readonly countsFromMs: number;
  readonly rungThrough: RungThrough;
}

const minuteMs = 60_000;
/** Who leaves so shortly before a moment may have been sent to. */
const doubtfulMs = 1000;
/**
 * Nothing older can come again elsewhere: the same date's moments lie no farther apart than the zones (26 hours), a day
 * of the slot's own time and a night that it may run on into.
 */
export const localDayReachMs = 4 * 86_400_000;

/**
 * What makes two rules one wish that is said for several places or zones: the slot, the time of day or the recurrence;
 * null: an instant, which is the same everywhere.
 */
export function wishOf(rule: Rule): string | null {
  switch (rule.kind) {
    case "instant":
      return null;
    case "wall":
      return `wall ${rule.time}`;
    case "recurrence":
      return `recurrence ${rule.start} ${rule.rrule}`;
    case "timetable":
      return `slot ${rule.slot}`;
    default:
      return unreachable(rule);
  }
}

/**
 * A schedule's moments of the last days: what is planned where and when it is planned, whatever the rule would say
 * today; of the rest, what the rule says.
 *
 * @param planned no older than twice `localDayReachMs`
 * @param nowMs epoch milliseconds
 */
export function momentsAround(
  rule: Rule,
  place: PlaceTimes | null,
  planned: readonly Occurrence[],
  nowMs: number,
): Occurrence[] {
  const known = new Set(planned.map(({ key }) => key));
  const byRule = occurrencesBetween(rule, place, nowMs - 2 * localDayReachMs, nowMs + minuteMs);
  return [...planned, ...byRule.filter(({ key }) => !known.has(key))];
}

/**
 * From when on moments of `rule` are somebody's who joins it now: now, or where a date has come for them elsewhere,
 * half-way between the last moment here that is not theirs and the next one, so that a correction of either by minutes
 * changes nothing.
 *
 * With several offsets this is the one instant that keeps all of them from coming twice. Where offsets lie farther apart
 * than the moves, it may leave out one that has not come: rather none than twice.
 *
 * @param stays all of one wish
 * @param nowMs epoch milliseconds
 */
export function beginningOf(rule: Rule, place: PlaceTimes | null, stays: readonly Stay[], nowMs: number): Beginning {
  // who is back before their leaving took effect has missed nothing here: what others knew to have rung before was here
  const resumes = stays.some(({ here, endedMs }) => here && endedMs !== null && endedMs > nowMs);
  const others = stays
    .filter(({ here }) => !here)
    .map((stay) => (resumes ? { ...stay, rungBefore: new Map<number, string>() } : stay));
  return {
    countsFromMs: countsFrom(rule, place, rungIn(others, nowMs), nowMs),
    // and what has rung here: the next place they move to must know, when this row has forgotten that they were here
    rungThrough: rungIn(stays, nowMs),
  };
}

/** What has come for somebody during their stays and before. */
function rungIn(stays: readonly Stay[], nowMs: number): RungThrough {
  const through = new Map<number, string>();
  const count = (offsetMinutes: number, local: string) => {
    const before = through.get(offsetMinutes);
    if (before === undefined || before < local) through.set(offsetMinutes, local);
  };
  for (const stay of stays) {
    for (const [offsetMinutes, local] of stay.rungBefore) count(offsetMinutes, local);
    const throughMs = lastMs(stay, nowMs);
    for (const { key, dueAtMs } of stay.moments) {
      if (dueAtMs < stay.fromMs || dueAtMs > throughMs) continue;
      const { offsetMinutes, local } = markOf(key);
      count(offsetMinutes, local);
    }
  }
  return through;
}

/** The last millisecond of which a moment may have rung for them there. */
function lastMs({ endedMs, moved }: Stay, nowMs: number): number {
  if (endedMs === null) return nowMs;
  // who moved on got whatever came before that, and nothing since; who left got what was sent by then
  return moved ? endedMs - 1 : endedMs + doubtfulMs;
}

function countsFrom(rule: Rule, place: PlaceTimes | null, rung: RungThrough, nowMs: number): number {
  if (rung.size === 0) return nowMs;
  const last = occurrencesBetween(rule, place, nowMs - 1, nowMs + localDayReachMs).findLast(({ key }) => {
    const { offsetMinutes, local } = markOf(key);
    return local <= (rung.get(offsetMinutes) ?? "");
  });
  if (last === undefined) return nowMs;
  const next = nextOccurrenceAfter(rule, place, last.dueAtMs);
  return next === null ? last.dueAtMs + 1 : Math.ceil((last.dueAtMs + next.dueAtMs) / 2);
}

/** @param key of an occurrence of any rule but an instant */
function markOf(key: string): { readonly offsetMinutes: number; readonly local: string } {
  const [, local, offset] = /(\d{4}-\d{2}-\d{2}(?:T\d{2}:\d{2}:\d{2})?)(?:\[\d\])?([+-]\d+m)?$/.exec(key) ?? [];
  if (local === undefined) throw new CarillonError("internal", `${JSON.stringify(key)} has no local date.`);
  return { local, offsetMinutes: offset === undefined ? 0 : Number.parseInt(offset, 10) };
}
