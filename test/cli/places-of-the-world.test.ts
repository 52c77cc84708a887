import { describe, expect, it } from "vitest";
import { newPlace } from "../../src/api/contract/place.ts";
import { placesOfTheWorld } from "../../src/cli/places-of-the-world.ts";
import { isKnownZone } from "../../src/timetable/civil-time.ts";

describe("placesOfTheWorld", () => {
  const places = placesOfTheWorld();

  it("are the world's cities, each known by a key of its own", () => {
    expect(places.length).toBeGreaterThan(7200);
    expect(new Set(places.map(({ key }) => key)).size).toBe(places.length);
    expect(places.find(({ key }) => key === "de-berlin")).toMatchObject({
      name: "Berlin",
      country: "DE",
      zone: "Europe/Berlin",
      population: expect.any(Number),
    });
    expect(places.find(({ key }) => key === "sa-makkah")?.zone).toBe("Asia/Riyadh");
  });

  it("are places as the API takes them, in zones that are known", () => {
    const refused = places.filter((place) => !newPlace.safeParse(place).success || !isKnownZone(place.zone));
    expect(refused).toEqual([]);
  });

  it("have the same keys at each start", () => {
    expect(placesOfTheWorld().map(({ key }) => key)).toEqual(places.map(({ key }) => key));
  });
});
