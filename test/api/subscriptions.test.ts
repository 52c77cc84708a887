import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { inSeconds, startTestApi, type TestApi } from "./api.ts";

let api: TestApi;
beforeAll(async () => {
  api = await startTestApi();
  await api.admin.post("/v1/destinations", { name: "push", url: "https://push.example.com/hook" }).expect(201);
});
afterAll(() => api[Symbol.asyncDispose]());

describe("POST /v1/subscriptions", () => {
  it("subscribes to an instant and promises it", async () => {
    const at = inSeconds(60);
    const { body } = await api.subscriber.post("/v1/subscriptions", { userId: "ada", topic: "live", at }).expect(201);
    expect(body).toEqual({
      id: expect.stringMatching(/^\d+-\d+$/),
      userId: "ada",
      topic: "live",
      scheduleId: body.id.split("-")[0],
      rule: { kind: "instant", at },
      subscribedAt: expect.stringMatching(/Z$/),
      endedAt: null,
      nextDueAt: new Date(at).toISOString(),
    });
  });

  it("keeps instants to the second and in UTC, so that equal ones share a schedule", async () => {
    const at = inSeconds(90);
    const berlinTime = new Date(new Date(at).getTime() + 3_600_000).toISOString().replace(".000Z", ".750+01:00");
    const first = await api.subscriber.post("/v1/subscriptions", { userId: "ada", topic: "live", at }).expect(201);
    const second = await api.subscriber
      .post("/v1/subscriptions", { userId: "bob", topic: "live", at: berlinTime })
      .expect(201);
    expect(second.body.scheduleId).toBe(first.body.scheduleId);
  });

  it("gives the same answer for the same subscription, and keeps one row", async () => {
    const request = { userId: "carol", topic: "live", daily: { time: "18:30", zone: "Europe/Berlin" } };
    const first = await api.subscriber.post("/v1/subscriptions", request).expect(201);
    const before = await api.counts();
    const second = await api.subscriber.post("/v1/subscriptions", request).expect(200);
    expect(second.body).toEqual(first.body);
    expect(await api.counts()).toEqual(before);
  });

  it("fills in a daily rule's defaults and shares the schedule with who spells them out", async () => {
    const short = { userId: "dan", topic: "live", daily: { time: "07:00", zone: "europe/berlin" } };
    const long = {
      userId: "eve",
      topic: "live",
      daily: {
        time: "07:00:00",
        zone: "Europe/Berlin",
        days: [7, 6, 5, 4, 3, 2, 1],
        gap: "shift",
        overlap: "first",
      },
    };
    const first = await api.subscriber.post("/v1/subscriptions", short).expect(201);
    const second = await api.subscriber.post("/v1/subscriptions", long).expect(201);
    expect(second.body.scheduleId).toBe(first.body.scheduleId);
    expect(first.body.rule).toEqual({ kind: "wall", ...long.daily, days: [1, 2, 3, 4, 5, 6, 7], offsetsMinutes: [0] });
  });

  it.each([
    { by: "key", where: { place: "berlin" } },
    { by: "coordinates", where: { coordinates: { latitude: 52.4, longitude: 13.1 } } },
  ])("takes the time from the timetable of a place by $by", async ({ where }) => {
    const request = {
      userId: `user by ${JSON.stringify(where)}`,
      topic: "live",
      timetable: { ...where, slot: "maghrib" },
    };
    const { body } = await api.subscriber.post("/v1/subscriptions", request).expect(201);
    expect(body.place).toMatchObject({ key: "berlin", zone: "Europe/Berlin" });
    expect(body.rule).toEqual({ kind: "timetable", placeId: body.place.placeId, slot: "maghrib", offsetsMinutes: [0] });
    const aheadMs = new Date(body.nextDueAt).getTime() - Date.now();
    expect(aheadMs).toBeGreaterThan(0);
    expect(aheadMs).toBeLessThan(25 * 3_600_000);
  });

  it("moves a slot by its offset", async () => {
    const at = (offsetMinutes: number) =>
      api.subscriber.post("/v1/subscriptions", {
        userId: "fay",
        topic: "live",
        timetable: { place: "mecca", slot: "dhuhr", offsetMinutes },
      });
    const [on, before] = [await at(0), await at(-20)];
    const dayMs = 86_400_000;
    const differenceMs = new Date(on.body.nextDueAt).getTime() - new Date(before.body.nextDueAt).getTime();
    // one of the two may be tomorrow's already, and noon moves by seconds from day to day
    const nearest = [differenceMs - dayMs, differenceMs, differenceMs + dayMs].map((ms) => Math.abs(ms - 20 * 60_000));
    expect(Math.min(...nearest)).toBeLessThanOrEqual(60_000);
  });

  it("registers endpoints, with the user's id as address where none is given, and keeps zone and locale", async () => {
    const request = {
      userId: "gus",
      topic: "live",
      at: inSeconds(600),
      zone: "Asia/Tokyo",
      locale: "ja",
      endpoints: [{ destination: "push" }, { destination: "push", address: "device 2" }],
    };
    await api.subscriber.post("/v1/subscriptions", request).expect(201);
    await api.subscriber.post("/v1/subscriptions", request).expect(200);
    const { body } = await api.subscriber.get("/v1/users/gus/endpoints").expect(200);
    expect(body.endpoints).toMatchObject([
      { ordinal: 1, destination: "push", address: "gus", goneAt: null },
      { ordinal: 2, destination: "push", address: "device 2", goneAt: null },
    ]);
    const { rows } = await api.test.database.pool.query(
      "select distinct e.zone, e.locale from carillon.endpoints e join carillon.users using (user_number) where user_id = 'gus'",
    );
    expect(rows).toEqual([{ zone: "Asia/Tokyo", locale: "ja" }]);
  });

  it("subscribes many in one request", async () => {
    const at = inSeconds(300);
    const subscriptions = Array.from({ length: 1000 }, (_, index) => ({
      userId: `many-${index % 999}`,
      topic: "live",
      at,
      endpoints: [{ destination: "push" }],
    }));
    const { body } = await api.subscriber.post("/v1/subscriptions", { subscriptions }).expect(200);
    expect(body.subscriptions).toHaveLength(1000);
    expect(new Set(body.subscriptions.map((each: { id: string }) => each.id)).size).toBe(999);
    expect(body.subscriptions.map((each: { userId: string }) => each.userId)).toEqual(
      subscriptions.map((each) => each.userId),
    );
    expect(body.subscriptions.filter((each: { created: boolean }) => each.created)).toHaveLength(999);
    const { rows } = await api.test.database.pool.query(
      "select count(*)::int as n from carillon.subscriptions where schedule_id = $1",
      [body.subscriptions[0].scheduleId],
    );
    expect(rows).toEqual([{ n: 999 }]);
  });

  it("wakes the planner in the same transaction for a new schedule that is near, and for no other", async () => {
    const planJobs = async () => {
      const { rows } = await api.test.database.pool.query(
        "select count(*)::int as n from graphile_worker.jobs where task_identifier = 'carillon.plan'",
      );
      return rows[0].n;
    };
    await api.test.database.pool.query("select graphile_worker.remove_job('carillon.plan')");
    await api.subscriber.post("/v1/subscriptions", { userId: "hal", topic: "live", at: inSeconds(7200) }).expect(201);
    expect(await planJobs()).toBe(0);
    const near = { userId: "hal", topic: "live", at: inSeconds(1200) };
    await api.subscriber.post("/v1/subscriptions", near).expect(201);
    expect(await planJobs()).toBe(1);
    const { rows } = await api.test.database.pool.query(
      `select next_due_at <= carillon.clock() as due, next_due_at = planned_through as same
       from carillon.schedules where rule ->> 'at' = $1`,
      [near.at],
    );
    expect(rows).toEqual([{ due: true, same: true }]);
  });

  it("promises nothing while the topic is paused", async () => {
    await api.admin.post("/v1/topics", { name: "paused-topic" }).expect(201);
    await api.admin.post("/v1/topics/paused-topic/pause").expect(200);
    const request = { userId: "ida", topic: "paused-topic", at: inSeconds(60) };
    const { body } = await api.subscriber.post("/v1/subscriptions", request).expect(201);
    expect(body.nextDueAt).toBeNull();
    await api.admin.post("/v1/topics/paused-topic/resume").expect(200);
    const again = await api.subscriber.get(`/v1/subscriptions/${body.id}`).expect(200);
    expect(again.body.nextDueAt).toBe(new Date(request.at).toISOString());
  });
});

describe("GET and DELETE /v1/subscriptions/:id", () => {
  it("ends by a tombstone, once, and brings back to the same place", async () => {
    const request = { userId: "jo", topic: "live", daily: { time: "12:00", zone: "UTC", days: [1, 3] } };
    const created = await api.subscriber.post("/v1/subscriptions", request).expect(201);
    const address = `/v1/subscriptions/${created.body.id}`;
    const read = await api.subscriber.get(address).expect(200);
    expect({ ...created.body }).toEqual(read.body);

    const ended = await api.subscriber.delete(address).expect(200);
    expect(ended.body).toMatchObject({ id: created.body.id, endedAt: expect.any(String), nextDueAt: null });
    const twice = await api.subscriber.delete(address).expect(200);
    expect(twice.body).toEqual(ended.body);

    const back = await api.subscriber.post("/v1/subscriptions", request).expect(200);
    expect(back.body).toMatchObject({ id: created.body.id, endedAt: null });
    expect(new Date(back.body.subscribedAt).getTime()).toBeGreaterThanOrEqual(new Date(ended.body.endedAt).getTime());
  });

  it.each(["0-1", "1-0", "999999-999999", "x", "1-1-1", "99999999999999999999-1", "%00", "-"])(
    "knows no subscription %s",
    async (id) => {
      for (const method of ["get", "delete"] as const) {
        const { body, status } = await api.subscriber[method](`/v1/subscriptions/${id}`);
        expect([404, 400]).toContain(status);
        expect(["unknown_subscription", "invalid_request"]).toContain(body.code);
      }
    },
  );
});
