/**
 * What an RRULE yields, as floating time: date-times without a zone. The library counts in UTC, where no clock ever
 * changes; occurrences.ts lays the result on the rule's zone by the one resolver, under the rule's own policy.
 * Date-times are held as the epoch milliseconds of the same reading in UTC ("wall milliseconds").
 */
import { RRuleTemporal } from "rrule-temporal";
import { CarillonError } from "../errors.ts";
import type { RecurrenceRule } from "../reminder/rule.ts";
import { resolveWallTime, utcMs } from "./civil-time.ts";
import { readDateTime } from "./local-text.ts";
import type { Frequency, RRule } from "./rrule.ts";
import { parseRRule } from "./rrule.ts";

const minuteMs = 60_000;
const dayMs = 1_440 * minuteMs;
/**
 * Periods that the library looks through before it gives up. The calendar repeats itself after 400 years, and nothing
 * in it is as rare as a 29th of February that is a Monday, for which one may wait 40 years. Hours and minutes without a
 * moment are jumped over by days.
 */
const periodsMax: Readonly<Record<Frequency, number>> = {
  YEARLY: 500,
  MONTHLY: 5_000,
  WEEKLY: 3_000,
  DAILY: 20_000,
  HOURLY: 20_000,
  MINUTELY: 20_000,
};
/** A window is expanded in pieces, each well below what the library looks through: in minutes, or every minute of days. */
const pieceMs = (frequency: Frequency) => (frequency === "MINUTELY" ? 7 : 366) * dayMs;
const endOfTimeMs = Date.UTC(9999, 11, 31, 23, 59, 59);
const rememberedMax = 500;

type Recurring = Pick<RecurrenceRule, "start" | "rrule" | "rdates" | "exdates">;

/**
 * The local date-times of `rule` from `fromMs` through `throughMs`, both inclusive and wall milliseconds, ascending,
 * without repeats: the RRULE's and RDATE's, without EXDATE's. An UNTIL in UTC is not looked at: it bounds instants.
 */
export function localTimesBetween(rule: Recurring, fromMs: number, throughMs: number): number[] {
  const { library, rrule, rdates, exdates } = expansionOf(rule);
  const found = new Set(rdates.filter((ms) => ms >= fromMs && ms <= throughMs));
  const lastMs = Math.min(throughMs, lastLocalMs(rrule));
  const stepMs = pieceMs(rrule.frequency);
  for (let pieceFromMs = fromMs; pieceFromMs <= lastMs; pieceFromMs += stepMs) {
    const pieceThroughMs = Math.min(pieceFromMs + stepMs - 1, lastMs);
    const piece = unlessExhausted(() => library.between(new Date(pieceFromMs), new Date(pieceThroughMs), true), []);
    for (const moment of piece) found.add(moment.epochMilliseconds);
  }
  return [...found].filter((ms) => !exdates.has(ms)).sort((a, b) => a - b);
}

/** The first local date-time of `rule` behind `afterMs` (wall milliseconds, exclusive), or null when there is none. */
export function nextLocalTime(rule: Recurring, afterMs: number): number | null {
  const { library, rrule, rdates, exdates } = expansionOf(rule);
  const lastMs = lastLocalMs(rrule);
  const rdate = rdates.find((ms) => ms > afterMs && !exdates.has(ms)) ?? null;
  for (let cursorMs = afterMs; ; ) {
    const nextMs = nextOf(library, cursorMs);
    if (nextMs === null || nextMs > lastMs || (rdate !== null && nextMs > rdate)) return rdate;
    if (!exdates.has(nextMs)) return nextMs;
    cursorMs = nextMs;
  }
}

/** The last instant that the rule allows, epoch milliseconds; null unless its UNTIL is written in UTC. */
export function untilInstantMs({ rrule }: Pick<Recurring, "rrule">): number | null {
  const { until } = parseRRule(rrule, "");
  return until !== null && "instantMs" in until ? until.instantMs : null;
}

/**
 * @param pointer RFC 6901 pointer to the rule
 * @throws CarillonError never_occurs when it ends before it starts or yields nothing, recurs_too_often when two of its
 *   RDATEs are less than a minute apart
 */
export function assertRecurs(rule: RecurrenceRule, pointer: string): void {
  const { rrule, rdates } = expansionOf(rule);
  const crowded = rdates.findIndex((ms, index) => ms - (rdates[index - 1] ?? Number.NEGATIVE_INFINITY) < minuteMs);
  if (crowded !== -1) {
    const detail = `${rule.rdates[crowded]} comes less than a minute after the one before it`;
    throw new CarillonError("recurs_too_often", detail, { pointer: `${pointer}/rdates` });
  }
  if (endsBeforeItStarts(rule, rrule)) {
    throw new CarillonError("never_occurs", `UNTIL is before the start, ${rule.start}`, {
      pointer: `${pointer}/rrule`,
    });
  }
  if (nextLocalTime(rule, Number.NEGATIVE_INFINITY) === null) {
    throw new CarillonError("never_occurs", "The rule yields no moment at all", { pointer: `${pointer}/rrule` });
  }
}

interface Expansion {
  readonly library: RRuleTemporal;
  readonly rrule: RRule;
  readonly rdates: readonly number[];
  readonly exdates: ReadonlySet<number>;
}

/** To build one costs as much as to ask it, and the planner asks the same rules again and again. */
const remembered = new Map<string, Expansion>();

function expansionOf(rule: Recurring): Expansion {
  const key = JSON.stringify([rule.start, rule.rrule, rule.rdates, rule.exdates]);
  const known = remembered.get(key);
  if (known !== undefined) return known;
  const rrule = parseRRule(rule.rrule, "/rrule");
  const expansion = {
    library: floating(rule.start, rrule),
    rrule,
    rdates: rule.rdates.map(wallMs),
    exdates: new Set(rule.exdates.map(wallMs)),
  };
  const [oldest] = remembered.keys();
  if (remembered.size >= rememberedMax && oldest !== undefined) remembered.delete(oldest);
  remembered.set(key, expansion);
  return expansion;
}

/** Without its UNTIL, which is compared here: the library would have to be told in which zone it is meant. */
function floating(start: string, { text, frequency, count }: RRule): RRuleTemporal {
  const endless = text.replace(/;UNTIL=[^;]*/, "");
  const rruleString = `DTSTART;TZID=UTC:${start.replaceAll(/[-:]/g, "")}\nRRULE:${endless}`;
  const maxIterations = Math.max(periodsMax[frequency], 2 * (count ?? 0));
  return new RRuleTemporal({ rruleString, maxIterations });
}

function nextOf(library: RRuleTemporal, afterMs: number): number | null {
  const startMs = library.options().dtstart.epochMilliseconds;
  const isFirst = afterMs < startMs;
  const behind = new Date(isFirst ? startMs : Math.min(afterMs, endOfTimeMs));
  const next = unlessExhausted(() => library.next(behind, isFirst), null);
  return next === null || next.epochMilliseconds > endOfTimeMs ? null : next.epochMilliseconds;
}

/** The library gives up with an error where it finds nothing for long: then there is nothing to be found. */
function unlessExhausted<T>(search: () => T, nothing: T): T {
  try {
    return search();
  } catch (error) {
    if (error instanceof Error && /^(Maximum|Out-of-bounds)/.test(error.message)) return nothing;
    throw error;
  }
}

function lastLocalMs({ until }: RRule): number {
  return until !== null && "local" in until ? wallMs(until.local) : endOfTimeMs;
}

function endsBeforeItStarts({ start, zone }: RecurrenceRule, { until }: RRule): boolean {
  if (until === null) return false;
  if ("local" in until) return until.local < start;
  const local = readDateTime(start);
  if (local === null) throw new CarillonError("malformed_time", `There is no ${start}`);
  const [first] = resolveWallTime(local, zone, { gap: "shift", overlap: "first" });
  return first !== undefined && until.instantMs < first.instantMs;
}

function wallMs(text: string): number {
  const local = readDateTime(text);
  const ms = local === null ? null : utcMs(local);
  if (ms === null) throw new CarillonError("malformed_time", `There is no ${JSON.stringify(text)}`);
  return ms;
}
