/**
 * What a rule will give, said so that a person can check it: each moment with the time on the wall there, what gave it,
 * and what is odd about it; and the days on which it gives nothing, with the reason. The moments are those of
 * occurrences.ts; here they are only told.
 */
import type { Occurrence, Rule, TimetableRule } from "../reminder/rule.ts";
import { addDays, formatDate, formatLocal, formatTime, localDate, wallTimeAt } from "./civil-time.ts";
import { type KeyedSlot, keyedSlot, keyedWallTime } from "./occurrence-key.ts";
import { datesAround, nextOccurrenceAfter, occurrencesBetween } from "./occurrences.ts";
import { noTimeReasons } from "./slot-time.ts";
import type { PlaceTimes } from "./timetable.ts";
import { slotTime } from "./timetable.ts";
import { notesOfWallTime, whyNoWallTime } from "./wall-time-notes.ts";

/** Something odd about a moment, in a word for programs and a sentence for people. */
export interface Note {
  readonly code: string;
  readonly text: string;
}

/** A moment and how it came about. */
export interface ToldOccurrence extends Occurrence {
  /** the rule's zone, or its place's; UTC for an instant */
  readonly zone: string;
  /** as clocks in the zone show it, with their offset */
  readonly local: string;
  readonly slot: KeyedSlot | null;
  readonly notes: readonly Note[];
}

/** Days that the rule names and on which it gives nothing. */
export interface MissingDays extends Note {
  /** local dates, "2026-12-01", both inclusive */
  readonly first: string;
  readonly last: string;
  readonly days: number;
}

const dayMs = 86_400_000;
const firstWindowMs = dayMs;
/** Days without a moment are told so far: as far as `nextOccurrenceAfter` looks for the next one. */
const tellMissingMs = 400 * dayMs;

/**
 * The next `count` occurrences after `afterMs` (epoch milliseconds), and the days until the last of them that have none,
 * within 400 days. Fewer than `count`: the rule ends, or the planner would find no more either.
 *
 * @param place the rule's place, for a timetable rule; else null
 * @throws CarillonError as `occurrencesBetween`
 */
export function previewRule(
  rule: Rule,
  place: PlaceTimes | null,
  afterMs: number,
  count: number,
): { readonly occurrences: readonly ToldOccurrence[]; readonly missing: readonly MissingDays[] } {
  const occurrences = nextOccurrences(rule, place, afterMs, count);
  const last = occurrences.at(-1);
  const toldMs = afterMs + tellMissingMs;
  const throughMs = last === undefined || occurrences.length < count ? toldMs : Math.min(last.dueAtMs, toldMs);
  return {
    occurrences: occurrences.map((occurrence) => tellOccurrence(rule, place, occurrence)),
    missing: missingDays(rule, place, afterMs, throughMs),
  };
}

/** In windows that grow where moments are dense; from one moment to the next where they are rare. */
function nextOccurrences(rule: Rule, place: PlaceTimes | null, afterMs: number, count: number): Occurrence[] {
  const found: Occurrence[] = [];
  let windowMs = firstWindowMs;
  for (let fromMs = afterMs; found.length < count; ) {
    const next = nextOccurrenceAfter(rule, place, fromMs);
    if (next === null) break;
    const throughMs = next.dueAtMs + windowMs;
    const within = occurrencesBetween(rule, place, fromMs, throughMs);
    found.push(...within);
    if (within.length > 1) windowMs *= 2;
    fromMs = throughMs;
  }
  return found.slice(0, count);
}

/** An occurrence with the time on the wall and its notes. */
export function tellOccurrence(rule: Rule, place: PlaceTimes | null, occurrence: Occurrence): ToldOccurrence {
  const zone = zoneOf(rule, place);
  const slot = rule.kind === "timetable" ? keyedSlot(occurrence.key) : null;
  const notes =
    "gap" in rule ? notesOfWallTime(rule, occurrence) : slot === null ? [] : notesOfSlot(slot, zone, occurrence);
  return { ...occurrence, zone, local: formatLocal(occurrence.dueAtMs, zone), slot, notes };
}

/** The rule's zone, or its place's; an instant has none. */
export function zoneOf(rule: Rule, place: PlaceTimes | null): string {
  return "zone" in rule ? rule.zone : (place?.zone ?? "UTC");
}

function notesOfSlot({ slot, date, offsetMinutes }: KeyedSlot, zone: string, { dueAtMs }: Occurrence): Note[] {
  const onWall = formatDate(localDate(dueAtMs - offsetMinutes * 60_000, zone));
  if (onWall === date) return [];
  return [{ code: "on_another_date", text: `${slot} of ${date} comes on ${onWall}` }];
}

/**
 * Days on which the rule would have a moment in (afterMs, throughMs] and has none, one entry for a run of days with the
 * same reason.
 */
export function missingDays(rule: Rule, place: PlaceTimes | null, afterMs: number, throughMs: number): MissingDays[] {
  if (rule.kind === "instant") return [];
  if (rule.kind === "timetable") {
    return place === null ? [] : runsOf(daysWithoutSlot(rule, place, afterMs, throughMs));
  }
  return runsOf(wallTimesLeftOut(rule, afterMs, throughMs));
}

interface DayWithout extends Note {
  readonly date: string;
}

function* daysWithoutSlot(
  rule: TimetableRule,
  place: PlaceTimes,
  afterMs: number,
  throughMs: number,
): Generator<DayWithout> {
  for (const date of datesAround(rule, place.zone, afterMs, throughMs, 0)) {
    const time = slotTime(place, rule.slot, date);
    if ("at" in time) continue;
    yield { date: formatDate(date), code: time.none, text: `no ${rule.slot}: ${noTimeReasons[time.none]}` };
  }
}

type ZonedRule = Extract<Rule, { readonly zone: string }>;

/**
 * What the rule says in floating time (a zone without changes of clocks) and doesn't give in its own: so the days are
 * found by the very expansion that gives the moments.
 */
function* wallTimesLeftOut(rule: ZonedRule, afterMs: number, throughMs: number): Generator<DayWithout> {
  const floating: Rule = { ...rule, zone: "UTC" };
  const given = new Set(
    occurrencesBetween(rule, null, afterMs - 2 * dayMs, throughMs + 2 * dayMs).map(({ key }) => withoutFold(key)),
  );
  const onWallMs = (instantMs: number) => instantMs + wallTimeAt(instantMs, rule.zone).offsetMs;
  const told = new Set<string>();
  for (const { key } of occurrencesBetween(floating, null, onWallMs(afterMs), onWallMs(throughMs))) {
    const asked = keyedWallTime(key);
    const written = `${formatDate(asked)}T${formatTime(asked)}`;
    if (given.has(withoutFold(key)) || told.has(written)) continue;
    told.add(written);
    const why = whyNoWallTime(rule, asked);
    if (why !== null) yield { date: formatDate(asked), ...why };
  }
}

function withoutFold(key: string): string {
  return key.replace(/\[[01]\]/, "");
}

function runsOf(days: Iterable<DayWithout>): MissingDays[] {
  const runs: MissingDays[] = [];
  for (const { date, code, text } of days) {
    const before = runs.at(-1);
    if (before !== undefined && before.code === code && before.text === text && dayAfter(before.last) === date) {
      runs[runs.length - 1] = { ...before, last: date, days: before.days + 1 };
    } else {
      runs.push({ first: date, last: date, days: 1, code, text });
    }
  }
  return runs;
}

function dayAfter(date: string): string {
  const [year = 0, month = 0, day = 0] = date.split("-").map(Number);
  return formatDate(addDays({ year, month, day }, 1));
}
