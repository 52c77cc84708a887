import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { planDue } from "../../src/planner/plan.ts";
import { startTestApi, type TestApi } from "./api.ts";

const dayMs = 86_400_000;

let api: TestApi;
beforeAll(async () => {
  api = await startTestApi();
});
afterAll(() => api[Symbol.asyncDispose]());

async function makePlace(key: string, timetable: string, country: string | null = null): Promise<void> {
  const place = { key, name: key, country, latitude: 39.93, longitude: 32.86, zone: "Europe/Istanbul", timetable };
  await api.admin.post("/v1/places", place).expect(201);
}

async function subscribe(userId: string, place: string, slot: string): Promise<{ id: string; nextDueAt: string }> {
  const request = { userId, topic: "live", timetable: { place, slot } };
  return (await api.subscriber.post("/v1/subscriptions", request).expect(201)).body;
}

/** What the planner makes of the place's only schedule within a fortnight, ascending. */
async function planned(place: string): Promise<string[]> {
  const db = api.test.database;
  await planDue(db, { horizonMs: 14 * dayMs, leadMs: 10_000 }, new AbortController().signal);
  const { rows } = await db.pool.query<{ due_at: Date }>(
    `select b.due_at from carillon.time_buckets b
     join carillon.schedules s using (schedule_id) join carillon.places p using (place_id)
     where p.key = $1 order by b.due_at`,
    [place],
  );
  return rows.map(({ due_at }) => due_at.toISOString());
}

describe("timetables of other kinds", () => {
  const hours = { "1": [{ opens: "09:00", closes: "18:00" }] };
  const everyDay = Object.fromEntries(
    Array.from({ length: 366 }, (_, index) => [
      new Date(Date.UTC(2024, 0, 1 + index)).toISOString().slice(5, 10),
      { opens: "10:15", closes: "25:00" },
    ]),
  );

  it.each<[string, object, string, string[], RegExp]>([
    ["sun", {}, "goldenHour", expect.arrayContaining(["nadir", "solarNoon", "night"]), /T1[2-7]:/],
    ["weekly", { days: hours }, "closes", ["opens", "closes"], /T15:00:00/],
    ["table", { slots: ["opens", "closes"], days: everyDay }, "closes", ["opens", "closes"], /T22:00:00/],
  ])("%s: subscribed to and planned", async (kind, parameters, slot, slots, shown) => {
    const { body } = await api.admin.post("/v1/timetables", { name: kind, kind, parameters }).expect(201);
    expect(body).toMatchObject({ kind, slots, parameters });
    expect((await api.admin.get(`/v1/timetables/${kind}`).expect(200)).body).toMatchObject({ kind, slots, parameters });
    await makePlace(`${kind}-place`, kind);
    const { nextDueAt } = await subscribe(`${kind}-user`, `${kind}-place`, slot);
    expect(nextDueAt).toMatch(shown);
    const [first = "", ...others] = await planned(`${kind}-place`);
    expect(Date.parse(first)).toBe(Date.parse(nextDueAt));
    expect(others.length).toBeGreaterThanOrEqual(kind === "weekly" ? 1 : 12);
  });

  it("prayer: as is usual in the place's country, wherever it is read", async () => {
    const parameters = { method: "byCountry" };
    await api.admin.post("/v1/timetables", { name: "usual", kind: "prayer", parameters }).expect(201);
    await api.admin.post("/v1/timetables", { name: "turkish", kind: "prayer", parameters: { method: "Turkey" } });
    await makePlace("usual-tr", "usual", "TR");
    await makePlace("usual-nowhere", "usual");
    await makePlace("turkish", "turkish");
    const [ours, elsewhere, theirs] = [
      await subscribe("a", "usual-tr", "dhuhr"),
      await subscribe("b", "usual-nowhere", "dhuhr"),
      await subscribe("c", "turkish", "dhuhr"),
    ];
    expect(ours.nextDueAt).toBe(theirs.nextDueAt);
    expect(ours.nextDueAt).not.toBe(elsewhere.nextDueAt);
    expect(await planned("usual-tr")).toEqual(await planned("turkish"));
    expect(await planned("usual-tr")).not.toEqual(await planned("usual-nowhere"));
  });

  it("keep their kind when they are changed", async () => {
    await api.admin.post("/v1/timetables", { name: "shop", kind: "weekly", parameters: { days: hours } }).expect(201);
    const days = { "2": [{ opens: "10:00", closes: "12:00" }] };
    const { body } = await api.admin.patch("/v1/timetables/shop", { parameters: { days } }).expect(200);
    expect(body).toMatchObject({ kind: "weekly", parameters: { days: { ...days, "1": [] } } });
    const refused = await api.admin.patch("/v1/timetables/shop", { parameters: { method: "Turkey" } }).expect(400);
    expect(refused.body.errors).toMatchObject([{ pointer: "/parameters/method" }]);
    const { dryRun: _, diff: __, ...stored } = body;
    expect((await api.admin.get("/v1/timetables/shop").expect(200)).body).toEqual(stored);
  });

  it("are refused whole, each mistake by its pointer", async () => {
    const days = { "2026-02-27": { a: "08:00" }, "2026-02-29": { a: "08:00" }, "2026-03-01": { a: "8:00" } };
    const table = { name: "holes", kind: "table", parameters: { days } };
    const { body } = await api.admin.post("/v1/timetables", table).expect(400);
    expect(body.errors.map(({ pointer }: { pointer: string }) => pointer)).toEqual([
      "/parameters/days/2026-02-29",
      "/parameters/days/2026-03-01",
      "/parameters/days/2026-03-01/a",
    ]);
    await api.admin.get("/v1/timetables/holes").expect(404);
    const moon = await api.admin.post("/v1/timetables", { name: "moon", kind: "moon" }).expect(400);
    expect(moon.body.errors).toMatchObject([{ pointer: "/kind" }]);
  });
});
