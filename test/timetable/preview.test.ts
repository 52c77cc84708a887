import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Rule, WallRule } from "../../src/reminder/rule.ts";
import { occurrencesBetween } from "../../src/timetable/occurrences.ts";
import { parsePrayerTimetable } from "../../src/timetable/prayer.ts";
import { missingDays, previewRule, tellOccurrence } from "../../src/timetable/preview.ts";
import type { PlaceTimes } from "../../src/timetable/timetable.ts";
import { sinceEver } from "../../src/timetable/versions.ts";

const hourMs = 3_600_000;
const dayMs = 24 * hourMs;

function wall(zone: string, time: string, changed: Partial<WallRule> = {}): WallRule {
  return {
    kind: "wall",
    time,
    zone,
    days: [1, 2, 3, 4, 5, 6, 7],
    gap: "shift",
    overlap: "first",
    offsetsMinutes: [0],
    ...changed,
  };
}

/** What the rule gives within a day and a half around a date, and what it leaves out: each as a person reads it. */
function around(rule: Rule, date: string): string[] {
  const fromMs = Date.parse(`${date}T12:00:00Z`) - 36 * hourMs;
  const throughMs = fromMs + 60 * hourMs;
  const told = occurrencesBetween(rule, null, fromMs, throughMs).map((each) => tellOccurrence(rule, null, each));
  return [
    ...told.flatMap(({ local, notes }) => notes.map(({ code, text }) => `${local} ${code}: ${text}`)),
    ...missingDays(rule, null, fromMs, throughMs).map(({ first, code, text }) => `${first} ${code}: ${text}`),
  ];
}

describe("the awkward nights", () => {
  it.each<[string, Rule, string, string[]]>([
    [
      "a time that does not exist, shifted",
      wall("Europe/Berlin", "02:30:00"),
      "2027-03-28",
      [
        "2027-03-28T03:30:00+02:00 moved_out_of_gap: 02:30 does not exist on 2027-03-28 in Europe/Berlin: moved to 03:30",
      ],
    ],
    [
      "a time that does not exist, skipped",
      wall("Europe/Berlin", "02:30:00", { gap: "skip" }),
      "2027-03-28",
      ["2027-03-28 left_out_by_clocks: 02:30 does not exist on 2027-03-28 in Europe/Berlin: skipped"],
    ],
    [
      "a time that comes twice, the first",
      wall("Europe/Berlin", "02:30:00"),
      "2026-10-25",
      ["2026-10-25T02:30:00+02:00 comes_twice: 02:30 comes twice on 2026-10-25 in Europe/Berlin: the first is taken"],
    ],
    [
      "the last",
      wall("Europe/Berlin", "02:30:00", { overlap: "last" }),
      "2026-10-25",
      ["2026-10-25T02:30:00+01:00 comes_twice: 02:30 comes twice on 2026-10-25 in Europe/Berlin: the second is taken"],
    ],
    [
      "both",
      wall("Europe/Berlin", "02:30:00", { overlap: "both" }),
      "2026-10-25",
      [
        "2026-10-25T02:30:00+02:00 comes_twice: 02:30 comes twice on 2026-10-25 in Europe/Berlin: this is the first",
        "2026-10-25T02:30:00+01:00 comes_twice: 02:30 comes twice on 2026-10-25 in Europe/Berlin: this is the second",
      ],
    ],
    ["a time that exists once, that night", wall("Europe/Berlin", "08:00:00"), "2027-03-28", []],
    [
      "half an hour in Lord Howe",
      wall("Australia/Lord_Howe", "02:15:00"),
      "2026-10-04",
      [
        "2026-10-04T02:45:00+11:00 moved_out_of_gap: 02:15 does not exist on 2026-10-04 in Australia/Lord_Howe: moved to 02:45",
      ],
    ],
    [
      "a midnight that Cairo leaves out",
      wall("Africa/Cairo", "00:00:00"),
      "2026-04-24",
      [
        "2026-04-24T01:00:00+03:00 moved_out_of_gap: 00:00 does not exist on 2026-04-24 in Africa/Cairo: moved to 01:00",
      ],
    ],
    [
      "a date that Apia leaves out, skipped",
      wall("Pacific/Apia", "08:00:00", { gap: "skip" }),
      "2011-12-30",
      ["2011-12-30 left_out_of_calendar: 2011-12-30 does not exist in Pacific/Apia: skipped"],
    ],
    [
      "a date that Apia leaves out, whose moment would be the next day's",
      wall("Pacific/Apia", "08:00:00"),
      "2011-12-30",
      [
        "2011-12-30 meets_another: 08:00 does not exist on 2011-12-30 in Pacific/Apia: it would meet another of the rule's",
      ],
    ],
    [
      "a date that Apia leaves out, where only it was asked for",
      wall("Pacific/Apia", "08:00:00", { days: [5] }),
      "2011-12-30",
      [
        "2011-12-31T08:00:00+14:00 moved_out_of_gap: 08:00 does not exist on 2011-12-30 in Pacific/Apia: moved to 2011-12-31 08:00",
      ],
    ],
    [
      "a weekday that is not asked for",
      wall("Europe/Berlin", "02:30:00", { days: [1], gap: "skip" }),
      "2027-03-28",
      [],
    ],
  ])("%s", (_, rule, date, wanted) => {
    expect(around(rule, date)).toEqual(wanted);
  });
});

describe("previewRule", () => {
  it("tells an instant in UTC, once, and nothing where it has passed", () => {
    const rule: Rule = { kind: "instant", at: "2030-01-01T00:00:00Z" };
    const atMs = Date.parse(rule.at);
    expect(previewRule(rule, null, atMs - 1, 10)).toEqual({
      occurrences: [
        { key: rule.at, dueAtMs: atMs, zone: "UTC", local: "2030-01-01T00:00:00+00:00", slot: null, notes: [] },
      ],
      missing: [],
    });
    expect(previewRule(rule, null, atMs, 10)).toEqual({ occurrences: [], missing: [] });
  });

  it("gives what occurrencesBetween gives, in any zone and whatever the policies: the next n, none left out", () => {
    const zones = fc.constantFrom(
      "Europe/Berlin",
      "America/New_York",
      "Australia/Lord_Howe",
      "Africa/Casablanca",
      "UTC",
    );
    const rules = fc.record({
      zone: zones,
      time: fc.constantFrom("00:00:00", "01:30:00", "02:15:00", "02:30:00", "03:00:00", "23:59:59"),
      gap: fc.constantFrom("shift", "skip"),
      overlap: fc.constantFrom("first", "last", "both"),
    });
    fc.assert(
      fc.property(
        rules,
        fc.integer({ min: Date.parse("2026-01-01"), max: Date.parse("2028-01-01") }),
        fc.integer({ min: 1, max: 40 }),
        ({ zone, time, gap, overlap }, fromMs, count) => {
          const rule = wall(zone, time, { gap, overlap });
          const { occurrences, missing } = previewRule(rule, null, fromMs, count);
          const all = occurrencesBetween(rule, null, fromMs, fromMs + 60 * dayMs);
          expect(occurrences.map(({ key }) => key)).toEqual(all.slice(0, count).map(({ key }) => key));
          for (const { dueAtMs, local } of occurrences) expect(Date.parse(local)).toBe(dueAtMs);
          // nothing is left out but by `skip`: every other day has its moment
          if (gap === "shift") expect(missing).toEqual([]);
          for (const { first } of missing) expect(occurrences.every(({ key }) => !key.startsWith(first))).toBe(true);
        },
      ),
      { numRuns: 100 },
    );
  });

  const place = (latitude: number, longitude: number, zone: string): PlaceTimes => ({
    placeId: 7,
    latitude,
    longitude,
    zone,
    versions: sinceEver(parsePrayerTimetable({})),
  });
  const slotRule = (slot: string): Rule => ({ kind: "timetable", placeId: 7, slot, offsetsMinutes: [0] });

  it("says which days of a polar night have no sunrise, as one run, and goes on behind it", () => {
    const tromso = place(69.65, 18.96, "Europe/Oslo");
    const fromMs = Date.parse("2026-11-24T12:00:00Z");
    const { occurrences, missing } = previewRule(slotRule("sunrise"), tromso, fromMs, 8);
    expect(occurrences).toHaveLength(8);
    expect(missing).toHaveLength(1);
    const [run] = missing;
    if (run === undefined) throw new Error("no run");
    expect(run.days).toBeGreaterThan(30);
    // every day is told: it has its moment, or it lies in the run
    const told = occurrences.map(({ slot }) => slot?.date ?? "");
    expect(run.last < (told.find((date) => date > run.first) ?? "")).toBe(true);
    expect(run).toMatchObject({ code: "polar_night", text: expect.stringContaining("sunrise") });
  });

  it("gives slot and date, and says where the slot comes after midnight", () => {
    const reykjavik = place(64.15, -21.94, "Atlantic/Reykjavik");
    const { occurrences } = previewRule(slotRule("maghrib"), reykjavik, Date.parse("2026-06-20T12:00:00Z"), 2);
    expect(occurrences[0]).toMatchObject({
      slot: { placeId: 7, slot: "maghrib", date: "2026-06-20", offsetMinutes: 0 },
      local: expect.stringMatching(/^2026-06-21T00:/),
      notes: [{ code: "on_another_date", text: "maghrib of 2026-06-20 comes on 2026-06-21" }],
    });
  });
});
