/**
 * A process that believes in a day of its own and prints what planSchedule makes of many rules at many times.
 *
 * Arguments: today (RFC 3339); whether the runtime has Temporal ("true", "false").
 */
import type { Rule } from "../../src/reminder/rule.ts";

const [, , today = "", hasTemporal] = process.argv;
const todayMs = Date.parse(today);
const RealDate = Date;
globalThis.Date = class extends RealDate {
  constructor(...parts: []) {
    if (parts.length === 0) super(todayMs);
    else super(...parts);
  }
  static override now(): number {
    return todayMs;
  }
} as DateConstructor;
if (hasTemporal === "true") await import("temporal-polyfill/global");

// only now, so that nothing has seen the day before
const { planSchedule } = await import("../../src/planner/plan.ts");
const { parseRule } = await import("../../src/timetable/rule-check.ts");
const { parseTimetable } = await import("../../src/timetable/timetable.ts");
const { sinceEver } = await import("../../src/timetable/versions.ts");

const hourMs = 3_600_000;
const zones = ["Europe/Berlin", "America/Santiago", "Australia/Lord_Howe", "Pacific/Apia", "Asia/Kathmandu", "UTC"];
const policies = [
  { gap: "shift", overlap: "both", offsetsMinutes: [-1_440, -20, 0] },
  { gap: "skip", overlap: "last" },
];
const inZones = zones.flatMap((zone) => policies.map((policy) => ({ zone, ...policy })));
const place = { placeId: 7, latitude: 52.52, longitude: 13.405, zone: "Europe/Berlin" };
const versions = sinceEver(parseTimetable("prayer", {}));
const rules: readonly Rule[] = [
  { kind: "instant", at: "2026-10-25T01:30:00Z" },
  ...inZones.flatMap((inZone) => [
    ...["00:00", "02:15", "02:30"].map((time) => ({ kind: "wall", time, ...inZone })),
    { kind: "recurrence", start: "2015-01-31T02:30", rrule: "FREQ=DAILY;INTERVAL=3", ...inZone },
    { kind: "recurrence", start: "2016-02-29T00:15", rrule: "FREQ=MONTHLY;BYDAY=-1SU;BYHOUR=1,2", ...inZone },
    { kind: "recurrence", start: "2020-01-01T09:00", rrule: "FREQ=YEARLY;UNTIL=20300101T000000Z", ...inZone },
  ]),
  { kind: "timetable", placeId: 7, slot: "fajr", offsetsMinutes: [-20, 0] },
  { kind: "timetable", placeId: 7, slot: "maghrib", endsOn: "2026-10-25" },
].map((rule) => parseRule(rule));

// around nights where clocks change, each planned late enough to have something to catch up with
const nows = ["2026-10-25T00:00Z", "2026-03-29T01:00Z", "2026-09-06T04:00Z", "2026-10-04T00:00Z", "2011-12-30T12:00Z"];
const plans = nows.flatMap((now) =>
  // adhan counts to the next day by the process' own calendar, which had no 2011-12-30 in Apia: history, never planned
  rules
    .filter(({ kind }) => kind !== "timetable" || !now.startsWith("2011"))
    .map((rule) => {
      const nowMs = RealDate.parse(now);
      const schedule = {
        scheduleId: "1",
        topicId: 1,
        rule,
        plannedThroughMs: nowMs - 30 * hourMs,
        movable: [],
        expiresAfterMs: 600_000,
        catchUp: "all",
        place: rule.kind === "timetable" ? { ...place, versions } : null,
        fault: null,
      } as const;
      const { buckets, nextDueAtMs } = planSchedule(schedule, nowMs, 40 * hourMs);
      return { rule, now, buckets, nextDueAtMs };
    }),
);
const surroundings = {
  zone: new Intl.DateTimeFormat().resolvedOptions().timeZone,
  year: new Date().getUTCFullYear(),
  hasTemporal: "Temporal" in globalThis,
};
process.stdout.write(JSON.stringify({ surroundings, plans }));
