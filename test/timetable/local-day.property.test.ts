import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { addDays, datesThrough, formatDate, localDate, resolveWallTime } from "../../src/timetable/civil-time.ts";
import { nextOccurrenceAfter } from "../../src/timetable/occurrences.ts";
import { parsePrayerTimetable } from "../../src/timetable/prayer.ts";
import { timeOf } from "../../src/timetable/timetable.ts";
import { sinceEver } from "../../src/timetable/versions.ts";
import { leavingMs, type MovingStep, play, type Ring, type Spot } from "./moving-user.ts";

const long = process.env.CARILLON_LONG === "1";
const numRuns = long ? 20_000 : 300;
const timeoutMs = long ? 3_600_000 : 120_000;
const dayMs = 86_400_000;
const hourMs = 3_600_000;

const versions = sinceEver(parsePrayerTimetable({}));
/** Both sides of the date line, the zones farthest from UTC, a polar night, the two hemispheres. */
const places = [
  ["Apia", -13.83, -171.77, "Pacific/Apia"],
  ["Honolulu", 21.31, -157.86, "Pacific/Honolulu"],
  ["Kiritimati", 1.87, -157.43, "Pacific/Kiritimati"],
  ["Pago Pago", -14.28, -170.7, "Pacific/Pago_Pago"],
  ["Auckland", -36.85, 174.76, "Pacific/Auckland"],
  ["Mecca", 21.42, 39.83, "Asia/Riyadh"],
  ["Berlin", 52.52, 13.4, "Europe/Berlin"],
  ["Tromso", 69.65, 18.96, "Europe/Oslo"],
  ["New York", 40.71, -74.01, "America/New_York"],
] as const;

const policy = { gap: "shift", overlap: "first" } as const;

const slotSpots = (slot: string, offsetsMinutes: readonly number[]): Spot[] =>
  places.map(([, latitude, longitude, zone], index) => ({
    rule: { kind: "timetable", placeId: index, slot, offsetsMinutes },
    place: { placeId: index, latitude, longitude, zone, versions },
  }));
const wallSpots = (time: string): Spot[] =>
  places.map(([, , , zone]) => ({
    rule: { kind: "wall", time, zone, days: [1, 2, 3, 4, 5, 6, 7], offsetsMinutes: [0], follows: "user", ...policy },
    place: null,
  }));

/** Ways whose steps lie from a second to two days apart, so that many fall into one date. */
const ways = fc.record({
  beginMs: fc.integer({ min: Date.UTC(2026, 0, 1), max: Date.UTC(2027, 0, 1) }),
  steps: fc.array(
    fc.record({
      waitMs: fc.oneof(
        fc.integer({ min: 1, max: 5000 }),
        fc.integer({ min: 1, max: 4 * hourMs }),
        fc.integer({ min: hourMs, max: 50 * hourMs }),
      ),
      to: fc.nat(places.length - 1),
      moves: fc.boolean(),
      // so long before the next moment where they are; null: whenever
      aheadMs: fc.option(fc.integer({ min: -1, max: 3000 })),
    }),
    { minLength: 1, maxLength: 12 },
  ),
  // few spots, so that they come back; any of them
  among: fc.uniqueArray(fc.nat(places.length - 1), { minLength: 2, maxLength: 4 }),
});
type Way = typeof ways extends fc.Arbitrary<infer W> ? W : never;

function stepsOf({ beginMs, steps, among }: Way, spots: readonly Spot[]): MovingStep[] {
  let atMs = beginMs;
  let here: Spot | undefined;
  return steps.map(({ waitMs, to, moves, aheadMs }) => {
    const next = here && aheadMs !== null ? nextOccurrenceAfter(here.rule, here.place, atMs + waitMs) : null;
    atMs = Math.max(atMs + 1, next === null ? atMs + waitMs : next.dueAtMs - (aheadMs ?? 0));
    const spot = among[to % among.length] ?? 0;
    here = spots[spot];
    return { atMs, to: spot, moves };
  });
}

const slots = fc.constantFrom("fajr", "dhuhr", "maghrib", "isha");
const offsets = fc.oneof(
  fc.constant([0]),
  fc.constantFrom([-20, -5, 0], [0, 30], [-1440, 0], [-120, 90, 1440]),
  fc
    .uniqueArray(fc.integer({ min: -1440, max: 1440 }), { minLength: 1, maxLength: 4 })
    .map((list) => list.toSorted((a, b) => a - b)),
);

/** Without anybody who leaves: that somebody left so shortly before a moment that it may have rung counts as rung. */
function moving(steps: readonly MovingStep[]): MovingStep[] {
  return steps.map((step) => ({ ...step, moves: true }));
}

/** The key's end: local date (and time), and offset. */
function markOf({ key }: Ring): string {
  return /\d{4}-\d\d-\d\d.*$/.exec(key)?.[0] ?? "";
}

function twice(rings: readonly Ring[]): string[] {
  const marks = rings.map(markOf);
  return marks.filter((mark, index) => marks.indexOf(mark) !== index);
}

/** The dates that begin after an instant, three of them, at a spot where they have a moment. */
function datesAfter({ place, rule }: Spot, slot: string | null, afterMs: number): string[] {
  const zone = place?.zone ?? ("zone" in rule ? rule.zone : "UTC");
  const today = localDate(afterMs, zone);
  return [...datesThrough(addDays(today, 1), addDays(today, 3))]
    .filter((date) => place === null || slot === null || timeOf(place, slot, date) !== null)
    .map(formatDate);
}

/**
 * Dates of which nothing has rung. Twenty-five hours apart (Kiritimati and Pago Pago), the date before the one that rang
 * last may still lie ahead: who had not yet subscribed when it rang goes without.
 */
function unheard(rings: readonly Ring[], dates: readonly string[], movedMs: number): string[] {
  const heard = rings.map(markOf);
  const before = rings.filter(({ dueAtMs }) => dueAtMs < movedMs + leavingMs).map(markOf);
  const [last = ""] = before.toSorted().toReversed();
  return dates.filter((date) => date > last.slice(0, 10) && !heard.some((mark) => mark.startsWith(date)));
}

describe("who moves between places", () => {
  it(
    "hears of each slot, offset and local date at most once",
    () => {
      fc.assert(
        fc.property(ways, slots, offsets, (way, slot, offsetsMinutes) => {
          const spots = slotSpots(slot, offsetsMinutes);
          const steps = stepsOf(way, spots);
          const lastMs = steps.at(-1)?.atMs ?? 0;
          expect(twice(play(spots, steps, lastMs + 5 * dayMs))).toEqual([]);
        }),
        { numRuns },
      );
    },
    timeoutMs,
  );

  it(
    "hears of each local date that lies wholly after the last move",
    () => {
      fc.assert(
        fc.property(ways, slots, fc.constantFrom(-1440, -20, 0, 45, 1440), (way, slot, offset) => {
          const spots = slotSpots(slot, [offset]);
          const steps = stepsOf(way, spots);
          const last = steps.at(-1);
          if (last === undefined) return;
          const spot = spots[last.to];
          if (spot === undefined) return;
          // a moment belongs to the date that it is of, and may come a day before or after it
          const rings = play(spots, moving(steps), last.atMs + 7 * dayMs);
          const settledMs = last.atMs + Math.max(0, -offset) * 60_000 + leavingMs;
          expect(unheard(rings, datesAfter(spot, slot, settledMs), last.atMs)).toEqual([]);
        }),
        { numRuns },
      );
    },
    timeoutMs,
  );

  it(
    "hears of a wall time that follows them likewise",
    () => {
      fc.assert(
        fc.property(ways, fc.constantFrom("00:00:00", "07:30:00", "23:45:00"), (way, time) => {
          const spots = wallSpots(time);
          const steps = stepsOf(way, spots);
          const last = steps.at(-1);
          if (last === undefined) return;
          const spot = spots[last.to];
          if (spot === undefined) return;
          const rings = play(spots, moving(steps), last.atMs + 7 * dayMs);
          expect(twice(rings)).toEqual([]);
          expect(unheard(rings, datesAfter(spot, null, last.atMs + leavingMs), last.atMs)).toEqual([]);
        }),
        { numRuns },
      );
    },
    timeoutMs,
  );
});

describe("across the date line", () => {
  const apia = 0;
  const honolulu = 1;
  const fajr = slotSpots("fajr", [0]);
  const at = (zone: string, day: number, hour: number, minute = 0) =>
    resolveWallTime({ year: 2026, month: 11, day, hour, minute, second: 0 }, zone, policy)[0]?.instantMs ?? 0;
  const here = (spot: number, day: number, hour: number) => at(places[spot]?.[3] ?? "UTC", day, hour);
  const datesOf = (steps: readonly MovingStep[], untilMs: number) =>
    play(fajr, steps, untilMs).map((ring) => `${places[ring.spot]?.[0]} ${markOf(ring)}`);

  it("Apia to Honolulu: the date that has rung comes again there, and does not ring", () => {
    const steps = [
      { atMs: here(apia, 24, 0), to: apia, moves: true },
      { atMs: here(apia, 25, 8), to: honolulu, moves: true },
    ];
    // the 25th is over before it begins: the day is lived twice and rung once
    expect(datesOf(steps, here(honolulu, 27, 12))).toEqual([
      "Apia 2026-11-24",
      "Apia 2026-11-25",
      "Honolulu 2026-11-26",
      "Honolulu 2026-11-27",
    ]);
  });

  it("Honolulu to Apia: the date whose time has passed there is left to the next one", () => {
    const steps = [
      { atMs: here(honolulu, 23, 0), to: honolulu, moves: true },
      { atMs: here(honolulu, 24, 8), to: apia, moves: true },
    ];
    expect(datesOf(steps, here(apia, 27, 12))).toEqual([
      "Honolulu 2026-11-23",
      "Honolulu 2026-11-24",
      "Apia 2026-11-26",
      "Apia 2026-11-27",
    ]);
  });

  it("there and back on the same day: not rung twice, and not forgotten the day after", () => {
    const steps = [
      { atMs: here(apia, 25, 0), to: apia, moves: true },
      { atMs: here(apia, 25, 8), to: honolulu, moves: true },
      { atMs: here(apia, 25, 12), to: apia, moves: true },
      { atMs: here(apia, 25, 13), to: honolulu, moves: true },
      { atMs: here(apia, 25, 14), to: apia, moves: true },
    ];
    expect(datesOf(steps, here(apia, 27, 12))).toEqual(["Apia 2026-11-25", "Apia 2026-11-26", "Apia 2026-11-27"]);
  });

  it("by way of a third place, whose rows know nothing of the first", () => {
    const pagoPago = 3;
    const steps = [
      { atMs: here(apia, 25, 0), to: apia, moves: true },
      { atMs: here(apia, 25, 8), to: honolulu, moves: true },
      // Apia's row is written anew, and forgets that the 25th rang there
      { atMs: here(apia, 25, 9), to: apia, moves: true },
      { atMs: here(apia, 25, 10), to: pagoPago, moves: true },
    ];
    expect(datesOf(steps, here(pagoPago, 26, 12))).toEqual(["Apia 2026-11-25", "Pago Pago 2026-11-26"]);
  });

  it("back within the seconds in which a move takes effect: goes on as before", () => {
    const dueMs = play(fajr, [{ atMs: here(apia, 25, 0), to: apia, moves: true }], here(apia, 25, 12))[0]?.dueAtMs ?? 0;
    const steps = [
      { atMs: here(apia, 25, 0), to: apia, moves: true },
      { atMs: dueMs - 1500, to: honolulu, moves: true },
      { atMs: dueMs - 500, to: apia, moves: true },
      { atMs: dueMs + hourMs, to: honolulu, moves: true },
    ];
    expect(datesOf(steps, here(honolulu, 26, 12))).toEqual(["Apia 2026-11-25", "Honolulu 2026-11-26"]);
  });

  it("leaving and subscribing there is as good as moving", () => {
    const steps = [
      { atMs: here(apia, 25, 0), to: apia, moves: true },
      { atMs: here(apia, 25, 8), to: honolulu, moves: false },
    ];
    expect(datesOf(steps, here(honolulu, 26, 12))).toEqual(["Apia 2026-11-25", "Honolulu 2026-11-26"]);
  });
});
