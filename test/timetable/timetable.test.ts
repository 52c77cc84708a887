import { describe, expect, it } from "vitest";
import { parsePrayerTimetable } from "../../src/timetable/prayer.ts";
import { assertSlot, slotsOf, timeOf } from "../../src/timetable/timetable.ts";
import { sinceEver } from "../../src/timetable/versions.ts";

const timetable = parsePrayerTimetable({});
const tromso = { placeId: 3, latitude: 69.65, longitude: 18.96, zone: "Europe/Oslo", versions: sinceEver(timetable) };

describe("timetable", () => {
  it("has the slots of its kind", () => {
    expect(slotsOf(timetable)).toEqual(["fajr", "sunrise", "dhuhr", "asr", "maghrib", "isha"]);
  });

  it("gives a slot its instant, and null where there is none", () => {
    const equinox = { year: 2026, month: 3, day: 20 };
    expect(timeOf(tromso, "sunrise", equinox)).toBeTypeOf("number");
    expect(timeOf(tromso, "sunrise", { year: 2026, month: 12, day: 21 })).toBeNull();
    expect(timeOf(tromso, "closing", equinox)).toBeNull();
    expect(timeOf(tromso, "constructor", equinox)).toBeNull();
  });

  it("refuses a slot that it doesn't have", () => {
    expect(() => assertSlot(sinceEver(timetable), "fajr", "/slot")).not.toThrow();
    const wanted = { code: "unknown_slot", pointer: "/rule/slot" };
    expect(() => assertSlot(sinceEver(timetable), "closing", "/rule/slot")).toThrow(expect.objectContaining(wanted));
    expect(() => assertSlot(sinceEver(timetable), "Fajr")).toThrow(expect.objectContaining({ code: "unknown_slot" }));
  });
});
