import { describe, expect, it } from "vitest";
import type { ErrorCode } from "../../src/errors.ts";
import type { RecurrenceRule } from "../../src/reminder/rule.ts";
import { hasEnded, nextOccurrenceAfter, occurrencesBetween } from "../../src/timetable/occurrences.ts";
import { parseRule } from "../../src/timetable/rule-check.ts";

function recurring(start: string, rrule: string, rest: object = {}): RecurrenceRule {
  const rule = parseRule({ kind: "recurrence", start, rrule, zone: "Europe/Berlin", ...rest });
  if (rule.kind !== "recurrence") throw new Error("another kind of rule");
  return rule;
}

function keys(rule: RecurrenceRule, from: string, through: string): string[] {
  return occurrencesBetween(rule, null, Date.parse(from), Date.parse(through)).map(({ key }) => key);
}

const dayMs = 86_400_000;

describe("a recurrence", () => {
  it("keeps its time of day over the change of clocks, and names it in its keys", () => {
    const rule = recurring("2026-10-24T02:30:00", "FREQ=DAILY", { overlap: "both", offsetsMinutes: [-20, 0] });
    const found = occurrencesBetween(rule, null, Date.parse("2026-10-24T00:00Z"), Date.parse("2026-10-26T00:00Z"));
    expect(found.map(({ key, dueAtMs }) => `${key} ${new Date(dueAtMs).toISOString().slice(5, 16)}`)).toEqual([
      "2026-10-24T02:30:00[0]-20m 10-24T00:10",
      "2026-10-24T02:30:00[0] 10-24T00:30",
      "2026-10-25T02:30:00[0]-20m 10-25T00:10",
      "2026-10-25T02:30:00[0] 10-25T00:30",
      "2026-10-25T02:30:00[1]-20m 10-25T01:10",
      "2026-10-25T02:30:00[1] 10-25T01:30",
    ]);
  });

  it("has its RDATEs and not its EXDATEs, and counts before it leaves out", () => {
    const rule = recurring("2026-01-01T09:00", "FREQ=DAILY;COUNT=3", {
      rdates: ["2026-01-02T09:00", "2026-02-01T10:00", "2026-02-02T10:00"],
      exdates: ["2026-01-02T09:00", "2026-02-02T10:00", "2026-05-05T05:05"],
    });
    expect(keys(rule, "2025-12-01T00:00Z", "2027-01-01T00:00Z")).toEqual([
      "2026-01-01T09:00:00[0]",
      "2026-01-03T09:00:00[0]",
      "2026-02-01T10:00:00[0]",
    ]);
    expect(nextOccurrenceAfter(rule, null, Date.parse("2026-01-10T00:00Z"))?.key).toBe("2026-02-01T10:00:00[0]");
    expect(nextOccurrenceAfter(rule, null, Date.parse("2026-02-02T00:00Z"))).toBeNull();
  });

  it("ends with its UNTIL: on the wall, or at an instant", () => {
    const window = ["2026-10-24T12:00Z", "2026-10-27T00:00Z"] as const;
    const until = (text: string) =>
      keys(recurring("2026-01-01T02:30", `FREQ=DAILY;UNTIL=${text}`, { overlap: "both" }), ...window);
    const twice = ["2026-10-25T02:30:00[0]", "2026-10-25T02:30:00[1]"];
    expect(until("20261025")).toEqual(twice);
    expect(until("20261025T023000")).toEqual(twice);
    expect(until("20261025T022959")).toEqual([]);
    expect(until("20261025T013000Z")).toEqual(twice);
    expect(until("20261025T012959Z")).toEqual(twice.slice(0, 1));
    expect(until("20261025T002959Z")).toEqual([]);
  });

  // walked through minute by minute, each of these takes minutes
  it.each([
    ["its UNTIL", "FREQ=MINUTELY;UNTIL=20260103T000000", {}],
    ["its last date", "FREQ=MINUTELY", { endsOn: "2026-01-02" }],
    ["an UNTIL in UTC", "FREQ=MINUTELY;UNTIL=20260102T230000Z", {}],
  ])("of every minute that has ended with %s is seen to have ended at once", (_, rrule, rest) => {
    const rule = recurring("2026-01-01T00:00", rrule, rest);
    const endMs = Date.parse("2026-01-02T23:00:00Z");
    expect(nextOccurrenceAfter(rule, null, endMs - 60_000 - 1)?.dueAtMs).toBe(endMs - 60_000);
    for (const laterMs of [0, dayMs, 5 * dayMs]) expect(nextOccurrenceAfter(rule, null, endMs + laterMs)).toBeNull();
  });

  it("begins and ends by local dates, whatever its offsets", () => {
    const rule = recurring("2026-01-01T00:10", "FREQ=DAILY", {
      startsOn: "2026-03-02",
      endsOn: "2026-03-03",
      offsetsMinutes: [-20],
    });
    expect(keys(rule, "2026-01-01T00:00Z", "2027-01-01T00:00Z")).toEqual([
      "2026-03-02T00:10:00[0]-20m",
      "2026-03-03T00:10:00[0]-20m",
    ]);
    expect(hasEnded(rule, Date.parse("2026-03-03T00:00Z"))).toBe(false);
    expect(hasEnded(rule, Date.parse("2026-03-10T00:00Z"))).toBe(true);
  });

  it("does not count its start where the rule does not yield it", () => {
    const rule = recurring("2026-11-24T09:00", "FREQ=WEEKLY;BYDAY=MO;COUNT=2");
    expect(keys(rule, "2026-11-01T00:00Z", "2027-11-01T00:00Z")).toEqual([
      "2026-11-30T09:00:00[0]",
      "2026-12-07T09:00:00[0]",
    ]);
  });

  it("is found years ahead, and over the century's missing leap day", () => {
    const rule = recurring("2016-02-29T09:00", "FREQ=YEARLY");
    expect(nextOccurrenceAfter(rule, null, Date.parse("2096-03-01T00:00Z"))?.key).toBe("2104-02-29T09:00:00[0]");
    const monday = recurring("2016-02-29T09:00", "FREQ=DAILY;BYMONTH=2;BYMONTHDAY=29;BYDAY=MO");
    expect(nextOccurrenceAfter(monday, null, Date.parse("2072-03-01T00:00Z"))?.key).toBe("2112-02-29T09:00:00[0]");
  });

  it.each([
    ["2015-01-01T09:00:00", "FREQ=DAILY", 2],
    ["2015-01-01T09:00:00", "FREQ=HOURLY", 48],
    ["2015-01-01T09:00:00", "FREQ=MINUTELY", 2_880],
    ["2015-01-31T09:00:00", "FREQ=MONTHLY", 0],
    ["2016-02-29T09:00:00", "FREQ=YEARLY", 1],
    ["1970-01-01T00:00:00", "FREQ=MINUTELY;INTERVAL=1440", 2],
  ])("that began at %s by %s is expanded from where the window begins", (start, rrule, count) => {
    const rule = recurring(start, rrule);
    const [fromMs, throughMs] = [Date.parse("2036-02-28T10:00Z"), Date.parse("2036-03-01T10:00Z")];
    // minutes counted from the start would be more than the library looks through, and then none would be found
    expect(occurrencesBetween(rule, null, fromMs, throughMs)).toHaveLength(count);
  });

  it("yields all minutes of weeks that nobody planned", () => {
    const rule = recurring("2015-01-01T00:00", "FREQ=MINUTELY", { zone: "UTC" });
    const fromMs = Date.parse("2026-01-01T00:00Z");
    const found = occurrencesBetween(rule, null, fromMs, fromMs + 40 * dayMs);
    expect(found).toHaveLength(40 * 1_440);
  });
});

describe("a recurrence is refused", () => {
  const start = "2026-01-01T09:00:00";
  it.each<[string, string, object, ErrorCode, string]>([
    ["for ending before it starts", "FREQ=DAILY;UNTIL=20251231", {}, "never_occurs", "/rule/rrule"],
    [
      "for ending an hour before it starts, in UTC",
      "FREQ=DAILY;UNTIL=20260101T075959Z",
      {},
      "never_occurs",
      "/rule/rrule",
    ],
    ["for counting to days that never come", "FREQ=DAILY;INTERVAL=7;BYDAY=MO", {}, "never_occurs", "/rule/rrule"],
    ["for leaving out all that it has", "FREQ=DAILY;COUNT=1", { exdates: [start] }, "never_occurs", "/rule/rrule"],
    [
      "for coming after the year 9999",
      "FREQ=YEARLY;INTERVAL=9000;COUNT=1",
      { exdates: [start] },
      "never_occurs",
      "/rule/rrule",
    ],
    [
      "for RDATEs half a minute apart",
      "FREQ=DAILY",
      { rdates: ["2026-01-01T12:00:00", "2026-01-01T12:00:30"] },
      "recurs_too_often",
      "/rule/rdates",
    ],
  ])("%s", (_, rrule, rest, code, pointer) => {
    const rule = { kind: "recurrence", start, rrule, zone: "Europe/Berlin", ...rest };
    expect(() => parseRule(rule, "/rule")).toThrow(expect.objectContaining({ code, pointer }));
  });

  it("not for an UNTIL at its very start", () => {
    expect(
      keys(recurring(start, "FREQ=DAILY;UNTIL=20260101T090000"), "2025-12-01T00:00Z", "2026-02-01T00:00Z"),
    ).toHaveLength(1);
    expect(
      keys(recurring(start, "FREQ=DAILY;UNTIL=20260101T080000Z"), "2025-12-01T00:00Z", "2026-02-01T00:00Z"),
    ).toHaveLength(1);
  });
});
