import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openDestinations } from "../../src/store/destinations.ts";
import { berlin, inSeconds, mecca, startTestApi, type TestApi } from "./api.ts";

let api: TestApi;
beforeAll(async () => {
  api = await startTestApi();
});
afterAll(() => api[Symbol.asyncDispose]());

/** Follows `nextCursor` from the first page to the last. */
async function listAll<T>(path: string, name: string, limit: number): Promise<T[]> {
  const items: T[] = [];
  for (let cursor: string | null = ""; cursor !== null; ) {
    const more: string = cursor === "" ? "" : `&cursor=${encodeURIComponent(cursor)}`;
    const { body } = await api.admin.get(`${path}?limit=${limit}${more}`).expect(200);
    expect(body[name].length).toBeLessThanOrEqual(limit);
    items.push(...body[name]);
    cursor = body.nextCursor;
  }
  return items;
}

describe("topics", () => {
  it("are made with the schema's defaults, changed and read", async () => {
    const { body } = await api.admin.post("/v1/topics", { name: "sale" }).expect(201);
    expect(body).toMatchObject({
      name: "sale",
      deliveryMode: "at_least_once",
      expiresAfterMs: 600_000,
      catchUp: "latest",
      groupCount: null,
      reach: "all",
      channelOrder: [],
      pausedAt: null,
      version: 1,
    });
    const patch = { groupCount: 2, spreadMs: 30_000, data: { deep: [1, null, "ü"] }, deliveryMode: "at_most_once" };
    const changed = await api.admin.patch("/v1/topics/sale", patch).expect(200);
    expect(changed.body).toMatchObject({ ...patch, version: 2, catchUp: "latest" });
    const cleared = await api.admin.patch("/v1/topics/sale", { groupCount: null, data: null }).expect(200);
    expect(cleared.body).toMatchObject({ groupCount: null, data: null, version: 3 });
    expect((await api.subscriber.get("/v1/topics/sale").expect(200)).body).toEqual(cleared.body);
    await api.admin.patch("/v1/topics/none", {}).expect(404);
  });

  it("are content with the first endpoint that accepts, in an order of channels", async () => {
    const wish = { reach: "first", channelOrder: ["fcm", "web-push"] };
    expect((await api.admin.post("/v1/topics", { name: "first", ...wish }).expect(201)).body).toMatchObject(wish);
    const { body } = await api.admin.patch("/v1/topics/first", { channelOrder: ["apns"] }).expect(200);
    expect(body).toMatchObject({ reach: "first", channelOrder: ["apns"] });
    for (const bad of [{ reach: "some" }, { channelOrder: ["fax"] }, { channelOrder: ["fcm", "fcm"] }]) {
      await api.admin.patch("/v1/topics/first", bad).expect(400);
    }
  });

  it.each([0, "text", true, [1], { a: 1 }])("keep %j as their data", async (data) => {
    const { body } = await api.admin.patch("/v1/topics/live", { data }).expect(200);
    expect(body.data).toEqual(data);
  });

  it("are paused and resumed, twice being the same", async () => {
    const paused = await api.admin.post("/v1/topics/live/pause").expect(200);
    expect(paused.body.pausedAt).toEqual(expect.any(String));
    expect((await api.admin.post("/v1/topics/live/pause").expect(200)).body.pausedAt).toBe(paused.body.pausedAt);
    expect((await api.admin.post("/v1/topics/live/resume", {}).expect(200)).body.pausedAt).toBeNull();
    await api.admin.post("/v1/topics/none/pause").expect(404);
  });

  it("are listed page by page", async () => {
    for (const name of ["z", "a", "m"]) await api.admin.post("/v1/topics", { name: `page-${name}` }).expect(201);
    const names = (await listAll<{ name: string }>("/v1/topics", "topics", 2)).map((topic) => topic.name);
    expect(names.filter((name) => name.startsWith("page-"))).toEqual(["page-a", "page-m", "page-z"]);
    expect(new Set(names).size).toBe(names.length);
  });
});

describe("places", () => {
  it("are saved again by their keys, and replanned only where they changed", async () => {
    const request = { userId: "ada", topic: "live", timetable: { place: "berlin", slot: "asr" } };
    const { body } = await api.subscriber.post("/v1/subscriptions", request).expect(201);
    const { pool } = api.test.database;
    const planned = "update carillon.schedules set next_due_at = '2999-01-01' where schedule_id = $1";
    const isHandedOver = async () => {
      const sql = "select next_due_at <= carillon.clock() as due from carillon.schedules where schedule_id = $1";
      return (await pool.query(sql, [body.scheduleId])).rows[0].due;
    };
    await pool.query(planned, [body.scheduleId]);

    const same = await api.admin.post("/v1/places", { places: [mecca, berlin] }).expect(200);
    expect(same.body.places).toMatchObject([
      { key: "mecca", created: false },
      { key: "berlin", created: false },
    ]);
    expect(await isHandedOver()).toBe(false);
    await api.admin.post("/v1/places", { ...berlin, latitude: 52.53 }).expect(200);
    expect(await isHandedOver()).toBe(true);
  });

  it("are listed, read and found by coordinates", async () => {
    const rome = {
      key: "roma",
      name: "Roma",
      latitude: 41.9,
      longitude: 12.5,
      zone: "europe/rome",
      population: 2_800_000,
    };
    const { body } = await api.admin.post("/v1/places", rome).expect(201);
    expect(body).toEqual({
      ...rome,
      zone: "Europe/Rome",
      country: null,
      placeId: expect.any(Number),
      timetable: "prayer",
      zoneSource: "given",
    });
    expect((await api.subscriber.get("/v1/places/roma").expect(200)).body).toEqual(body);
    const keys = (await listAll<{ key: string }>("/v1/places", "places", 1)).map((place) => place.key);
    expect(keys).toEqual(["berlin", "mecca", "roma"]);
    const near = await api.subscriber.get("/v1/places/nearest?latitude=41.8&longitude=12.6").expect(200);
    expect(near.body.key).toBe("roma");
    expect(near.body.distanceKm).toBeGreaterThan(10);
    expect(near.body.distanceKm).toBeLessThan(20);
  });

  it("get a zone that is suggested where none is given, and say so", async () => {
    const napoli = { key: "napoli", name: "Napoli", latitude: 40.85, longitude: 14.27 };
    const { body } = await api.admin.post("/v1/places", napoli).expect(201);
    expect(body).toMatchObject({ zone: "Europe/Rome", zoneSource: "suggested" });
    const near = await api.subscriber.get("/v1/places/nearest?latitude=40.8&longitude=14.3").expect(200);
    expect(near.body).toMatchObject({ key: "napoli", zoneSource: "suggested" });
    const given = await api.admin.post("/v1/places", { ...napoli, zone: "Europe/Vatican" }).expect(200);
    expect(given.body).toMatchObject({ zone: "Europe/Vatican", zoneSource: "given" });
    const again = await api.admin.post("/v1/places", napoli).expect(200);
    expect(again.body).toMatchObject({ zone: "Europe/Vatican", zoneSource: "given" });
  });
});

describe("timetables", () => {
  it("are changed together with the schedules at their places", async () => {
    const { body } = await api.admin.post("/v1/timetables", { name: "egypt", kind: "prayer" }).expect(201);
    expect(body).toMatchObject({ name: "egypt", version: 1, slots: expect.arrayContaining(["fajr", "isha"]) });
    const cairo = { key: "cairo", name: "Cairo", latitude: 30.04, longitude: 31.24, zone: "Africa/Cairo" };
    await api.admin.post("/v1/places", { ...cairo, timetable: "egypt" }).expect(201);
    const subscribe = (userId: string) =>
      api.subscriber.post("/v1/subscriptions", { userId, topic: "live", timetable: { place: "cairo", slot: "fajr" } });
    const before = await subscribe("early").expect(201);
    const { pool } = api.test.database;
    await pool.query("update carillon.schedules set next_due_at = '2999-01-01'");
    await pool.query("select graphile_worker.remove_job('carillon.plan')");

    const parameters = { method: "Egyptian", adjustments: { fajr: 30 } };
    const changed = await api.admin.patch("/v1/timetables/egypt", { parameters }).expect(200);
    expect(changed.body).toMatchObject({ version: 1, parameters, dryRun: false });
    const after = await subscribe("late").expect(201);
    expect(after.body.scheduleId).toBe(before.body.scheduleId);
    expect(after.body.nextDueAt).not.toBe(before.body.nextDueAt);
    const { rows } = await pool.query(
      `select s.schedule_id, (select count(*)::int from graphile_worker.jobs where task_identifier = 'carillon.plan') as jobs
       from carillon.schedules s where s.next_due_at <= carillon.clock()`,
    );
    expect(rows).toEqual([{ schedule_id: before.body.scheduleId, jobs: 1 }]);
    const { dryRun: _, diff: __, ...stored } = changed.body;
    expect((await api.admin.get("/v1/timetables/egypt").expect(200)).body).toEqual(stored);
    expect((await listAll<{ name: string }>("/v1/timetables", "timetables", 1)).map((each) => each.name)).toEqual([
      "egypt",
      "prayer",
    ]);
  });
});

describe("destinations", () => {
  const url = "https://push.example.com/hook";

  it("hand a generated secret over once, and sign with what was sealed", async () => {
    const { body } = await api.admin.post("/v1/destinations", { name: "push", url, batchSize: 100 }).expect(201);
    expect(body).toMatchObject({ name: "push", url, batchSize: 100, secretCount: 1, disabledAt: null });
    expect(body.secret).toMatch(/^whsec_/);
    const read = await api.admin.get("/v1/destinations/push").expect(200);
    expect(JSON.stringify(read.body)).not.toContain("whsec_");
    const rotated = await api.admin.patch("/v1/destinations/push", { secret: "generate" }).expect(200);
    expect(rotated.body).toMatchObject({ secretCount: 2, secret: expect.stringMatching(/^whsec_/) });
    const opened = () => openDestinations(api.test.database.pool, [body.destinationId], api.deps.secretKey);
    expect(await opened()).toMatchObject([{ secrets: [rotated.body.secret, body.secret] }]);
    const retired = await api.admin.patch("/v1/destinations/push", { retireSecrets: true }).expect(200);
    expect(retired.body.secret).toBeUndefined();
    expect(await opened()).toMatchObject([{ secrets: [rotated.body.secret] }]);
  });

  it("take a secret along without telling it back", async () => {
    const secret = `whsec_${Buffer.alloc(32, 7).toString("base64")}`;
    const { body } = await api.admin.post("/v1/destinations", { name: "own", url, secret }).expect(201);
    expect(JSON.stringify(body)).not.toContain("whsec_");
  });

  it("are disabled and enabled", async () => {
    const off = await api.admin.patch("/v1/destinations/push", { disabled: true }).expect(200);
    expect(off.body).toMatchObject({ disabledAt: expect.any(String), disabledReason: "by an admin", url });
    const on = await api.admin.patch("/v1/destinations/push", { disabled: false, batchSize: 1 }).expect(200);
    expect(on.body).toMatchObject({ disabledAt: null, disabledReason: null, batchSize: 1 });
    const { body } = await api.admin.patch("/v1/destinations/push", { url: "https://[::1]./" }).expect(422);
    expect(body.code).toBe("hostile_url");
  });

  it("have a pace, which Firebase gives from the start", async () => {
    const url = "https://receiver.example/";
    await api.admin.post("/v1/destinations", { name: "paced", url }).expect(201);
    const path = "/v1/destinations/paced/pace";
    expect((await api.admin.get(path).expect(200)).body).toEqual({ pace: null });
    const set = await api.admin.put(path, { perSecond: 12.5 }).expect(200);
    expect(set.body).toEqual({ pace: { perSecond: 12.5, rampUpMs: 0 } });
    await api.admin.put(path, { perSecond: 100, rampUpMs: 60_000 }).expect(200);
    expect((await api.admin.get(path).expect(200)).body).toEqual({ pace: { perSecond: 100, rampUpMs: 60_000 } });
    for (const bad of [{}, { perSecond: 0 }, { perSecond: 1, rampUpMs: -1 }, { perSecond: 1, burst: 2 }]) {
      await api.admin.put(path, bad).expect(400);
    }
    expect((await api.admin.delete(path).expect(200)).body).toEqual({ pace: null });
    for (const method of ["get", "delete"] as const) await api.admin[method]("/v1/destinations/none/pace").expect(404);
    await api.admin.put("/v1/destinations/none/pace", { perSecond: 1 }).expect(404);
  });

  it("can't be made without a key to seal with", async () => {
    await using keyless = await startTestApi({ secretKey: null });
    const { body } = await keyless.admin.post("/v1/destinations", { name: "push", url }).expect(500);
    expect(body.code).toBe("secret_key_missing");
    expect((await keyless.counts()).destinations).toBe(0);
  });
});

describe("users, endpoints and mutes", () => {
  it("copy zone and locale to the endpoints", async () => {
    await api.subscriber.put("/v1/users/bob", { zone: "asia/tokyo", locale: "ja" }).expect(201);
    const registered = await api.subscriber.post("/v1/users/bob/endpoints", { destination: "push" }).expect(201);
    expect(registered.body).toMatchObject({ ordinal: 1, channel: "webhook", destination: "push", address: "bob" });
    const zones = async () =>
      (
        await api.test.database.pool.query(
          "select e.zone, e.locale from carillon.endpoints e join carillon.users using (user_number) where user_id = 'bob'",
        )
      ).rows;
    expect(await zones()).toEqual([{ zone: "Asia/Tokyo", locale: "ja" }]);
    const { body } = await api.subscriber.put("/v1/users/bob", { zone: "Europe/Berlin" }).expect(200);
    expect(body).toMatchObject({ userId: "bob", zone: "Europe/Berlin", locale: null });
    expect(await zones()).toEqual([{ zone: "Europe/Berlin", locale: null }]);
    await api.subscriber.put("/v1/users/bob", { zone: "Nowhere" }).expect(422);
  });

  it("take an endpoint out of use and back", async () => {
    const gone = await api.subscriber.delete("/v1/users/bob/endpoints/1").expect(200);
    expect(gone.body).toMatchObject({ ordinal: 1, goneReason: "removed", goneAt: expect.any(String) });
    expect((await api.subscriber.delete("/v1/users/bob/endpoints/1").expect(200)).body).toEqual(gone.body);
    const back = await api.subscriber.post("/v1/users/bob/endpoints", { destination: "push" }).expect(200);
    expect(back.body).toMatchObject({ ordinal: 1, goneAt: null, goneReason: null });
    expect(new Date(back.body.registeredAt).getTime()).toBeGreaterThanOrEqual(new Date(gone.body.goneAt).getTime());
    await api.subscriber.delete("/v1/users/bob/endpoints/7").expect(404);
  });

  it("register many endpoints in one request", async () => {
    const endpoints = Array.from({ length: 1000 }, (_, index) => ({ userId: `bulk-${index}`, destination: "push" }));
    const { body } = await api.subscriber.post("/v1/endpoints", { endpoints }).expect(200);
    expect(body.endpoints).toHaveLength(1000);
    expect(body.endpoints[999]).toMatchObject({ userId: "bulk-999", ordinal: 1, address: "bulk-999", created: true });
    const again = await api.subscriber.post("/v1/endpoints", { endpoints }).expect(200);
    expect(again.body.endpoints.some((each: { created: boolean }) => each.created)).toBe(false);
  });

  it("mute one topic or all, until an instant or for good", async () => {
    const until = inSeconds(3600);
    await api.subscriber.put("/v1/users/bob/mutes/live", { until }).expect(200);
    await api.subscriber.put("/v1/users/bob/mutes", { until: null }).expect(200);
    const { body } = await api.subscriber.get("/v1/users/bob/mutes").expect(200);
    expect(body.mutes).toEqual([
      { topic: null, until: null },
      { topic: "live", until: new Date(until).toISOString() },
    ]);
    const left = await api.subscriber.delete("/v1/users/bob/mutes").expect(200);
    expect(left.body.mutes).toHaveLength(1);
    expect((await api.subscriber.delete("/v1/users/bob/mutes/live").expect(200)).body.mutes).toEqual([]);
    await api.subscriber.put("/v1/users/bob/mutes/none", { until }).expect(404);
    const bad = await api.subscriber.put("/v1/users/bob/mutes", { until: "soon" }).expect(422);
    expect(bad.body).toMatchObject({ code: "malformed_time", errors: [{ pointer: "/until" }] });
  });

  it("have a history, empty at first", async () => {
    expect((await api.subscriber.get("/v1/users/bob/deliveries").expect(200)).body).toEqual({ deliveries: [] });
    await api.subscriber.get("/v1/users/none/deliveries").expect(404);
  });
});

describe("schedules and buckets", () => {
  it("pause and resume a schedule", async () => {
    const request = { userId: "cem", topic: "live", daily: { time: "06:00", zone: "UTC" } };
    const { body } = await api.subscriber.post("/v1/subscriptions", request).expect(201);
    const path = `/v1/schedules/${body.scheduleId}`;
    const read = await api.admin.get(path).expect(200);
    expect(read.body).toMatchObject({ topic: "live", rule: body.rule, nextDueAt: body.nextDueAt, pausedAt: null });
    const paused = await api.admin.post(`${path}/pause`).expect(200);
    expect(paused.body).toMatchObject({ pausedAt: expect.any(String), nextDueAt: null });
    expect((await api.subscriber.post("/v1/subscriptions", request).expect(200)).body.nextDueAt).toBeNull();
    expect((await api.admin.post(`${path}/resume`).expect(200)).body).toEqual(read.body);
  });

  it("list, read and cancel time buckets", async () => {
    const { pool } = api.test.database;
    const { rows } = await pool.query(
      `insert into carillon.time_buckets (schedule_id, topic_id, occurrence, due_at, expires_at)
       select s.schedule_id, s.topic_id, n::text, carillon.clock() + n * interval '1 hour', carillon.clock() + interval '9 hours'
       from carillon.schedules s cross join generate_series(1, 3) as n
       where s.schedule_id = (select max(schedule_id) from carillon.schedules)
       returning bucket_id`,
    );
    const ids = rows.map((row) => row.bucket_id);
    const open = await listAll<{ bucketId: string; state: string }>("/v1/buckets", "buckets", 2);
    expect(open.map((bucket) => bucket.bucketId)).toEqual(ids);
    expect(open[0]).toMatchObject({ topic: "live", state: "planned", groups: 0, delivered: 0 });
    const cancelled = await api.admin.post(`/v1/buckets/${ids[0]}/cancel`).expect(200);
    expect(cancelled.body).toMatchObject({ bucketId: ids[0], state: "cancelled", closedAt: expect.any(String) });
    expect((await api.admin.get(`/v1/buckets/${ids[0]}`).expect(200)).body).toEqual(cancelled.body);
    expect((await api.admin.get("/v1/buckets?state=recent").expect(200)).body.buckets).toEqual([cancelled.body]);
    expect((await api.admin.get("/v1/buckets").expect(200)).body.buckets).toHaveLength(2);
  });
});
