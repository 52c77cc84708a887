import { Body, Observer, SearchRiseSet } from "astronomy-engine";
import { describe, expect, it } from "vitest";
import { scenarioNamed, scenarioNames } from "../../src/cli/demo-scenario.ts";
import { placesOfTheWorld } from "../../src/cli/places-of-the-world.ts";
import { windowsOf } from "../../src/cli/scenario.ts";
import { instantOf } from "../../src/cli/wall-time-oracle.ts";
import { resolveWallTime } from "../../src/timetable/civil-time.ts";

const minuteMs = 60_000;
const world = new Map(placesOfTheWorld().map((place) => [place.key, place]));
const iso = (ms: number | null) => (ms === null ? null : new Date(ms).toISOString().slice(0, 16));

describe.each(scenarioNames)("the scenario %s", (name) => {
  const scenario = scenarioNamed(name);

  it("has real cities, and wishes that can be told apart", () => {
    expect(scenario.places.length).toBeGreaterThanOrEqual(20);
    expect(scenario.places.filter(({ key }) => !world.has(key))).toEqual([]);
    const names = scenario.places.map(({ key, wish }) => `${key} ${wish}`);
    expect(new Set(names).size).toBe(names.length);
  });

  it("has moments in several zones, at several instants, on whole minutes", () => {
    const due = scenario.places.flatMap(({ expectedDueAtMs }) => expectedDueAtMs ?? []);
    expect(new Set(due).size).toBeGreaterThanOrEqual(5);
    expect(due.filter((ms) => ms % minuteMs !== 0)).toEqual([]);
    expect(new Set(scenario.places.map(({ key }) => world.get(key)?.zone)).size).toBeGreaterThanOrEqual(15);
  });

  it("is over in about a minute", () => {
    // four seconds of approach and one of settling a window, and ten to begin with
    const windows = windowsOf(scenario, 4000 * scenario.speed);
    const playedMs = windows.reduce((sum, { firstMs, lastMs }) => sum + (lastMs - firstMs) / scenario.speed + 5000, 0);
    expect(playedMs + 10_000).toBeLessThan(75_000);
  });
});

describe("dst-night", () => {
  const { places } = scenarioNamed("dst-night");
  const due = (key: string, wish?: string) =>
    iso(places.find((place) => place.key === key && place.wish === wish)?.expectedDueAtMs ?? null);

  it("has a gap, moments around it, and places where nothing changes", () => {
    expect(due("tr-istanbul")).toBe("2027-03-27T23:30");
    expect(due("za-johannesburg")).toBe("2027-03-28T00:30");
    expect(due("fi-helsinki")).toBe("2027-03-28T00:30");
    // 02:30 became 03:30
    expect(due("de-berlin")).toBe("2027-03-28T01:30");
    expect(due("de-berlin", "not in a gap")).toBeNull();
    expect(due("gb-london")).toBe("2027-03-28T01:30");
    expect(due("pt-ponta-delgada")).toBe("2027-03-28T02:30");
  });
});

describe("ramadan-evening", () => {
  it("has the sunsets of astronomy-engine, none of them near half a minute", () => {
    const expected = scenarioNamed("ramadan-evening").places.map(({ key }) => {
      const place = world.get(key);
      if (place === undefined) throw new Error(`no city ${key}`);
      const noon = new Date(Date.parse("2027-02-12T12:00:00Z") - (place.longitude / 15) * 3_600_000);
      const sunset = SearchRiseSet(Body.Sun, new Observer(place.latitude, place.longitude, 0), -1, noon, 1)?.date;
      const ms = sunset?.getTime() ?? Number.NaN;
      expect(Math.abs((ms % minuteMs) - minuteMs / 2), key).toBeGreaterThan(4000);
      return { key, at: iso(Math.round(ms / minuteMs) * minuteMs) };
    });
    const { places } = scenarioNamed("ramadan-evening");
    expect(places.map(({ key, expectedDueAtMs }) => ({ key, at: iso(expectedDueAtMs) }))).toEqual(expected);
  });
});

describe("windowsOf", () => {
  const at = (...minutes: (number | null)[]) => ({
    places: minutes.map((minute, index) => ({
      key: String(index),
      when: {},
      expectedDueAtMs: minute === null ? null : minute * minuteMs,
    })),
  });

  it("keeps together what follows closely, in order, and passes over whoever must get nothing", () => {
    const windows = windowsOf(at(30, 0, null, 4, 8, 13, 30), 5 * minuteMs);
    expect(windows.map(({ firstMs, lastMs }) => [firstMs / minuteMs, lastMs / minuteMs])).toEqual([
      [0, 8],
      [13, 13],
      [30, 30],
    ]);
    expect(windowsOf(at(null), 1)).toEqual([]);
  });
});

describe("instantOf", () => {
  it.each([
    ["2027-03-28T02:30", "Europe/Berlin", "shift", "2027-03-28T01:30"],
    ["2027-03-28T02:30", "Europe/Berlin", "skip", null],
    ["2027-03-28T03:00", "Europe/Berlin", "skip", "2027-03-28T01:00"],
    // of two the first
    ["2026-10-25T02:30", "Europe/Berlin", "skip", "2026-10-25T00:30"],
    ["2026-10-04T02:15", "Australia/Lord_Howe", "shift", "2026-10-03T15:45"],
    ["2027-03-28T02:30", "Antarctica/Troll", "shift", "2027-03-28T02:30"],
    ["2027-03-28T02:30", "Asia/Kathmandu", "shift", "2027-03-27T20:45"],
    // a day that was left out
    ["2011-12-30T12:00", "Pacific/Apia", "shift", "2011-12-30T22:00"],
    ["2011-12-30T12:00", "Pacific/Apia", "skip", null],
  ] as const)("finds %s in %s (%s)", (wallTime, zone, gap, expected) => {
    expect(iso(instantOf(wallTime, zone, gap))).toBe(expected);
  });

  it("agrees with the resolver in each zone of the world's cities, in the night in which Europe's clocks go forward", () => {
    const zones = new Set([...world.values()].map(({ zone }) => zone));
    expect(zones.size).toBeGreaterThan(200);
    for (const zone of zones) {
      const [resolved] = resolveWallTime({ year: 2027, month: 3, day: 28, hour: 2, minute: 30, second: 0 }, zone, {
        gap: "shift",
        overlap: "first",
      });
      expect({ zone, at: iso(instantOf("2027-03-28T02:30", zone, "shift")) }).toEqual({
        zone,
        at: iso(resolved?.instantMs ?? null),
      });
    }
  });
});
