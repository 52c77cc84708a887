import { describe, expect, it } from "vitest";
import { parsePrayerTimetable } from "../../src/timetable/prayer.ts";
import {
  assertSlot,
  parseTimetable,
  slotsOf,
  slotTime,
  timeOf,
  timetableKinds,
} from "../../src/timetable/timetable.ts";
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

  it("says why there is none", () => {
    expect(slotTime(tromso, "sunrise", { year: 2026, month: 12, day: 21 })).toEqual({ none: "polar_night" });
    expect(slotTime(tromso, "closing", { year: 2026, month: 3, day: 20 })).toEqual({ none: "no_such_slot" });
  });

  it("comes from its kind and parameters, and is stored as these", () => {
    const hours = [{ opens: "09:00", closes: "18:00" }];
    const parameters: Record<string, unknown> = {
      prayer: { method: "Egyptian" },
      sun: {},
      weekly: { days: { 1: hours } },
      table: { days: { "03-20": { opens: "09:00" } } },
    };
    for (const kind of timetableKinds) {
      const parsed = parseTimetable(kind, parameters[kind]);
      const { kind: said, ...stored } = parsed;
      expect(said).toBe(kind);
      expect(parseTimetable(kind, JSON.parse(JSON.stringify(stored)))).toEqual(parsed);
      const [slot = ""] = slotsOf(parsed);
      expect(() => assertSlot(sinceEver(parsed), slot)).not.toThrow();
      const equinox = { year: 2026, month: 3, day: 20 };
      const place = { ...tromso, latitude: 50, versions: sinceEver(parsed) };
      const none = { none: "no_such_slot" };
      expect(slotTime(place, "toString", equinox), kind).toEqual(none);
      expect("at" in slotTime(place, slot, equinox) || kind === "weekly", kind).toBe(true);
    }
    for (const kind of ["moon", "constructor", ""]) {
      const wanted = { code: "invalid_request", pointer: "/parameters" };
      expect(() => parseTimetable(kind, {}, "/parameters")).toThrow(expect.objectContaining(wanted));
    }
  });

  it("refuses a slot that it doesn't have", () => {
    expect(() => assertSlot(sinceEver(timetable), "fajr", "/slot")).not.toThrow();
    const wanted = { code: "unknown_slot", pointer: "/rule/slot" };
    expect(() => assertSlot(sinceEver(timetable), "closing", "/rule/slot")).toThrow(expect.objectContaining(wanted));
    expect(() => assertSlot(sinceEver(timetable), "Fajr")).toThrow(expect.objectContaining({ code: "unknown_slot" }));
  });
});
