import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { RecurrenceRule, WallRule } from "../../src/reminder/rule.ts";
import { nextOccurrenceAfter, occurrencesAndNext, occurrencesBetween } from "../../src/timetable/occurrences.ts";
import { parseRule } from "../../src/timetable/rule-check.ts";
import { occurrencesByForce, ZoneTable } from "./occurrence-oracle.ts";
import { endedRRules } from "./rrule-oracle.ts";

const long = process.env.CARILLON_LONG === "1";
const numRuns = long ? 1_000_000 : 10_000;
const timeoutMs = long ? 7_200_000 : 120_000;
const dayMs = 86_400_000;
const hourMs = 3_600_000;
const zones = Intl.supportedValuesOf("timeZone");
const awkward = [
  ...["Australia/Lord_Howe", "Pacific/Apia", "America/Santiago", "Africa/Casablanca", "Asia/Kathmandu"],
  ...["Antarctica/Troll", "Africa/Cairo", "America/St_Johns", "Asia/Gaza", "Europe/Berlin", "Pacific/Norfolk"],
];
const table = new ZoneTable(long ? 1 : 10);

/** A place in time: for three in four within hours of a change of the zone's clocks. */
const moments = fc
  .record({
    zone: fc.oneof(fc.constantFrom(...zones), { arbitrary: fc.constantFrom(...awkward), weight: 1 }),
    isNear: fc.nat(3).map((n) => n > 0),
    pick: fc.nat(999),
    isFromBefore: fc.boolean(),
    nearSeconds: fc.oneof(
      fc.constantFrom(-3_600, -1_800, -1, 0, 1, 1_799, 1_800, 3_600, 7_200),
      fc.integer({ min: -120, max: 120 }).map((minutes) => minutes * 60),
      fc.integer({ min: -100_000, max: 100_000 }),
    ),
    anySeconds: fc.integer({ min: Date.UTC(2000, 0, 3) / 1_000, max: Date.UTC(2037, 11, 25) / 1_000 }),
  })
  .map(({ zone, isNear, pick, isFromBefore, nearSeconds, anySeconds }) => {
    const within = isNear ? table.transitions(zone).filter(({ atMs }) => isBetween(atMs)) : [];
    const change = within[pick % Math.max(1, within.length)];
    if (change === undefined) return { zone, wallMs: anySeconds * 1_000 };
    const edgeMs = change.atMs + (isFromBefore ? change.beforeMs : change.afterMs);
    return { zone, wallMs: edgeMs + nearSeconds * 1_000 };
  });

function isBetween(atMs: number): boolean {
  return atMs > Date.UTC(2000, 0, 4) && atMs < Date.UTC(2037, 11, 20);
}

const offsets = fc.oneof(
  fc.constant([0]),
  fc
    .uniqueArray(fc.oneof(fc.constantFrom(-1_440, -60, -30, 0, 60, 1_440), fc.integer({ min: -1_440, max: 1_440 })), {
      minLength: 1,
      maxLength: 4,
    })
    .map((minutes) => minutes.sort((a, b) => a - b)),
);
const policies = fc.record({
  gap: fc.constantFrom("shift" as const, "skip" as const),
  overlap: fc.constantFrom("first" as const, "last" as const, "both" as const),
  offsetsMinutes: offsets,
});
const cases = fc.record({
  moment: moments,
  policy: policies,
  days: fc.oneof(fc.constant([1, 2, 3, 4, 5, 6, 7]), fc.subarray([1, 2, 3, 4, 5, 6, 7], { minLength: 1 })),
  // most recurrences are plain ones: their own property has the others
  rrule: fc.option(fc.oneof(fc.constantFrom("FREQ=DAILY", "FREQ=WEEKLY", "FREQ=DAILY;INTERVAL=2"), endedRRules), {
    freq: 2,
  }),
  startDaysBefore: fc.constantFrom(0, 1, 7, 14, 400),
  bounds: fc.option(fc.tuple(fc.integer({ min: -3, max: 1 }), fc.integer({ min: 0, max: 3 }))),
  isExcluded: fc.nat(9).map((n) => n === 0),
  windowHours: fc.tuple(fc.integer({ min: 1, max: 60 }), fc.integer({ min: 1, max: 60 })),
});

function ruleOf({ moment, policy, days, rrule, startDaysBefore, bounds, isExcluded }: CaseOf<typeof cases>) {
  const { zone, wallMs } = moment;
  const dateOf = (offsetDays: number) => textOf(wallMs + offsetDays * dayMs).slice(0, 10);
  const bounded = bounds === null ? {} : { startsOn: dateOf(bounds[0]), endsOn: dateOf(bounds[1]) };
  if (rrule === null || bounds?.[0] === 1) {
    const within = bounds !== null && bounds[0] > bounds[1] ? {} : bounded;
    return { kind: "wall", time: textOf(wallMs).slice(11), zone, days, ...policy, ...within } satisfies WallRule;
  }
  return {
    kind: "recurrence",
    start: textOf(wallMs - startDaysBefore * dayMs),
    rrule,
    zone,
    rdates: isExcluded ? [textOf(wallMs + 2 * hourMs)] : [],
    exdates: isExcluded ? [textOf(wallMs)] : [],
    ...policy,
    ...bounded,
  } satisfies RecurrenceRule;
}

type CaseOf<A> = A extends fc.Arbitrary<infer T> ? T : never;

function textOf(wallMs: number): string {
  return new Date(wallMs).toISOString().slice(0, 19);
}

describe("occurrences against the oracle", () => {
  it(`are what brute force finds: ${numRuns} rules of all zones, 2000-2037`, { timeout: timeoutMs }, () => {
    const seen = { wall: 0, recurrence: 0, some: 0, shiftedOrSkipped: 0, twice: 0 };
    fc.assert(
      fc.property(cases, (each) => {
        const rule = ruleOf(each);
        const { zone, wallMs } = each.moment;
        const [fromMs, throughMs] = [wallMs - each.windowHours[0] * hourMs, wallMs + each.windowHours[1] * hourMs];
        const wanted = occurrencesByForce(rule, table, fromMs, throughMs);
        const found = occurrencesBetween(rule, null, fromMs, throughMs);
        if (!isSame(found, wanted)) expect(found, JSON.stringify(rule)).toEqual(wanted);
        seen[rule.kind] += 1;
        seen.some += wanted.length > 0 ? 1 : 0;
        seen.twice += wanted.some(({ key }) => key.includes("[1]")) ? 1 : 0;
        seen.shiftedOrSkipped += isInGap(wallMs, zone) ? 1 : 0;
      }),
      { numRuns },
    );
    // the awkward ones are not left to luck
    expect(seen.wall).toBeGreaterThan(numRuns / 4);
    expect(seen.recurrence).toBeGreaterThan(numRuns / 4);
    expect(seen.some).toBeGreaterThan(numRuns / 2);
    expect(seen.twice).toBeGreaterThan(numRuns / 100);
    expect(seen.shiftedOrSkipped).toBeGreaterThan(numRuns / 50);
  });

  const nights: readonly [zone: string, from: string, through: string][] = [
    ["Australia/Lord_Howe", "2026-04-04", "2026-04-06"],
    ["Australia/Lord_Howe", "2026-10-03", "2026-10-05"],
    ["Pacific/Apia", "2011-12-28", "2012-01-02"],
    ["America/Santiago", "2026-09-05", "2026-09-07"],
    ["America/Santiago", "2026-04-03", "2026-04-06"],
    ["Africa/Casablanca", "2026-02-14", "2026-02-16"],
    ["Africa/Casablanca", "2026-03-21", "2026-03-23"],
    ["Asia/Kathmandu", "2026-03-28", "2026-03-30"],
    ["Antarctica/Troll", "2026-03-28", "2026-03-30"],
    ["Antarctica/Troll", "2026-10-24", "2026-10-26"],
    ["America/St_Johns", "2006-10-28", "2006-10-30"],
    ["Pacific/Kwajalein", "2026-10-24", "2026-10-26"],
  ];
  it.each(nights)("are right at every quarter of %s, %s to %s, by each policy", (zone, from, through) => {
    const window = [Date.parse(`${from}T00:00Z`), Date.parse(`${through}T00:00Z`)] as const;
    for (let quarter = 0; quarter < 96; quarter += 1) {
      const time = textOf(quarter * 15 * 60_000).slice(11);
      for (const gap of ["shift", "skip"] as const) {
        for (const overlap of ["first", "last", "both"] as const) {
          const policy = { zone, gap, overlap, offsetsMinutes: [-1_440, -20, 0] };
          const wall = parseRule({ kind: "wall", time, ...policy });
          const daily = {
            kind: "recurrence",
            start: `${from.slice(0, 4)}-01-01T${time}`,
            rrule: "FREQ=DAILY",
            ...policy,
          };
          const recurrence = parseRule(daily);
          if (wall.kind !== "wall" || recurrence.kind !== "recurrence") throw new Error("another kind of rule");
          const wanted = occurrencesByForce(wall, table, ...window);
          expect(occurrencesBetween(wall, null, ...window)).toEqual(wanted);
          expect(occurrencesBetween(recurrence, null, ...window)).toEqual(wanted);
        }
      }
    }
  });

  it("come one after the other by nextOccurrenceAfter", { timeout: timeoutMs }, () => {
    fc.assert(
      fc.property(cases, (each) => {
        const rule = ruleOf(each);
        const { wallMs } = each.moment;
        const [first] = occurrencesByForce(rule, table, wallMs, wallMs + 10 * dayMs);
        const next = nextOccurrenceAfter(rule, null, wallMs);
        if (first === undefined) expect(next === null || next.dueAtMs > wallMs + 10 * dayMs).toBe(true);
        else expect(next, JSON.stringify(rule)).toEqual(first);
      }),
      { numRuns: numRuns / 10 },
    );
  });

  it("are the same when those of a window and the next one behind it are asked for at once", {
    timeout: timeoutMs,
  }, () => {
    fc.assert(
      fc.property(cases, fc.boolean(), (each, isEmpty) => {
        const rule = ruleOf(each);
        const { wallMs } = each.moment;
        const fromMs = wallMs - each.windowHours[0] * hourMs;
        const throughMs = isEmpty ? fromMs - 3 * dayMs : wallMs + each.windowHours[1] * hourMs;
        expect(occurrencesAndNext(rule, null, fromMs, throughMs), JSON.stringify(rule)).toEqual({
          due: occurrencesBetween(rule, null, fromMs, throughMs),
          next: nextOccurrenceAfter(rule, null, throughMs),
        });
      }),
      { numRuns: numRuns / 10 },
    );
  });
});

function isSame(a: readonly object[], b: readonly object[]): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

function isInGap(wallMs: number, zone: string): boolean {
  return table
    .transitions(zone)
    .some(({ atMs, beforeMs, afterMs }) => wallMs >= atMs + beforeMs && wallMs < atMs + afterMs);
}
