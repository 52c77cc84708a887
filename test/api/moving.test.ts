import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { berlin, mecca, startTestApi, type TestApi } from "./api.ts";

let api: TestApi;
beforeAll(async () => {
  api = await startTestApi();
  const pole = { key: "pole", name: "North Pole", latitude: 90, longitude: 0, zone: "Etc/UTC" };
  await api.admin.post("/v1/places", pole).expect(201);
});
afterAll(() => api[Symbol.asyncDispose]());

const fajr = { place: "berlin", slot: "fajr", offsetsMinutes: [-20, 0] };
const berlinShown = { key: "berlin", zone: berlin.zone };
const meccaShown = { key: "mecca", zone: mecca.zone };

async function subscribed(userId: string, when: object): Promise<{ id: string; [field: string]: unknown }> {
  const { body } = await api.subscriber.post("/v1/subscriptions", { userId, topic: "live", ...when }).expect(201);
  return body;
}

describe("PATCH /v1/subscriptions/{id}", () => {
  it.each([
    ["its key", async () => ({ place: "mecca" })],
    ["its id", async () => ({ placeId: (await api.subscriber.get("/v1/places/mecca")).body.placeId })],
    ["coordinates near it", async () => ({ coordinates: { latitude: 21.5, longitude: 39.7 } })],
  ])("moves to a place by %s, and answers the same when asked again", async (what, where) => {
    const old = await subscribed(`one by ${what}`, { timetable: fajr });
    const { body } = await api.subscriber.patch(`/v1/subscriptions/${old.id}`, await where()).expect(200);
    expect(body).toMatchObject({
      topic: "live",
      place: meccaShown,
      rule: { kind: "timetable", slot: "fajr", offsetsMinutes: [-20, 0] },
      endedAt: null,
      nextDueAt: expect.any(String),
      left: { id: old.id, place: berlinShown },
    });
    const again = await api.subscriber.patch(`/v1/subscriptions/${old.id}`, await where()).expect(200);
    expect(again.body).toEqual(body);
    const gone = await api.subscriber.get(`/v1/subscriptions/${old.id}`).expect(200);
    expect(gone.body).toMatchObject({ movedTo: body.id, nextDueAt: null });
    const now = await api.subscriber.get(`/v1/subscriptions/${body.id}`).expect(200);
    expect({ ...now.body, left: body.left }).toEqual(body);
  });

  it.each<[string, object, number, string, string]>([
    ["an unknown place", { place: "atlantis" }, 422, "unknown_place", "/place"],
    ["an unknown place id", { placeId: 2_147_483_647 }, 422, "unknown_place", "/placeId"],
    ["nowhere", { coordinates: { latitude: -48, longitude: -123 } }, 422, "far_from_any_place", "/coordinates"],
    ["off the globe", { coordinates: { latitude: 91, longitude: 0 } }, 400, "invalid_request", "/coordinates/latitude"],
    ["two places", { place: "mecca", placeId: 1 }, 400, "invalid_request", ""],
    ["no place", {}, 400, "invalid_request", ""],
    ["another slot", { place: "mecca", slot: "isha" }, 400, "invalid_request", "/slot"],
    ["where it never comes", { place: "pole" }, 422, "never_occurs", "/place"],
  ])("refuses %s and changes nothing", async (what, patch, status, code, pointer) => {
    const { id } = await subscribed(`not to ${what}`, { timetable: fajr });
    const [before, counted] = [await api.subscriber.get(`/v1/subscriptions/${id}`), await api.counts()];
    const { body } = await api.subscriber.patch(`/v1/subscriptions/${id}`, patch).expect(status);
    expect(body).toMatchObject({ code, errors: [{ code, pointer }] });
    expect(await api.counts()).toEqual(counted);
    expect((await api.subscriber.get(`/v1/subscriptions/${id}`)).body).toEqual(before.body);
  });

  it("refuses what has ended, what has no place, and what is not there", async () => {
    const ended = await subscribed("ended", { timetable: fajr });
    await api.subscriber.delete(`/v1/subscriptions/${ended.id}`).expect(200);
    const to = { place: "mecca" };
    expect((await api.subscriber.patch(`/v1/subscriptions/${ended.id}`, to).expect(409)).body.code).toBe(
      "subscription_ended",
    );
    const daily = await subscribed("daily", { daily: { time: "07:30", zone: "UTC" } });
    expect((await api.subscriber.patch(`/v1/subscriptions/${daily.id}`, to).expect(422)).body).toMatchObject({
      code: "subscription_has_no_place",
      errors: [{ pointer: "/place" }],
    });
    expect((await api.subscriber.patch("/v1/subscriptions/999-1", to).expect(404)).body.code).toBe(
      "unknown_subscription",
    );
  });
});

describe("PATCH /v1/users/{id}", () => {
  it("moves the user with all that depends on where they are", async () => {
    const timetable = await subscribed("mover", { timetable: fajr, zone: "Europe/Berlin" });
    const own = await subscribed("mover", { daily: { time: "07:30" } });
    const fixed = await subscribed("mover", { daily: { time: "07:30", zone: "Europe/Berlin" } });
    const { body } = await api.subscriber.patch("/v1/users/mover", { place: "mecca", locale: "ar" }).expect(200);
    expect(body).toMatchObject({ userId: "mover", zone: "Asia/Riyadh", locale: "ar" });
    expect(body.subscriptions).toHaveLength(2);
    expect(body.subscriptions).toEqual(
      expect.arrayContaining([
        expect.objectContaining({
          place: expect.objectContaining(meccaShown),
          nextDueAt: expect.any(String),
          left: expect.objectContaining({ id: timetable.id, place: expect.objectContaining(berlinShown) }),
        }),
        expect.objectContaining({
          rule: expect.objectContaining({ zone: "Asia/Riyadh", follows: "user" }),
          left: { id: own.id, zone: "Europe/Berlin" },
        }),
      ]),
    );
    expect((await api.subscriber.get(`/v1/subscriptions/${fixed.id}`)).body.endedAt).toBeNull();
    // and by PUT, back to a zone: what is at a place stays there
    const put = await api.subscriber.put("/v1/users/mover", { zone: "europe/berlin" }).expect(200);
    expect(put.body).toMatchObject({ zone: "Europe/Berlin", locale: null });
    const moved = put.body.subscriptions.map(({ left }: { left: object | null }) => left);
    expect(moved).toEqual(expect.arrayContaining([null, expect.objectContaining({ zone: "Asia/Riyadh" })]));
  });

  it("keeps what is left out, and takes away what is null", async () => {
    await api.subscriber.put("/v1/users/eve", { zone: "UTC", locale: "en" }).expect(201);
    const patched = async (patch: object) => (await api.subscriber.patch("/v1/users/eve", patch).expect(200)).body;
    expect(await patched({})).toMatchObject({ zone: "UTC", locale: "en", subscriptions: [] });
    expect(await patched({ locale: null })).toMatchObject({ zone: "UTC", locale: null });
    expect(await patched({ zone: "asia/tokyo", place: "mecca" })).toMatchObject({ zone: "Asia/Tokyo" });
    expect(await patched({ zone: null })).toMatchObject({ zone: null });
  });

  it.each<[string, object, number, string, string]>([
    ["an unknown zone", { zone: "Mars/Olympus" }, 422, "unknown_zone", "/zone"],
    ["an unknown place", { place: "atlantis" }, 422, "unknown_place", "/place"],
    ["nowhere", { coordinates: { latitude: -48, longitude: -123 } }, 422, "far_from_any_place", "/coordinates"],
    ["two places", { place: "mecca", placeId: 1 }, 400, "invalid_request", ""],
    ["a place where something never comes", { place: "pole" }, 422, "never_occurs", "/place"],
    ["an unknown field", { slot: "fajr" }, 400, "invalid_request", "/slot"],
  ])("refuses %s and changes nothing", async (what, patch, status, code, pointer) => {
    const userId = `stays for ${what}`;
    const kept = await subscribed(userId, { timetable: fajr, zone: "Europe/Berlin" });
    const own = await subscribed(userId, { daily: { time: "07:30" } });
    const before = await api.subscriber.get(`/v1/users/${userId}`);
    const counted = await api.counts();
    const { body } = await api.subscriber.patch(`/v1/users/${userId}`, { locale: "xx", ...patch }).expect(status);
    expect(body).toMatchObject({ code, errors: [{ code, pointer }] });
    expect(await api.counts()).toEqual(counted);
    expect((await api.subscriber.get(`/v1/users/${userId}`)).body).toEqual(before.body);
    for (const { id } of [kept, own])
      expect((await api.subscriber.get(`/v1/subscriptions/${id}`)).body.endedAt).toBeNull();
  });

  it("does not make users", async () => {
    expect((await api.subscriber.patch("/v1/users/nobody", { zone: "UTC" }).expect(404)).body.code).toBe(
      "unknown_user",
    );
  });
});

describe("a topic's oncePerLocalDay", () => {
  it("is null, true or false", async () => {
    const { body } = await api.admin.post("/v1/topics", { name: "once", oncePerLocalDay: true }).expect(201);
    expect(body.oncePerLocalDay).toBe(true);
    const patched = await api.admin.patch("/v1/topics/once", { oncePerLocalDay: null }).expect(200);
    expect(patched.body.oncePerLocalDay).toBeNull();
    await api.admin.patch("/v1/topics/once", { oncePerLocalDay: "yes" }).expect(400);
  });
});
