import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Occurrence, Rule, TimetableRule, WallRule } from "../../src/reminder/rule.ts";
import { nextOccurrenceAfter, occurrencesBetween } from "../../src/timetable/occurrences.ts";
import { parsePrayerTimetable } from "../../src/timetable/prayer.ts";
import type { PlaceTimes } from "../../src/timetable/timetable.ts";
import { timeOf } from "../../src/timetable/timetable.ts";
import { sinceEver } from "../../src/timetable/versions.ts";

const minuteMs = 60_000;
const dayMs = 1_440 * minuteMs;
const everyDay = [1, 2, 3, 4, 5, 6, 7];

function wall(time: string, zone: string, rest: Partial<WallRule> = {}): WallRule {
  return { kind: "wall", time, zone, days: everyDay, gap: "shift", overlap: "first", offsetsMinutes: [0], ...rest };
}

function slot(name: string, offsetMinutes: number | readonly number[] = 0, placeId = 12): TimetableRule {
  return { kind: "timetable", placeId, slot: name, offsetsMinutes: [offsetMinutes].flat() };
}

function place(latitude: number, longitude: number, zone: string, params: unknown = {}): PlaceTimes {
  return { placeId: 12, latitude, longitude, zone, versions: sinceEver(parsePrayerTimetable(params)) };
}

function written({ key, dueAtMs }: Occurrence): string {
  return `${key} ${new Date(dueAtMs).toISOString().replace(".000Z", "Z")}`;
}

function between(rule: Rule, where: PlaceTimes | null, from: string, through: string): string[] {
  return occurrencesBetween(rule, where, Date.parse(from), Date.parse(through)).map(written);
}

const berlin = place(52.52, 13.4, "Europe/Berlin");
const north = place(61.5, 23.8, "Europe/Helsinki", { highLatitudeRule: "middleofthenight" });

describe("an instant", () => {
  const rule = { kind: "instant", at: "2026-11-24T18:00:00Z" } as const;
  const atMs = Date.parse(rule.at);

  it("occurs once; the window's start is exclusive and its end inclusive", () => {
    expect(occurrencesBetween(rule, null, atMs - 1, atMs)).toEqual([{ key: rule.at, dueAtMs: atMs }]);
    expect(occurrencesBetween(rule, null, atMs, atMs + 1)).toEqual([]);
    expect(occurrencesBetween(rule, null, atMs - 2, atMs - 1)).toEqual([]);
  });

  it("is next however far ahead, and never again", () => {
    expect(nextOccurrenceAfter(rule, null, atMs - 5_000 * dayMs)?.dueAtMs).toBe(atMs);
    expect(nextOccurrenceAfter(rule, null, atMs)).toBeNull();
  });
});

describe("a wall time", () => {
  it("keeps its reading over the change of clocks", () => {
    expect(between(wall("07:30", "Europe/Berlin"), null, "2026-10-24T00:00:00Z", "2026-10-26T00:00:00Z")).toEqual([
      "2026-10-24T07:30:00[0] 2026-10-24T05:30:00Z",
      "2026-10-25T07:30:00[0] 2026-10-25T06:30:00Z",
    ]);
  });

  it("carries its fold in its key", () => {
    const window = ["2026-10-25T00:00:00Z", "2026-10-25T06:00:00Z"] as const;
    const first = "2026-10-25T02:30:00[0] 2026-10-25T00:30:00Z";
    const last = "2026-10-25T02:30:00[1] 2026-10-25T01:30:00Z";
    expect(between(wall("02:30", "Europe/Berlin", { overlap: "first" }), null, ...window)).toEqual([first]);
    expect(between(wall("02:30", "Europe/Berlin", { overlap: "last" }), null, ...window)).toEqual([last]);
    expect(between(wall("02:30", "Europe/Berlin", { overlap: "both" }), null, ...window)).toEqual([first, last]);
  });

  it("keeps the asked time in its key when it is shifted out of a gap", () => {
    const window = ["2026-03-28T12:00:00Z", "2026-03-29T12:00:00Z"] as const;
    expect(between(wall("02:30:15", "Europe/Berlin"), null, ...window)).toEqual([
      "2026-03-29T02:30:15[0] 2026-03-29T01:30:15Z",
    ]);
    expect(between(wall("02:30:15", "Europe/Berlin", { gap: "skip" }), null, ...window)).toEqual([]);
  });

  it("takes its weekdays from the local day", () => {
    // Tuesday 23:30Z is Wednesday in Berlin
    const rule = wall("00:30", "Europe/Berlin", { days: [3] });
    expect(between(rule, null, "2026-11-20T00:00:00Z", "2026-11-30T00:00:00Z")).toEqual([
      "2026-11-25T00:30:00[0] 2026-11-24T23:30:00Z",
    ]);
  });

  it("rings once when a date that was left out falls onto the next one", () => {
    const window = ["2011-12-29T00:00:00Z", "2012-01-01T00:00:00Z"] as const;
    expect(between(wall("08:00", "Pacific/Apia"), null, ...window)).toEqual([
      "2011-12-29T08:00:00[0] 2011-12-29T18:00:00Z",
      "2011-12-31T08:00:00[0] 2011-12-30T18:00:00Z",
      "2012-01-01T08:00:00[0] 2011-12-31T18:00:00Z",
    ]);
    // the missing day was a Friday: for a rule of Fridays alone it is shifted, or skipped
    expect(between(wall("08:00", "Pacific/Apia", { days: [5] }), null, ...window)).toEqual([
      "2011-12-30T08:00:00[0] 2011-12-30T18:00:00Z",
    ]);
    expect(between(wall("08:00", "Pacific/Apia", { days: [5], gap: "skip" }), null, ...window)).toEqual([]);
    // a window that begins on the Saturday still finds it
    const saturday = ["2011-12-30T12:00:00Z", "2011-12-31T00:00:00Z"] as const;
    expect(between(wall("08:00", "Pacific/Apia", { days: [5] }), null, ...saturday)).toHaveLength(1);
  });

  it("finds a shifted midnight and both of a repeated one", () => {
    expect(between(wall("00:00", "America/Santiago"), null, "2026-09-05T12:00:00Z", "2026-09-06T12:00:00Z")).toEqual([
      "2026-09-06T00:00:00[0] 2026-09-06T04:00:00Z",
    ]);
    const twice = wall("23:30", "America/Santiago", { overlap: "both" });
    expect(between(twice, null, "2026-04-05T02:59:59Z", "2026-04-05T12:00:00Z")).toEqual([
      "2026-04-04T23:30:00[1] 2026-04-05T03:30:00Z",
    ]);
  });

  it("is next after a week of other days, or never within a shorter search", () => {
    const rule = wall("12:00", "UTC", { days: [1] });
    const tuesdayMs = Date.parse("2026-11-24T00:00:00Z");
    expect(nextOccurrenceAfter(rule, null, tuesdayMs)?.key).toBe("2026-11-30T12:00:00[0]");
    expect(nextOccurrenceAfter(rule, null, tuesdayMs, 5)).toBeNull();
    expect(nextOccurrenceAfter(wall("12:00", "UTC", { days: [] }), null, tuesdayMs)).toBeNull();
  });
});

describe("a timetable slot", () => {
  const rule = slot("fajr", -20);
  const november = ["2026-11-23T12:00:00Z", "2026-11-24T12:00:00Z"] as const;

  it("carries place, slot, date and offset in its key", () => {
    const keys = (offsetMinutes: number) =>
      between(slot("fajr", offsetMinutes), berlin, ...november).map((text) => text.split(" ")[0]);
    expect(keys(-20)).toEqual(["12/fajr/2026-11-24-20m"]);
    expect(keys(0)).toEqual(["12/fajr/2026-11-24"]);
    expect(keys(5)).toEqual(["12/fajr/2026-11-24+5m"]);
    // a day after its slot: due on the 24th, named by the 23rd
    expect(keys(1_440)).toEqual(["12/fajr/2026-11-23+1440m"]);
    expect(keys(-1_440)).toEqual(["12/fajr/2026-11-25-1440m"]);
  });

  it("is due at the slot's time moved by the offset", () => {
    const [found] = occurrencesBetween(rule, berlin, Date.parse(november[0]), Date.parse(november[1]));
    const fajrMs = timeOf(berlin, "fajr", { year: 2026, month: 11, day: 24 });
    expect(found?.dueAtMs).toBe((fajrMs ?? 0) - 20 * minuteMs);
  });

  it("keeps its keys when the timetable is corrected", () => {
    const corrected = place(52.52, 13.4, "Europe/Berlin", { method: "Karachi", adjustments: { fajr: -9 } });
    const window = [Date.parse("2026-01-01T00:00:00Z"), Date.parse("2026-12-31T00:00:00Z")] as const;
    const before = occurrencesBetween(rule, berlin, ...window);
    const after = occurrencesBetween(rule, corrected, ...window);
    expect(after.map(({ key }) => key)).toEqual(before.map(({ key }) => key));
    expect(after.some(({ dueAtMs }, index) => dueAtMs !== before[index]?.dueAtMs)).toBe(true);
  });

  it("keeps the date of its day when it comes after midnight", () => {
    // a window that begins after midnight, on the 21st in Helsinki
    expect(between(slot("isha"), north, "2026-06-20T21:30:00Z", "2026-06-21T12:00:00Z")).toEqual([
      expect.stringMatching(/^12\/isha\/2026-06-20 2026-06-20T2[23]:/),
    ]);
    expect(between(slot("isha", 1_440), north, "2026-06-21T21:30:00Z", "2026-06-22T12:00:00Z")).toEqual([
      expect.stringMatching(/^12\/isha\/2026-06-20\+1440m 2026-06-21T2[23]:/),
    ]);
  });

  it("waits out a polar night", () => {
    const tromso = place(69.65, 18.96, "Europe/Oslo");
    const solsticeMs = Date.parse("2026-12-21T12:00:00Z");
    expect(nextOccurrenceAfter(slot("sunrise"), tromso, solsticeMs)?.key).toMatch(/^12\/sunrise\/2027-01-1\d$/);
    expect(nextOccurrenceAfter(slot("sunrise"), tromso, solsticeMs, 10)).toBeNull();
  });

  it("never occurs when the timetable has no such slot", () => {
    expect(nextOccurrenceAfter(slot("closing"), berlin, 0)).toBeNull();
  });

  it("needs its place", () => {
    const refused = (code: string) => expect.objectContaining({ code });
    expect(() => occurrencesBetween(rule, null, 0, dayMs)).toThrow(refused("unknown_place"));
    expect(() => occurrencesBetween(slot("fajr", 0, 13), berlin, 0, dayMs)).toThrow(refused("internal"));
  });
});

const places = [berlin, north, place(-16.85, 179.97, "Pacific/Fiji"), place(1.87, -157.43, "Pacific/Kiritimati")];
const offsets = fc
  .uniqueArray(fc.oneof(fc.constantFrom(-1_440, -60, -20, 0, 5, 1_440), fc.integer({ min: -1_440, max: 1_440 })), {
    minLength: 1,
    maxLength: 4,
  })
  .map((minutes) => minutes.sort((a, b) => a - b));
const cases = fc.record({
  rule: fc.oneof(
    fc.record({
      kind: fc.constant("wall" as const),
      time: fc.constantFrom("00:00", "00:30", "01:45", "02:30", "12:00", "23:30", "23:59:59"),
      zone: fc.constantFrom(...Intl.supportedValuesOf("timeZone")),
      days: fc.subarray(everyDay, { minLength: 1 }),
      gap: fc.constantFrom("shift" as const, "skip" as const),
      overlap: fc.constantFrom("first" as const, "last" as const, "both" as const),
      offsetsMinutes: offsets,
    }),
    fc.record({
      kind: fc.constant("timetable" as const),
      placeId: fc.constant(12),
      slot: fc.constantFrom("fajr", "dhuhr", "isha"),
      offsetsMinutes: offsets,
    }),
  ),
  where: fc.constantFrom(...places),
  fromMs: fc.integer({ min: Date.UTC(2000, 0), max: Date.UTC(2037, 0) }),
  cutsMs: fc.array(fc.integer({ min: 1, max: 20 * dayMs }), { minLength: 1, maxLength: 4 }),
});

describe("any rule", () => {
  it("yields the same occurrences however its time is cut into windows, each once, ascending", () => {
    fc.assert(
      fc.property(cases, ({ rule, where, fromMs, cutsMs }) => {
        const endMs = fromMs + 21 * dayMs;
        const edges = [fromMs, ...cutsMs.map((cutMs) => fromMs + cutMs).sort((a, b) => a - b), endMs];
        const whole = occurrencesBetween(rule, where, fromMs, endMs);
        const pieces = edges.slice(1).flatMap((edgeMs, index) => {
          return occurrencesBetween(rule, where, edges[index] ?? edgeMs, edgeMs);
        });
        expect(pieces).toEqual(whole);
        expect(new Set(whole.map(({ key }) => key)).size).toBe(whole.length);
        expect(new Set(whole.map(({ dueAtMs }) => dueAtMs)).size).toBe(whole.length);
      }),
      { numRuns: 400 },
    );
  });

  it("walked by its next occurrence gives the same as its window", () => {
    fc.assert(
      fc.property(cases, ({ rule, where, fromMs }) => {
        const endMs = fromMs + 21 * dayMs;
        const walked: Occurrence[] = [];
        for (let afterMs = fromMs; ; ) {
          const next = nextOccurrenceAfter(rule, where, afterMs);
          if (next === null || next.dueAtMs > endMs) break;
          walked.push(next);
          afterMs = next.dueAtMs;
        }
        expect(walked).toEqual(occurrencesBetween(rule, where, fromMs, endMs));
      }),
      { numRuns: 200 },
    );
  });
});
