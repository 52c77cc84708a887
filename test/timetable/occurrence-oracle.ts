/**
 * What occurrences.ts is judged by: a table of a zone's changes of clocks, found through Intl alone, and every moment of
 * every day laid on it. No resolver and no zone arithmetic of any library.
 */
import type { Occurrence, RecurrenceRule, WallRule } from "../../src/reminder/rule.ts";
import { expand } from "./rrule-oracle.ts";
import type { Transition } from "./wall-time-oracle.ts";
import { shownMs, transitions } from "./wall-time-oracle.ts";

const dayMs = 86_400_000;
const minuteMs = 60_000;

/** The changes of a zone's clocks from 1999 through 2038: looked for at samples so many days apart. */
export class ZoneTable {
  readonly #stepDays: number;
  readonly #known = new Map<string, readonly Transition[]>();

  constructor(stepDays: number) {
    this.#stepDays = stepDays;
  }

  transitions(zone: string): readonly Transition[] {
    const known = this.#known.get(zone) ?? transitions(zone, Date.UTC(1999, 0), Date.UTC(2039, 0), this.#stepDays);
    this.#known.set(zone, known);
    return known;
  }

  /** The stretches of time with one offset each, that lie within days of a wall time. */
  around(wallMs: number, zone: string): { fromMs: number; throughMs: number; offsetMs: number }[] {
    const changes = this.transitions(zone).filter(({ atMs }) => Math.abs(atMs - wallMs) < 3 * dayMs);
    const [first] = changes;
    const edges = [Number.NEGATIVE_INFINITY, ...changes.map(({ atMs }) => atMs), Number.POSITIVE_INFINITY];
    const offsets = [first?.beforeMs ?? shownMs(wallMs, zone) - wallMs, ...changes.map(({ afterMs }) => afterMs)];
    return offsets.map((offsetMs, index) => ({
      fromMs: edges[index] ?? 0,
      throughMs: (edges[index + 1] ?? 0) - 1,
      offsetMs,
    }));
  }
}

/** The occurrences in (fromMs, throughMs], as `occurrencesBetween` promises them. */
export function occurrencesByForce(
  rule: WallRule | RecurrenceRule,
  table: ZoneTable,
  fromMs: number,
  throughMs: number,
): Occurrence[] {
  const byInstant = new Map<number, Occurrence>();
  for (const wallMs of localTimes(rule, fromMs - 5 * dayMs, throughMs + 5 * dayMs)) {
    const local = new Date(wallMs).toISOString().slice(0, 19);
    if (local.slice(0, 10) < (rule.startsOn ?? "") || local.slice(0, 10) > (rule.endsOn ?? "9999")) continue;
    instantsOf(wallMs, rule, table).forEach(({ instantMs, fold }) => {
      for (const minutes of rule.offsetsMinutes) {
        const suffix = minutes === 0 ? "" : `${minutes > 0 ? "+" : ""}${minutes}m`;
        const dueAtMs = instantMs + minutes * minuteMs;
        // the later one stands where two fall on one instant
        byInstant.set(dueAtMs, { key: `${local}[${fold}]${suffix}`, dueAtMs });
      }
    });
  }
  return [...byInstant.values()]
    .filter(({ dueAtMs }) => dueAtMs > fromMs && dueAtMs <= throughMs)
    .sort((a, b) => a.dueAtMs - b.dueAtMs);
}

/** Wall times as readings in UTC, ascending. */
function localTimes(rule: WallRule | RecurrenceRule, fromMs: number, throughMs: number): number[] {
  const isNear = (ms: number) => ms >= fromMs && ms <= throughMs;
  if (rule.kind === "recurrence") {
    const without = new Set(rule.exdates.map(msOf));
    const found = new Set([...expand(rule.rrule, rule.start, throughMs), ...rule.rdates.map(msOf)]);
    return [...found].filter((ms) => isNear(ms) && !without.has(ms)).sort((a, b) => a - b);
  }
  const times: number[] = [];
  for (let day = Math.floor(fromMs / dayMs) * dayMs; day <= throughMs; day += dayMs) {
    const weekday = new Date(day).getUTCDay() || 7;
    if (rule.days.includes(weekday)) times.push(msOf(`${new Date(day).toISOString().slice(0, 10)}T${rule.time}`));
  }
  return times.filter(isNear);
}

function instantsOf(
  wallMs: number,
  { zone, gap, overlap }: WallRule | RecurrenceRule,
  table: ZoneTable,
): { instantMs: number; fold: number }[] {
  const stretches = table.around(wallMs, zone);
  const instants = stretches
    .map(({ fromMs, throughMs, offsetMs }) => ({ instantMs: wallMs - offsetMs, fromMs, throughMs }))
    .filter(({ instantMs, fromMs, throughMs }) => instantMs >= fromMs && instantMs <= throughMs)
    .map(({ instantMs }, fold) => ({ instantMs, fold }));
  if (instants.length > 0) {
    return overlap === "both" ? instants : overlap === "first" ? instants.slice(0, 1) : instants.slice(-1);
  }
  if (gap === "skip") return [];
  // what is asked for lies between what two stretches show: it is read with the offset before
  const before = stretches.findLast(({ throughMs, offsetMs }) => wallMs - offsetMs > throughMs);
  if (before === undefined) throw new Error(`no gap: ${zone} ${wallMs}`);
  return [{ instantMs: wallMs - before.offsetMs, fold: 0 }];
}

function msOf(local: string): number {
  return Date.parse(`${local}Z`);
}
