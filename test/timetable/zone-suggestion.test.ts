import { describe, expect, it } from "vitest";
import { placesOfTheWorld } from "../../src/cli/places-of-the-world.ts";
import { isKnownZone } from "../../src/timetable/civil-time.ts";
import { suggestZone } from "../../src/timetable/zone-suggestion.ts";

describe("suggestZone", () => {
  it.each([
    [52.52, 13.405, "Europe/Berlin"],
    [69.65, 18.96, "Europe/Oslo"],
    [-34.6, -58.38, "America/Argentina/Buenos_Aires"],
    [1.87, -157.43, "Pacific/Kiritimati"],
    [0, -30, "Etc/GMT+2"],
    [-90, 180, "Antarctica/McMurdo"],
  ])("knows the zone at %d, %d", (latitude, longitude, zone) => {
    expect(suggestZone(latitude, longitude, "")).toBe(zone);
  });

  it("is right about the time of day for all but 1.8 % of the world's cities, as it is said to be", () => {
    const timesOf = remembered((zone: string) => {
      const clock = new Intl.DateTimeFormat("en-GB", { timeZone: zone, dateStyle: "short", timeStyle: "short" });
      return [1, 4, 7, 10].map((month) => clock.format(Date.UTC(2026, month - 1, 15))).join();
    });
    const cities = placesOfTheWorld();
    const others = cities.filter(
      ({ latitude, longitude, zone }) => timesOf(suggestZone(latitude, longitude, "")) !== timesOf(zone),
    );
    expect(others.length / cities.length).toBeGreaterThan(0.005);
    expect(others.length / cities.length).toBeLessThan(0.019);
  });

  it("names no zone that this runtime lacks, on any ten degrees of the globe", () => {
    const unknown = new Set<string>();
    for (let latitude = -90; latitude <= 90; latitude += 10) {
      for (let longitude = -180; longitude <= 180; longitude += 10) {
        const zone = suggestZone(latitude, longitude, "");
        if (!isKnownZone(zone)) unknown.add(zone);
      }
    }
    expect([...unknown]).toEqual([]);
  });
});

function remembered<T>(of: (zone: string) => T): (zone: string) => T {
  const known = new Map<string, T>();
  return (zone) => {
    const before = known.get(zone) ?? of(zone);
    known.set(zone, before);
    return before;
  };
}
