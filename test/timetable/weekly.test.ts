import { describe, expect, it } from "vitest";
import type { CarillonError } from "../../src/errors.ts";
import type { CivilDate } from "../../src/timetable/civil-time.ts";
import { parseDate } from "../../src/timetable/civil-time.ts";
import { parseWeeklyTimetable, weeklySlots, weeklyTime } from "../../src/timetable/weekly.ts";

function dateOf(text: string): CivilDate {
  const date = parseDate(text);
  if (date === null) throw new Error(text);
  return date;
}

const shop = parseWeeklyTimetable({
  days: {
    1: [
      { opens: "09:00", closes: "12:00" },
      { opens: "14:00", closes: "18:30" },
    ],
    3: [{ opens: "10:00", closes: "16:00" }],
    5: [{ opens: "20:00", closes: "26:30" }],
  },
  exceptions: { "2026-12-21": [], "2026-12-22": [{ opens: "11:00", closes: "13:00" }] },
});

function said(slot: string, date: string, zone = "Europe/Berlin", timetable = shop): string {
  const time = weeklyTime(timetable, zone, slot, dateOf(date));
  return "at" in time ? new Date(time.at).toISOString().slice(0, 16) : time.none;
}

describe("weekly hours", () => {
  it.each<[string, string, string]>([
    ["opens", "2026-12-14", "2026-12-14T08:00"],
    ["closes", "2026-12-14", "2026-12-14T17:30"],
    ["opens:1", "2026-12-14", "2026-12-14T08:00"],
    ["closes:1", "2026-12-14", "2026-12-14T11:00"],
    ["opens:2", "2026-12-14", "2026-12-14T13:00"],
    ["closes:2", "2026-12-14", "2026-12-14T17:30"],
    ["opens:2", "2026-12-16", "no_further_hours"],
    ["opens:3", "2026-12-14", "no_such_slot"],
    ["opens:0", "2026-12-14", "no_such_slot"],
    ["lunch", "2026-12-14", "no_such_slot"],
    ["constructor", "2026-12-14", "no_such_slot"],
    ["opens", "2026-12-15", "closed"],
    ["opens", "2026-12-21", "closed"],
    ["opens", "2026-12-22", "2026-12-22T10:00"],
    ["closes", "2026-12-18", "2026-12-19T01:30"],
    ["closes", "2026-07-17", "2026-07-18T00:30"],
  ])("%s on %s: %s", (slot, date, expected) => {
    expect(said(slot, date)).toBe(expected);
  });

  it("have numbered slots where some day has several hours", () => {
    expect(weeklySlots(shop)).toEqual(["opens", "closes", "opens:1", "closes:1", "opens:2", "closes:2"]);
    const once = parseWeeklyTimetable({ exceptions: { "2026-12-22": [{ opens: "11:00", closes: "13:00" }] } });
    expect(weeklySlots(once)).toEqual(["opens", "closes"]);
  });

  it("go by the clocks in the nights when these change", () => {
    const night = parseWeeklyTimetable({
      days: { 6: [{ opens: "22:00", closes: "26:30" }], 7: [{ opens: "02:30", closes: "04:00" }] },
    });
    // 2026-03-28 is a Saturday; 02:30 of the 29th is left out and moved behind the gap
    expect(said("closes", "2026-03-28", "Europe/Berlin", night)).toBe("2026-03-29T01:30");
    expect(said("opens", "2026-03-29", "Europe/Berlin", night)).toBe("2026-03-29T01:30");
    // of the two 02:30 of 2026-10-25 the first
    expect(said("closes", "2026-10-24", "Europe/Berlin", night)).toBe("2026-10-25T00:30");
    const gone = parseWeeklyTimetable({ days: { 7: [{ opens: "02:15", closes: "03:00" }] } });
    expect(said("opens", "2026-03-29", "Europe/Berlin", gone)).toBe("skipped_wall_time");
    expect(said("closes", "2026-03-29", "Europe/Berlin", gone)).toBe("skipped_wall_time");
  });

  it("have nothing on the date that Apia left out, and run on over it", () => {
    const daily = parseWeeklyTimetable({
      days: { 4: [{ opens: "20:00", closes: "25:00" }], 5: [{ opens: "09:00", closes: "26:00" }] },
    });
    expect(said("opens", "2011-12-30", "Pacific/Apia", daily)).toBe("skipped_date");
    expect(said("closes", "2011-12-30", "Pacific/Apia", daily)).toBe("skipped_date");
    // an hour after the midnight that led to the 31st
    expect(said("closes", "2011-12-29", "Pacific/Apia", daily)).toBe("2011-12-30T11:00");
  });

  it("are stored in the form that they are read in", () => {
    const { kind: _, ...parameters } = shop;
    expect(Object.keys(shop.days)).toEqual(["1", "2", "3", "4", "5", "6", "7"]);
    expect(parseWeeklyTimetable(JSON.parse(JSON.stringify(parameters)))).toEqual(shop);
  });

  const hours = (opens: unknown, closes: unknown) => [{ opens, closes }];
  it.each<[unknown, string]>([
    [{}, "/p/days"],
    [{ days: { 1: [] }, exceptions: { "2026-01-01": [] } }, "/p/days"],
    [{ hours: {} }, "/p/hours"],
    [{ kind: "sun" }, "/p/kind"],
    [{ days: [] }, "/p/days"],
    [{ days: { 0: [] } }, "/p/days/0"],
    [{ days: { monday: [] } }, "/p/days/monday"],
    [{ days: { 1: {} } }, "/p/days/1"],
    [{ days: { 1: ["09:00"] } }, "/p/days/1/0"],
    [{ days: { 1: hours("9:00", "12:00") } }, "/p/days/1/0/opens"],
    [{ days: { 1: hours(9, "12:00") } }, "/p/days/1/0/opens"],
    [{ days: { 1: hours("09:00", "12:60") } }, "/p/days/1/0/closes"],
    [{ days: { 1: hours("09:00", "48:00") } }, "/p/days/1/0/closes"],
    [{ days: { 1: hours("24:00", "25:00") } }, "/p/days/1/0/opens"],
    [{ days: { 1: hours("18:00", "02:00") } }, "/p/days/1/0/closes"],
    [{ days: { 1: hours("18:00", "18:00") } }, "/p/days/1/0/closes"],
    [{ days: { 1: [{ opens: "09:00", closes: "12:00", note: "x" }] } }, "/p/days/1/0/note"],
    [{ days: { 1: [...hours("09:00", "12:00"), ...hours("11:00", "13:00")] } }, "/p/days/1/1/opens"],
    [{ days: { 1: [...hours("14:00", "15:00"), ...hours("09:00", "12:00")] } }, "/p/days/1/1/opens"],
    [{ days: { 1: hours("18:00", "26:00"), 2: hours("01:00", "03:00") } }, "/p/days/2"],
    [{ days: { 7: hours("18:00", "26:00"), 1: hours("01:00", "03:00") } }, "/p/days/1"],
    [{ days: { 1: hours("09:00", "12:00") }, exceptions: { "2026-02-30": [] } }, "/p/exceptions/2026-02-30"],
    [{ days: { 1: hours("09:00", "12:00") }, exceptions: { "12-25": [] } }, "/p/exceptions/12-25"],
    // 2026-12-21 is a Monday
    [
      { days: { 1: hours("01:00", "12:00") }, exceptions: { "2026-12-20": hours("20:00", "26:00") } },
      "/p/exceptions/2026-12-20",
    ],
    [
      { days: { 1: hours("20:00", "26:00") }, exceptions: { "2026-12-22": hours("01:00", "05:00") } },
      "/p/exceptions/2026-12-22",
    ],
  ])("refuse %j", (params, pointer) => {
    const wanted: Partial<CarillonError> = { code: "invalid_request", pointer };
    expect(() => parseWeeklyTimetable(params, "/p")).toThrow(expect.objectContaining(wanted));
  });

  it("may touch the next day's", () => {
    const always = Object.fromEntries(["1", "2", "3", "4", "5", "6", "7"].map((day) => [day, hours("00:00", "24:00")]));
    expect(() => parseWeeklyTimetable({ days: always })).not.toThrow();
  });
});
