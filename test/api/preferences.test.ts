import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { inSeconds, startTestApi, type TestApi } from "./api.ts";

let api: TestApi;
beforeAll(async () => {
  api = await startTestApi();
  await api.admin.put("/v1/users/ada", { zone: "Europe/Berlin" }).expect(201);
  await api.admin.put("/v1/users/bob", {}).expect(201);
});
afterAll(() => api[Symbol.asyncDispose]());

const none = { preferences: [], quietHours: [] };

describe("a user's preferences", () => {
  const path = "/v1/users/ada/preferences";

  it("are none at first, and replaced as a whole", async () => {
    expect((await api.subscriber.get(path).expect(200)).body).toEqual(none);
    const wanted = {
      preferences: [
        { topic: null, channel: "fcm", allowed: false },
        { topic: "live", channel: null, allowed: false },
        { topic: "live", channel: "webhook", allowed: true },
      ],
      quietHours: [
        { topic: null, from: "22:00", to: "07:00" },
        { topic: "live", from: "12:30:30", to: "13:00" },
      ],
    };
    expect((await api.subscriber.put(path, wanted).expect(200)).body).toEqual(wanted);
    expect((await api.subscriber.get(path).expect(200)).body).toEqual(wanted);
    const short = { preferences: [{ topic: "live", allowed: false }] };
    expect((await api.subscriber.put(path, short).expect(200)).body).toEqual({
      preferences: [{ topic: "live", channel: null, allowed: false }],
      quietHours: [],
    });
    expect((await api.subscriber.put(path, {}).expect(200)).body).toEqual(none);
  });

  it.each([
    [{ preferences: [{ topic: "atlantis", allowed: false }] }, 422, "unknown_topic", "/preferences/0/topic"],
    [{ quietHours: [{ topic: "atlantis", from: "22:00", to: "07:00" }] }, 422, "unknown_topic", "/quietHours/0/topic"],
    [
      { preferences: [{ topic: "live", channel: "pigeon", allowed: false }] },
      400,
      "invalid_request",
      "/preferences/0/channel",
    ],
    [{ preferences: [{ topic: "live" }] }, 400, "invalid_request", "/preferences/0/allowed"],
    [{ preferences: [{ allowed: false }, { topic: null, allowed: true }] }, 400, "invalid_request", "/preferences"],
    [{ quietHours: [{ from: "24:00", to: "07:00" }] }, 400, "invalid_request", "/quietHours/0/from"],
    [{ quietHours: [{ from: "22:00", to: "7:00" }] }, 400, "invalid_request", "/quietHours/0/to"],
    [{ quietHours: [{ from: "22:00", to: "22:00:00" }] }, 400, "invalid_request", "/quietHours/0"],
    [{ quiet: [] }, 400, "invalid_request", "/quiet"],
  ])("refuse %j, and stay as they are", async (body, status, code, pointer) => {
    const refused = await api.subscriber.put(path, body).expect(status);
    expect(refused.body).toMatchObject({ code, errors: [{ pointer }] });
    expect((await api.subscriber.get(path).expect(200)).body).toEqual(none);
  });

  it("need a zone for quiet hours, and a user", async () => {
    const quietHours = [{ from: "22:00", to: "07:00" }];
    const { body } = await api.subscriber.put("/v1/users/bob/preferences", { quietHours }).expect(422);
    expect(body).toMatchObject({ code: "user_zone_missing", errors: [{ pointer: "/quietHours" }] });
    expect((await api.subscriber.put("/v1/users/nobody/preferences", {}).expect(404)).body.code).toBe("unknown_user");
    expect((await api.subscriber.get("/v1/users/nobody/preferences").expect(404)).body.code).toBe("unknown_user");
  });

  it("that are sent at the same time stand one or the other, whole", async () => {
    const one = { preferences: [{ topic: "live", channel: null, allowed: false }], quietHours: [] };
    const other = { preferences: [], quietHours: [{ topic: null, from: "22:00", to: "07:00" }] };
    await Promise.all([1, 2, 3].flatMap(() => [api.subscriber.put(path, one), api.subscriber.put(path, other)]));
    expect([one, other]).toContainEqual((await api.subscriber.get(path).expect(200)).body);
  });
});

describe("the suppression list", () => {
  it("takes many, shows them in pages, and lets go of one", async () => {
    const until = inSeconds(3600);
    const suppressions = [
      { userId: "ada", reason: "bounced", until },
      { userId: "not yet a user", reason: "legal" },
      { userId: "carl", reason: "abuse" },
    ];
    expect((await api.admin.post("/v1/suppressions", { suppressions }).expect(200)).body).toEqual({ added: 3 });
    const again = [{ userId: "carl", reason: "legal" }];
    expect((await api.admin.post("/v1/suppressions", { suppressions: again }).expect(200)).body).toEqual({ added: 0 });
    const first = (await api.admin.get("/v1/suppressions?limit=2").expect(200)).body;
    expect(first.suppressions).toMatchObject([
      { userId: "ada", reason: "bounced", until: new Date(until).toISOString() },
      { userId: "carl", reason: "legal", until: null },
    ]);
    const cursor = encodeURIComponent(first.nextCursor);
    expect((await api.admin.get(`/v1/suppressions?cursor=${cursor}`).expect(200)).body).toMatchObject({
      suppressions: [{ userId: "not yet a user" }],
      nextCursor: null,
    });
    expect((await api.admin.delete("/v1/suppressions/carl").expect(200)).body).toEqual({ removed: true });
    expect((await api.admin.delete("/v1/suppressions/carl").expect(200)).body).toEqual({ removed: false });
  });

  it.each([
    [{ suppressions: [] }, 400, "invalid_request", "/suppressions"],
    [{ suppressions: [{ userId: "ada" }] }, 400, "invalid_request", "/suppressions/0/reason"],
    [{ suppressions: [{ userId: "", reason: "legal" }] }, 400, "invalid_request", "/suppressions/0/userId"],
    [
      { suppressions: [{ userId: "a", reason: "legal", until: "noon" }] },
      422,
      "malformed_time",
      "/suppressions/0/until",
    ],
  ])("refuses %j", async (body, status, code, pointer) => {
    const refused = await api.admin.post("/v1/suppressions", body).expect(status);
    expect(refused.body).toMatchObject({ code, errors: [{ pointer }] });
  });

  it("is for admins", async () => {
    await api.subscriber.get("/v1/suppressions").expect(403);
    await api.subscriber.post("/v1/suppressions", { suppressions: [{ userId: "a", reason: "b" }] }).expect(403);
    await api.subscriber.delete("/v1/suppressions/ada").expect(403);
  });
});

it("a topic says whether it ignores quiet hours", async () => {
  expect((await api.admin.get("/v1/topics/live").expect(200)).body.ignoresQuietHours).toBe(false);
  const { body } = await api.admin.patch("/v1/topics/live", { ignoresQuietHours: true }).expect(200);
  expect(body.ignoresQuietHours).toBe(true);
});
