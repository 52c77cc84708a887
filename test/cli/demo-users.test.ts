import { describe, expect, it } from "vitest";
import { demoUsers } from "../../src/cli/demo-users.ts";
import { type PlaceOfTheWorld, placesOfTheWorld } from "../../src/cli/places-of-the-world.ts";

function place(key: string, population: number): PlaceOfTheWorld {
  return { key, name: key, country: null, latitude: 0, longitude: 0, zone: "UTC", population };
}

describe("demoUsers", () => {
  it("live in places by their population", () => {
    const users = demoUsers(100, [place("large", 70), place("empty", 0), place("small", 30)]);
    const keys = users.map(({ place: { key } }) => key);
    expect(keys.filter((key) => key === "large")).toHaveLength(70);
    expect(keys.filter((key) => key === "small")).toHaveLength(30);
    expect(keys).not.toContain("empty");
  });

  it.each([1, 7, 20_000])("are %i when so many are asked for, each with an id of their own", (count) => {
    const users = demoUsers(count, placesOfTheWorld());
    expect(users).toHaveLength(count);
    expect(new Set(users.map(({ userId }) => userId)).size).toBe(count);
  });

  it("are the same in every run", () => {
    const places = placesOfTheWorld();
    expect(demoUsers(500, places)).toEqual(demoUsers(500, places));
  });
});
