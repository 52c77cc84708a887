import type { Occurrence, Rule } from "../../src/reminder/rule.ts";
import { beginningOf, momentsAround, type RungThrough } from "../../src/timetable/local-day.ts";
import { occurrencesBetween } from "../../src/timetable/occurrences.ts";
import type { PlaceTimes } from "../../src/timetable/timetable.ts";

/** Somewhere to stand: a rule, and its place where it has one. */
export interface Spot {
  readonly rule: Rule;
  readonly place: PlaceTimes | null;
}

export interface MovingStep {
  readonly atMs: number;
  /** index of the spot */
  readonly to: number;
  /** by a move; else they leave, and subscribe there when it is time */
  readonly moves: boolean;
}

export interface Ring extends Occurrence {
  readonly spot: number;
}

/** What a subscription's row says. */
interface Row {
  readonly fromMs: number;
  readonly endedMs: number | null;
  readonly moved: boolean;
  readonly rungBefore: RungThrough;
}

/** As in src/store/moves.ts. */
export const leavingMs = 2000;

/**
 * Plays one user's way over the spots, with rows as the store keeps them (one for each spot, written anew by whoever
 * comes back), and says what rings: each occurrence whose instant finds the user a member by the rows as they are then.
 *
 * @param steps ascending; the first one subscribes
 */
export function play(spots: readonly Spot[], steps: readonly MovingStep[], untilMs: number): Ring[] {
  const rows = new Map<number, Row>();
  const rings: Ring[] = [];
  let here: number | null = null;
  for (const [index, { atMs, to, moves }] of steps.entries()) {
    if (here !== null && here !== to) {
      const left = rows.get(here);
      if (left !== undefined) rows.set(here, { ...left, endedMs: moves ? atMs + leavingMs : atMs, moved: moves });
    }
    if (here !== to) rows.set(to, joined(spots, rows, to, atMs));
    here = to;
    rings.push(...rungBetween(spots, rows, atMs, (steps[index + 1]?.atMs ?? untilMs + 1) - 1));
  }
  return rings;
}

function joined(spots: readonly Spot[], rows: ReadonlyMap<number, Row>, to: number, atMs: number): Row {
  const { rule, place } = spotAt(spots, to);
  const stays = [...rows].map(([index, row]) => {
    const spot = spotAt(spots, index);
    return { ...row, here: index === to, moments: momentsAround(spot.rule, spot.place, [], atMs) };
  });
  const { countsFromMs, rungThrough } = beginningOf(rule, place, stays, atMs);
  const before = rows.get(to);
  const backInTime = before !== undefined && (before.endedMs ?? 0) > atMs && countsFromMs === atMs;
  const fromMs = backInTime ? before.fromMs : Math.max(before?.fromMs ?? 0, countsFromMs);
  return { fromMs, endedMs: null, moved: false, rungBefore: rungThrough };
}

/** Both ends count. */
function rungBetween(spots: readonly Spot[], rows: ReadonlyMap<number, Row>, firstMs: number, lastMs: number): Ring[] {
  return [...rows].flatMap(([spot, { fromMs, endedMs }]) => {
    const { rule, place } = spotAt(spots, spot);
    const through = Math.min(lastMs, (endedMs ?? Number.POSITIVE_INFINITY) - 1);
    return occurrencesBetween(rule, place, Math.max(firstMs, fromMs) - 1, through).map((each) => ({ ...each, spot }));
  });
}

function spotAt(spots: readonly Spot[], index: number): Spot {
  const spot = spots[index];
  if (spot === undefined) throw new Error(`no spot ${index}`);
  return spot;
}
