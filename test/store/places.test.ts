import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { findPlaces } from "../../src/store/place-times.ts";
import { listPlaces, type NewPlace, nearestPlace, readPlace, savePlaces } from "../../src/store/places.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";

let test: TestDatabase;
const place = (key: string, latitude: number, longitude: number, rest: Partial<NewPlace> = {}): NewPlace => ({
  key,
  name: key,
  latitude,
  longitude,
  zone: "UTC",
  ...rest,
});
const save = (places: readonly NewPlace[]) => savePlaces(test.database, places, (index) => `/places/${index}`);

beforeAll(async () => {
  test = await createTestDatabase();
  await save([
    place("fiji", -17.8, 179.4),
    place("tromso", 69.65, 18.96),
    place("berlin", 52.52, 13.405),
    place("potsdam", 52.39, 13.06),
    place("pole", 90, 0),
  ]);
});
afterAll(() => test[Symbol.asyncDispose]());

describe("nearestPlace", () => {
  it.each([
    { what: "the nearer of two", latitude: 52.4, longitude: 13.1, key: "potsdam" },
    { what: "one across the date line", latitude: -17.8, longitude: -179.9, key: "fiji" },
    { what: "one far east in degrees and near in kilometres", latitude: 69.65, longitude: 21.4, key: "tromso" },
    { what: "the pole from anywhere about it", latitude: 89.5, longitude: 120, key: "pole" },
  ])("finds $what", async ({ latitude, longitude, key }) => {
    const found = await nearestPlace(test.database, latitude, longitude);
    expect(found.key).toBe(key);
    expect(found.distanceKm).toBeGreaterThan(0);
    expect(found.distanceKm).toBeLessThanOrEqual(100);
  });

  it.each([
    [0, 0],
    [52.52, 15.405],
    [-52.52, 13.405],
    [-90, 0],
  ])("finds none at %d, %d", async (latitude, longitude) => {
    await expect(nearestPlace(test.database, latitude, longitude)).rejects.toMatchObject({
      code: "far_from_any_place",
    });
  });
});

describe("places", () => {
  it("are found many at once, in the order of the questions", async () => {
    const berlin = await readPlace(test.database, "berlin");
    const found = await findPlaces(test.database.pool, [
      { key: "none" },
      { placeId: berlin.placeId },
      { latitude: 0, longitude: 0 },
      { latitude: 52.39, longitude: 13.06 },
      { key: "berlin" },
    ]);
    expect(found.map((each) => each?.key ?? null)).toEqual([null, "berlin", null, "potsdam", "berlin"]);
    expect(found[1]).toMatchObject({ zone: "UTC", latitude: 52.52, versions: [{ timetable: { kind: "prayer" } }] });
    expect(await findPlaces(test.database.pool, [])).toEqual([]);
  });

  it("are stored all or none", async () => {
    const before = await listPlaces(test.database, { after: 0, limit: 100 });
    const bad = [place("new", 1, 1), place("lost", 2, 2, { zone: "No/Where", timetable: "none" }), place("new", 3, 3)];
    await expect(save(bad)).rejects.toMatchObject({
      errors: [
        { code: "unknown_zone", pointer: "/places/1/zone" },
        { code: "unknown_timetable", pointer: "/places/1/timetable" },
      ],
    });
    await expect(save([place("new", 1, 1), place("new", 3, 3)])).rejects.toMatchObject({ pointer: "/places/1/key" });
    expect(await listPlaces(test.database, { after: 0, limit: 100 })).toEqual(before);
  });

  it("keep their number when they change", async () => {
    const before = await readPlace(test.database, "tromso");
    const [saved] = await save([place("tromso", 69.65, 18.96, { name: "Tromsø", zone: "europe/oslo", country: "NO" })]);
    expect(saved).toEqual({ ...before, name: "Tromsø", zone: "Europe/Oslo", country: "NO", created: false });
    await expect(readPlace(test.database, "none")).rejects.toMatchObject({ code: "not_found" });
  });
});
