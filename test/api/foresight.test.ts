import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { inSeconds, startTestApi, type TestApi } from "./api.ts";

let api: TestApi;
let scheduleId: string;
beforeAll(async () => {
  api = await startTestApi();
  const { body } = await api.admin
    .post("/v1/subscriptions", { userId: "ada", topic: "live", timetable: { place: "berlin", slot: "maghrib" } })
    .expect(201);
  scheduleId = body.scheduleId;
});
afterAll(() => api[Symbol.asyncDispose]());

describe("GET /v1/schedules/{id}/preview", () => {
  it("answers with moments, what gave them, and the zone data", async () => {
    const { body } = await api.admin
      .get(`/v1/schedules/${scheduleId}/preview?count=3&from=2030-06-20T00:00:00Z`)
      .expect(200);
    expect(body).toMatchObject({
      scheduleId,
      topic: "live",
      zone: "Europe/Berlin",
      from: "2030-06-20T00:00:00.000Z",
      tzdata: process.versions.tz,
      pausedAt: null,
      missing: [],
      place: { key: "berlin", name: "Berlin" },
    });
    expect(body.moments).toHaveLength(3);
    expect(body.moments[0]).toMatchObject({
      local: expect.stringMatching(/^2030-06-20T21:.*\+02:00$/),
      gaveIt: { slot: "maghrib", date: "2030-06-20", timetable: "prayer", version: 1, effectiveFrom: null },
      planned: null,
      notes: [],
    });
  });

  it("answers with ten where nothing is said, for admins alone", async () => {
    expect((await api.admin.get(`/v1/schedules/${scheduleId}/preview`).expect(200)).body.moments).toHaveLength(10);
    await api.subscriber.get(`/v1/schedules/${scheduleId}/preview`).expect(403);
  });

  it.each([
    ["count=0", 400, "invalid_request", "?count"],
    ["count=1001", 400, "invalid_request", "?count"],
    ["from=noon", 422, "malformed_time", "?from"],
    ["until=noon", 400, "invalid_request", "?until"],
  ])("refuses ?%s", async (query, status, code, pointer) => {
    const { body } = await api.admin.get(`/v1/schedules/${scheduleId}/preview?${query}`).expect(status);
    expect(body).toMatchObject({ code, errors: [{ pointer }] });
  });

  it("knows no schedule that there is not", async () => {
    expect((await api.admin.get("/v1/schedules/999/preview").expect(404)).body.code).toBe("unknown_schedule");
  });
});

describe("POST /v1/schedules/preview", () => {
  const preview = (body: object, query = "?count=2&from=2027-03-27T00:00:00Z") =>
    api.admin.post(`/v1/schedules/preview${query}`, body);

  it("tells of a rule that nobody has, and stores nothing", async () => {
    const before = await api.counts();
    const { body } = await preview({ daily: { time: "02:30", zone: "Europe/Berlin" } }).expect(200);
    expect(body).toMatchObject({
      zone: "Europe/Berlin",
      moments: [{ notes: [] }, { notes: [{ code: "moved_out_of_gap" }] }],
    });
    expect(body.moments[1].local).toBe("2027-03-28T03:30:00+02:00");
    expect(await api.counts()).toEqual(before);
  });

  it("takes everything that a subscription does, with the zone of a user who would have it", async () => {
    const own = await preview({ daily: { time: "07:00" }, zone: "Asia/Tokyo" }).expect(200);
    expect(own.body).toMatchObject({ rule: { follows: "user" }, zone: "Asia/Tokyo" });
    const slot = await preview({ timetable: { place: "mecca", slot: "fajr", offsetsMinutes: [-20, 0] } }).expect(200);
    expect(slot.body.moments).toMatchObject([{ gaveIt: { offsetMinutes: -20 } }, { gaveIt: { offsetMinutes: 0 } }]);
    const monthly = { start: "2026-01-31T09:00", zone: "Europe/Berlin", rrule: "FREQ=MONTHLY;BYMONTHDAY=-1" };
    const recurring = await preview({ recurrence: monthly }).expect(200);
    expect(recurring.body.moments.map(({ local }: { local: string }) => local)).toEqual([
      "2027-03-31T09:00:00+02:00",
      "2027-04-30T09:00:00+02:00",
    ]);
    // an instant that has passed has no moment: that is what was asked
    expect((await preview({ at: "2027-01-01T00:00:00Z" }).expect(200)).body.moments).toEqual([]);
  });

  it.each([
    [{}, 400, "invalid_request", undefined],
    [{ at: "2030-01-01T00:00:00Z", daily: { time: "07:00", zone: "UTC" } }, 400, "invalid_request", undefined],
    [{ userId: "ada", at: "2030-01-01T00:00:00Z" }, 400, "invalid_request", "/userId"],
    [{ daily: { time: "07:00" } }, 422, "user_zone_missing", "/zone"],
    [{ daily: { time: "07:00" }, zone: "Mars/Base" }, 422, "unknown_zone", "/zone"],
    [{ daily: { time: "25:00", zone: "UTC" } }, 422, "malformed_time", "/daily/time"],
    [{ timetable: { place: "atlantis", slot: "fajr" } }, 422, "unknown_place", "/timetable/place"],
    [{ timetable: { place: "berlin", slot: "brunch" } }, 422, "unknown_slot", "/timetable/slot"],
  ])("refuses %j", async (body, status, code, pointer) => {
    const reply = await preview(body).expect(status);
    expect(reply.body.code).toBe(code);
    if (pointer !== undefined) expect(reply.body.errors).toMatchObject([{ pointer }]);
  });
});

describe("GET /v1/users/{id}/explain", () => {
  it("answers with the moments of a day", async () => {
    const at = inSeconds(3600);
    await api.admin.post("/v1/destinations", { name: "push", url: "https://127.0.0.1/x" }).expect(201);
    await api.admin
      .post("/v1/subscriptions", {
        userId: "bob",
        topic: "live",
        at,
        endpoints: [{ destination: "push", address: "device-1" }],
      })
      .expect(201);
    const { body } = await api.admin.get("/v1/users/bob/explain").expect(200);
    expect(body).toMatchObject({ userId: "bob", zone: null, tzdata: process.versions.tz, more: 0, absences: [] });
    expect(body.moments).toMatchObject([
      {
        dueAt: at.replace("Z", ".000Z"),
        topic: "live",
        verdict: "to be sent",
        deliveries: [{ ordinal: 1, channel: "webhook", destination: "push", address: "device-1", state: "to be sent" }],
      },
    ]);
    const later = await api.admin.get(`/v1/users/bob/explain?at=${at}`).expect(200);
    expect(later.body.moments).toEqual([]);
  });

  it("is for admins, of users that there are, at times that are", async () => {
    await api.subscriber.get("/v1/users/ada/explain").expect(403);
    expect((await api.admin.get("/v1/users/nobody/explain").expect(404)).body.code).toBe("unknown_user");
    const { body } = await api.admin.get("/v1/users/ada/explain?at=noon").expect(422);
    expect(body).toMatchObject({ code: "malformed_time", errors: [{ pointer: "?at" }] });
  });
});
