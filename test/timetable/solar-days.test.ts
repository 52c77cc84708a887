import { describe, expect, it } from "vitest";
import type { CivilDate } from "../../src/timetable/civil-time.ts";
import { addDays, formatDate } from "../../src/timetable/civil-time.ts";
import type { SkyPlace } from "../../src/timetable/solar-days.ts";
import { rememberingDays } from "../../src/timetable/solar-days.ts";

const cairo: SkyPlace = { latitude: 30.04, longitude: 31.24, zone: "Africa/Cairo", country: "EG" };
const newYear: CivilDate = { year: 2026, month: 1, day: 1 };

function counting() {
  let computed = 0;
  const day = rememberingDays((timetable: { name: string }, place, date) => {
    computed += 1;
    return `${timetable.name} ${place.latitude} ${place.longitude} ${place.zone} ${place.country} ${formatDate(date)}`;
  });
  return { day, computed: () => computed };
}

describe("remembered days", () => {
  it("are computed once, and again for whatever they depend on", () => {
    const { day, computed } = counting();
    const timetable = { name: "a" };
    const others: [{ name: string }, SkyPlace, CivilDate][] = [
      [{ name: "b" }, cairo, newYear],
      [timetable, { ...cairo, latitude: 30.05 }, newYear],
      [timetable, { ...cairo, longitude: 31.25 }, newYear],
      [timetable, { ...cairo, zone: "Africa/Tripoli" }, newYear],
      [timetable, { ...cairo, country: null }, newYear],
      [timetable, cairo, addDays(newYear, 1)],
    ];
    const first = day(timetable, cairo, newYear);
    const rest = others.map((each) => day(...each));
    expect(new Set([first, ...rest]).size).toBe(7);
    expect(day(timetable, { ...cairo }, { ...newYear })).toBe(first);
    expect(others.map((each) => day(...each))).toEqual(rest);
    expect(computed()).toBe(7);
  });

  it("stay true when there are more than are kept", () => {
    const { day, computed } = counting();
    const timetable = { name: "a" };
    const dates = Array.from({ length: 10_000 }, (_, index) => addDays(newYear, index));
    const said = dates.map((date) => day(timetable, cairo, date));
    expect(dates.map((date) => day(timetable, cairo, date))).toEqual(said);
    expect(computed()).toBeGreaterThan(10_000);
  });
});
