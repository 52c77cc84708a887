import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { WallTime, WallTimePolicy } from "../../src/timetable/civil-time.ts";
import { localDate, resolveWallTime } from "../../src/timetable/civil-time.ts";
import type { Transition, Verdict } from "./wall-time-oracle.ts";
import { judge, shownMs, transitions } from "./wall-time-oracle.ts";

const long = process.env.CARILLON_LONG === "1";
const numRuns = long ? 1_000_000 : 10_000;
const timeoutMs = long ? 3_600_000 : 120_000;
const zones = Intl.supportedValuesOf("timeZone");
const dayMs = 86_400_000;

const policies: readonly WallTimePolicy[] = (["shift", "skip"] as const).flatMap((gap) =>
  (["first", "last", "both"] as const).map((overlap) => ({ gap, overlap })),
);

const knownTransitions = new Map<string, readonly Transition[]>();
function transitionsOf(zone: string, year: number): readonly Transition[] {
  const key = `${zone} ${year}`;
  const known = knownTransitions.get(key) ?? transitions(zone, Date.UTC(year, 0), Date.UTC(year + 1, 0), 10);
  knownTransitions.set(key, known);
  return known;
}

/** A wall time (as a reading in UTC), for three cases in four within hours of a change of its zone's offset. */
const wallTimes = fc
  .record({
    zone: fc.constantFrom(...zones),
    year: fc.integer({ min: 2000, max: 2037 }),
    isNear: fc.nat(3).map((n) => n > 0),
    pick: fc.nat(9),
    isFromBefore: fc.boolean(),
    nearSeconds: fc.oneof(
      fc.constantFrom(-3_600, -1_800, -1, 0, 1, 1_800, 3_600),
      fc.integer({ min: -7_200, max: 7_200 }),
      fc.integer({ min: -100_000, max: 100_000 }),
    ),
    yearSeconds: fc.nat(365 * 86_400 - 1),
  })
  .map(({ zone, year, isNear, pick, isFromBefore, nearSeconds, yearSeconds }) => {
    const near = isNear ? transitionsOf(zone, year) : [];
    const transition = near[pick % Math.max(1, near.length)];
    if (transition === undefined) return { zone, wallMs: Date.UTC(year, 0) + yearSeconds * 1_000 };
    const edgeMs = transition.atMs + (isFromBefore ? transition.beforeMs : transition.afterMs);
    return { zone, wallMs: edgeMs + nearSeconds * 1_000 };
  });

function wallTimeOf(wallMs: number): WallTime {
  const utc = new Date(wallMs);
  return {
    year: utc.getUTCFullYear(),
    month: utc.getUTCMonth() + 1,
    day: utc.getUTCDate(),
    hour: utc.getUTCHours(),
    minute: utc.getUTCMinutes(),
    second: utc.getUTCSeconds(),
  };
}

function wanted({ instants, shiftedMs }: Verdict, policy: WallTimePolicy) {
  const folded = instants.map((instantMs, fold) => ({ instantMs, fold }));
  if (shiftedMs !== null) return policy.gap === "skip" ? [] : [{ instantMs: shiftedMs, fold: 0 }];
  if (policy.overlap === "both") return folded;
  return policy.overlap === "first" ? folded.slice(0, 1) : folded.slice(-1);
}

describe("wall time against the oracle", () => {
  it(`resolves ${numRuns} wall times of every zone, 2000-2037, as brute force does`, { timeout: timeoutMs }, () => {
    const seen = { plain: 0, gap: 0, overlap: 0 };
    fc.assert(
      fc.property(wallTimes, ({ zone, wallMs }) => {
        const verdict = judge(wallMs, zone);
        seen[(["gap", "plain", "overlap"] as const)[verdict.instants.length] ?? "plain"] += 1;
        for (const policy of policies) {
          expect(resolveWallTime(wallTimeOf(wallMs), zone, policy)).toEqual(wanted(verdict, policy));
        }
      }),
      { numRuns },
    );
    // the awkward ones are not left to luck
    expect(seen.gap).toBeGreaterThan(numRuns / 100);
    expect(seen.overlap).toBeGreaterThan(numRuns / 100);
    expect(seen.plain).toBeGreaterThan(numRuns / 10);
  });

  it("gives the local date and weekday of any instant", { timeout: timeoutMs }, () => {
    const instants = fc.record({
      zone: fc.constantFrom(...zones),
      instantMs: fc.integer({ min: Date.UTC(2000, 0), max: Date.UTC(2038, 0) }),
    });
    fc.assert(
      fc.property(instants, ({ zone, instantMs }) => {
        const shown = new Date(shownMs(instantMs, zone));
        expect(localDate(instantMs, zone)).toEqual({
          year: shown.getUTCFullYear(),
          month: shown.getUTCMonth() + 1,
          day: shown.getUTCDate(),
          weekday: ((shown.getUTCDay() + 6) % 7) + 1,
        });
      }),
      { numRuns },
    );
  });

  it("no zone changes its offset twice within 48 hours, as the resolver assumes", { timeout: timeoutMs }, () => {
    const close: string[] = [];
    for (const zone of long ? zones : zones.filter((_, index) => index % 10 === 0)) {
      let beforeMs = Number.NEGATIVE_INFINITY;
      for (const { atMs } of transitions(zone, Date.UTC(2000, 0), Date.UTC(2038, 0), long ? 0.5 : 10)) {
        if (atMs - beforeMs <= 2 * dayMs) close.push(`${zone} ${new Date(atMs).toISOString()}`);
        beforeMs = atMs;
      }
    }
    expect(close).toEqual([]);
  });
});
