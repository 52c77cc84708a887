import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { missedAfterMs, planSchedule } from "../../src/planner/plan.ts";
import type { Rule } from "../../src/reminder/rule.ts";
import type { MovableBucket, ScheduleToPlan } from "../../src/store/plan.ts";
import { parseTimetable } from "../../src/timetable/timetable.ts";
import { sinceEver } from "../../src/timetable/versions.ts";

const hourMs = 3_600_000;
const dayMs = 24 * hourMs;
const nowMs = Date.parse("2026-03-10T12:00:00Z");
const horizonMs = hourMs;

const daily = (time: string): Rule => ({
  kind: "wall",
  time,
  zone: "UTC",
  days: [1, 2, 3, 4, 5, 6, 7],
  gap: "shift",
  overlap: "first",
  offsetsMinutes: [0],
});
const instant = (atMs: number): Rule => ({ kind: "instant", at: new Date(atMs).toISOString().replace(".000", "") });
const schedule = (rule: Rule, changed: Partial<ScheduleToPlan> = {}): ScheduleToPlan => ({
  scheduleId: "1",
  topicId: 1,
  rule,
  plannedThroughMs: nowMs,
  movable: [],
  expiresAfterMs: 600_000,
  catchUp: "latest",
  place: null,
  fault: null,
  ...changed,
});
const movable = ({
  occurrence,
  dueAtMs,
}: {
  readonly occurrence: string;
  readonly dueAtMs: number;
}): MovableBucket => ({
  bucketId: "1",
  occurrence,
  dueAtMs,
  tzdata: null,
});
const plan = (of: ScheduleToPlan, atMs = nowMs) => planSchedule(of, atMs, horizonMs);
const dueAt = (buckets: readonly { readonly dueAtMs: number; readonly skipped: boolean }[]) =>
  buckets.map(({ dueAtMs, skipped }) => `${new Date(dueAtMs).toISOString().slice(5, 16)}${skipped ? " skipped" : ""}`);

describe("planSchedule", () => {
  it("plans what is due up to the horizon, and says when the next comes", () => {
    const planned = plan(schedule(daily("12:30:00")));
    expect(dueAt(planned.buckets)).toEqual(["03-10T12:30"]);
    expect(planned).toMatchObject({
      plannedThroughMs: nowMs + horizonMs,
      nextDueAtMs: Date.parse("2026-03-11T12:30:00Z"),
      moves: [],
    });
  });

  it("plans nothing where the next moment is beyond the horizon", () => {
    const planned = plan(schedule(daily("14:00:00")));
    expect(planned.buckets).toEqual([]);
    expect(planned.nextDueAtMs).toBe(Date.parse("2026-03-10T14:00:00Z"));
  });

  it("ends with a rule that has no further moments", () => {
    const planned = plan(schedule(instant(nowMs + 60_000)));
    expect(planned.buckets).toMatchObject([{ occurrence: "2026-03-10T12:01:00Z", skipped: false }]);
    expect(planned.nextDueAtMs).toBeNull();
    expect(plan(schedule(instant(nowMs + 2 * hourMs))).nextDueAtMs).toBe(nowMs + 2 * hourMs);
    expect(plan(schedule(instant(nowMs - dayMs)))).toMatchObject({ buckets: [], nextDueAtMs: null });
  });

  it.each([
    ["skip", ["03-08T11:00 skipped", "03-09T11:00 skipped", "03-10T11:00 skipped"]],
    ["latest", ["03-08T11:00 skipped", "03-09T11:00 skipped", "03-10T11:00"]],
    ["all", ["03-08T11:00", "03-09T11:00", "03-10T11:00"]],
  ] as const)("after a downtime of days catches up with %s", (catchUp, wanted) => {
    const planned = plan(schedule(daily("11:00:00"), { catchUp, plannedThroughMs: nowMs - 3 * dayMs + hourMs / 2 }));
    expect(dueAt(planned.buckets)).toEqual(wanted);
    expect(planned.nextDueAtMs).toBe(Date.parse("2026-03-11T11:00:00Z"));
  });

  it("counts nothing as missed that a planner is only a little late for", () => {
    const late = (byMs: number) =>
      plan(schedule(daily("12:00:00"), { catchUp: "skip", plannedThroughMs: nowMs - dayMs / 2 }), nowMs + byMs);
    expect(dueAt(late(missedAfterMs).buckets)).toEqual(["03-10T12:00"]);
    expect(dueAt(late(missedAfterMs + 1).buckets)).toEqual(["03-10T12:00 skipped"]);
  });

  it("looks as far back as nobody planned: minutes or months, without a gap", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 400 }), (days) => {
        const plannedThroughMs = nowMs - days * dayMs;
        const planned = plan(schedule(daily("12:00:00"), { catchUp: "all", plannedThroughMs }));
        return planned.buckets.length === days && planned.buckets[0]?.dueAtMs === plannedThroughMs + dayMs;
      }),
      { numRuns: 30 },
    );
  });

  it("leaves no moment out and plans none twice, however planning is cut into turns", () => {
    const rules = [daily("00:10:00"), daily("12:00:00"), daily("23:59:59")];
    const turnsMs = fc.array(fc.integer({ min: 1000, max: 3 * dayMs }), { minLength: 1, maxLength: 12 });
    fc.assert(
      fc.property(fc.constantFrom(...rules), turnsMs, (rule, turns) => {
        const made = new Set<string>();
        let plannedThroughMs = nowMs;
        let atMs = nowMs;
        for (const turnMs of turns) {
          atMs += turnMs;
          const planned = plan(schedule(rule, { plannedThroughMs, catchUp: "all" }), atMs);
          for (const { occurrence, dueAtMs } of planned.buckets) made.add(`${occurrence} ${dueAtMs}`);
          plannedThroughMs = planned.plannedThroughMs;
        }
        const atOnce = plan(schedule(rule, { plannedThroughMs: nowMs, catchUp: "all" }), atMs);
        return made.size === atOnce.buckets.length;
      }),
      { numRuns: 60 },
    );
  });

  describe("at a place", () => {
    const place = (latitude: number, longitude: number, zone: string) => ({
      placeId: 7,
      latitude,
      longitude,
      zone,
      versions: sinceEver(parseTimetable("prayer", {})),
    });
    const sunrise: Rule = { kind: "timetable", placeId: 7, slot: "sunrise", offsetsMinutes: [0] };
    const longyearbyen = place(78.22, 15.65, "Arctic/Longyearbyen");

    it("that has a night of months, is asked again a day later", () => {
      const winterMs = Date.parse("2026-12-20T12:00:00Z");
      const planned = plan(schedule(sunrise, { place: longyearbyen, plannedThroughMs: winterMs }), winterMs);
      expect(planned.buckets).toEqual([]);
      expect(planned.nextDueAtMs).not.toBeNull();
      expect(planned.nextDueAtMs).toBeGreaterThan(winterMs + horizonMs);
    });

    it("finds a moment again by its key where a correction has moved it out of what is planned for", () => {
      const istanbul = place(41.0082, 28.9784, "Europe/Istanbul");
      const [first] = planSchedule(schedule(sunrise, { place: istanbul }), nowMs, dayMs).buckets;
      if (first === undefined) throw new Error("no sunrise");
      const corrected = {
        ...istanbul,
        versions: sinceEver(parseTimetable("prayer", { adjustments: { sunrise: -30 } })),
      };
      const shortly = { plannedThroughMs: first.dueAtMs - hourMs, place: corrected, movable: [movable(first)] };
      // now lies behind the corrected moment and before the old one
      const planned = plan(schedule(sunrise, shortly), first.dueAtMs - 10 * 60_000);
      const all = [...planned.buckets, ...planned.moves].filter(({ occurrence }) => occurrence === first.occurrence);
      expect(all).toEqual([expect.objectContaining({ dueAtMs: first.dueAtMs - 30 * 60_000 })]);
      // what can't move any more is not looked for
      expect(plan(schedule(sunrise, { ...shortly, movable: [] }), first.dueAtMs + hourMs).moves).toEqual([]);
    });

    it("refuses a rule whose place is not there", () => {
      expect(() => plan(schedule(sunrise))).toThrow(expect.objectContaining({ code: "unknown_place" }));
    });
  });
});
