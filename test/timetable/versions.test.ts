import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { TimetableRule } from "../../src/reminder/rule.ts";
import { addDays, compareDates, formatDate } from "../../src/timetable/civil-time.ts";
import { occurrencesBetween } from "../../src/timetable/occurrences.ts";
import { parsePrayerTimetable } from "../../src/timetable/prayer.ts";
import { assertSlot, timeOf } from "../../src/timetable/timetable.ts";
import { compareVersions, sinceEver, type TimetableVersion, versionOn } from "../../src/timetable/versions.ts";

const start = { year: 2026, month: 11, day: 24 };
const version = (number: number, daysAfter: number | null, minutes: number): TimetableVersion => ({
  version: number,
  effectiveFrom: daysAfter === null ? null : addDays(start, daysAfter),
  timetable: parsePrayerTimetable({ adjustments: { dhuhr: minutes } }),
});
const apia = { placeId: 4, latitude: -13.83, longitude: -171.76, zone: "Pacific/Apia" };

describe("the version that holds on a date", () => {
  it("is the one that begins last of those that have begun, whatever their numbers", () => {
    const days = fc.uniqueArray(fc.integer({ min: -50, max: 50 }), { maxLength: 8 });
    fc.assert(
      fc.property(days, fc.boolean(), fc.integer({ min: -60, max: 60 }), (starts, ever, day) => {
        const all: readonly (number | null)[] = ever ? [null, ...starts] : starts;
        const versions = all.map((begins, index) => version(index + 1, begins, 0)).sort(compareVersions);
        const begun = all.filter((begins) => begins === null || begins <= day);
        const wanted = begun.length === 0 ? undefined : Math.max(...begun.map((begins) => begins ?? -1000));
        const found = versionOn(versions, addDays(start, day));
        if (wanted === undefined) return found === null;
        const [begins] = wanted === -1000 ? [null] : [addDays(start, wanted)];
        return begins === null
          ? found?.effectiveFrom === null
          : found !== null && found.effectiveFrom !== null && compareDates(found.effectiveFrom, begins) === 0;
      }),
    );
  });

  it("goes by the place's own date, and changes nothing of the day before", () => {
    const versions = [version(1, null, 0), version(2, 1, 7)];
    const old = { ...apia, versions: [version(1, null, 0)] };
    const rule: TimetableRule = { kind: "timetable", placeId: 4, slot: "dhuhr", offsetsMinutes: [0] };
    const [fromMs, throughMs] = [Date.UTC(2026, 10, 22), Date.UTC(2026, 10, 28)];
    const shifts = (place: typeof old) =>
      occurrencesBetween(rule, place, fromMs, throughMs).map(({ key, dueAtMs }) => [key.slice(-10), dueAtMs] as const);
    const before = new Map(shifts(old));
    const minutes = shifts({ ...apia, versions }).map(([date, atMs]) => [
      date,
      (atMs - (before.get(date) ?? 0)) / 60_000,
    ]);
    expect(Object.fromEntries(minutes)).toEqual({
      "2026-11-23": 0,
      "2026-11-24": 0,
      "2026-11-25": 7,
      "2026-11-26": 7,
      "2026-11-27": 7,
      "2026-11-28": 7,
    });
    expect(formatDate(start)).toBe("2026-11-24");
  });

  it("is none, with no time, before the first begins", () => {
    const place = { ...apia, versions: [version(3, 0, 0)] };
    expect(timeOf(place, "dhuhr", addDays(start, -1))).toBeNull();
    expect(timeOf(place, "dhuhr", start)).toBeTypeOf("number");
  });
});

it("a slot belongs to a timetable when any of its versions has it", () => {
  const versions = sinceEver(parsePrayerTimetable({}));
  expect(() => assertSlot(versions, "asr")).not.toThrow();
  expect(() => assertSlot([], "asr", "/slot")).toThrow(expect.objectContaining({ code: "unknown_slot" }));
});
