import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { inSeconds, startTestApi, type TestApi } from "./api.ts";

let api: TestApi;
beforeAll(async () => {
  api = await startTestApi();
  const pole = { key: "pole", name: "North Pole", latitude: 90, longitude: 0, zone: "Etc/UTC" };
  await api.admin.post("/v1/places", pole).expect(201);
});
afterAll(() => api[Symbol.asyncDispose]());

const at = "2999-01-01T00:00:00Z";
const ok = { userId: "ok", topic: "live", at };
const daily = { time: "07:00", zone: "Europe/Berlin" };
const timetable = { place: "berlin", slot: "fajr" };

interface BadItem {
  readonly what: string;
  readonly code: string;
  /** from the item */
  readonly pointer: string;
  readonly item: object;
}

const badItems: readonly BadItem[] = [
  { what: "unknown topic", code: "unknown_topic", pointer: "/topic", item: { ...ok, topic: "none" } },
  {
    what: "unknown zone of a rule",
    code: "unknown_zone",
    pointer: "/daily/zone",
    item: { userId: "u", topic: "live", daily: { ...daily, zone: "Europe/Atlantis" } },
  },
  {
    what: "an offset for a zone",
    code: "unknown_zone",
    pointer: "/daily/zone",
    item: { userId: "u", topic: "live", daily: { ...daily, zone: "+02:00" } },
  },
  { what: "unknown zone of a user", code: "unknown_zone", pointer: "/zone", item: { ...ok, zone: "Mars/Olympus" } },
  {
    what: "unknown place",
    code: "unknown_place",
    pointer: "/timetable/place",
    item: { userId: "u", topic: "live", timetable: { ...timetable, place: "atlantis" } },
  },
  {
    what: "unknown place id",
    code: "unknown_place",
    pointer: "/timetable/placeId",
    item: { userId: "u", topic: "live", timetable: { placeId: 2147483647, slot: "fajr" } },
  },
  {
    what: "coordinates far from any place",
    code: "far_from_any_place",
    pointer: "/timetable/coordinates",
    item: { userId: "u", topic: "live", timetable: { coordinates: { latitude: -48, longitude: -123 }, slot: "fajr" } },
  },
  {
    what: "coordinates off the globe",
    code: "invalid_request",
    pointer: "/timetable/coordinates/latitude",
    item: { userId: "u", topic: "live", timetable: { coordinates: { latitude: 90.1, longitude: 0 }, slot: "fajr" } },
  },
  {
    what: "unknown slot",
    code: "unknown_slot",
    pointer: "/timetable/slot",
    item: { userId: "u", topic: "live", timetable: { ...timetable, slot: "brunch" } },
  },
  {
    what: "an offset out of range",
    code: "offset_out_of_range",
    pointer: "/timetable/offsetMinutes",
    item: { userId: "u", topic: "live", timetable: { ...timetable, offsetMinutes: 1441 } },
  },
  {
    what: "half a minute of offset",
    code: "offset_out_of_range",
    pointer: "/timetable/offsetMinutes",
    item: { userId: "u", topic: "live", timetable: { ...timetable, offsetMinutes: 0.5 } },
  },
  {
    what: "a slot that never comes",
    code: "never_occurs",
    pointer: "/timetable/slot",
    item: { userId: "u", topic: "live", timetable: { place: "pole", slot: "fajr" } },
  },
  { what: "a past instant", code: "past_instant", pointer: "/at", item: { ...ok, at: "2020-01-01T00:00:00Z" } },
  { what: "this very moment", code: "past_instant", pointer: "/at", item: { ...ok, at: new Date().toISOString() } },
  { what: "no instant at all", code: "malformed_time", pointer: "/at", item: { ...ok, at: "tomorrow" } },
  {
    what: "an instant without offset",
    code: "malformed_time",
    pointer: "/at",
    item: { ...ok, at: "2999-01-01T00:00:00" },
  },
  {
    what: "a day that does not exist",
    code: "malformed_time",
    pointer: "/at",
    item: { ...ok, at: "2999-02-29T00:00:00Z" },
  },
  {
    what: "a time of day past midnight",
    code: "malformed_time",
    pointer: "/daily/time",
    item: { userId: "u", topic: "live", daily: { ...daily, time: "24:00" } },
  },
  {
    what: "no weekday",
    code: "invalid_request",
    pointer: "/daily/days",
    item: { userId: "u", topic: "live", daily: { ...daily, days: [] } },
  },
  {
    what: "an eighth weekday",
    code: "invalid_request",
    pointer: "/daily/days/1",
    item: { userId: "u", topic: "live", daily: { ...daily, days: [1, 8] } },
  },
  {
    what: "unknown destination",
    code: "unknown_destination",
    pointer: "/endpoints/1/destination",
    item: { ...ok, endpoints: [{ destination: "push" }, { destination: "none" }] },
  },
  {
    what: "an endpoint without destination",
    code: "destination_mismatch",
    pointer: "/endpoints/0/destination",
    item: { ...ok, endpoints: [{ address: "here" }] },
  },
  { what: "an unknown field", code: "invalid_request", pointer: "/when", item: { ...ok, when: "now" } },
  { what: "a field with a slash", code: "invalid_request", pointer: "/a~1b~0c", item: { ...ok, "a/b~c": 1 } },
  { what: "no user", code: "invalid_request", pointer: "/userId", item: { topic: "live", at } },
  { what: "an empty user id", code: "invalid_request", pointer: "/userId", item: { ...ok, userId: "" } },
  { what: "a user id with U+0000", code: "invalid_request", pointer: "/userId", item: { ...ok, userId: "a\u0000b" } },
  { what: "half a surrogate pair", code: "invalid_request", pointer: "/userId", item: { ...ok, userId: "a\ud800" } },
  { what: "a number for a user id", code: "invalid_request", pointer: "/userId", item: { ...ok, userId: 7 } },
  { what: "no when", code: "invalid_request", pointer: "", item: { userId: "u", topic: "live" } },
  { what: "two whens", code: "invalid_request", pointer: "", item: { ...ok, daily } },
  {
    what: "no where",
    code: "invalid_request",
    pointer: "/timetable",
    item: { userId: "u", topic: "live", timetable: { slot: "fajr" } },
  },
  {
    what: "two wheres",
    code: "invalid_request",
    pointer: "/timetable",
    item: { userId: "u", topic: "live", timetable: { ...timetable, placeId: 1 } },
  },
  {
    what: "21 endpoints",
    code: "invalid_request",
    pointer: "/endpoints",
    item: {
      ...ok,
      endpoints: Array.from({ length: 21 }, (_, index) => ({ destination: "push", address: `${index}` })),
    },
  },
];

describe("a subscription that makes no sense", () => {
  beforeAll(async () => {
    await api.admin.post("/v1/destinations", { name: "push", url: "https://push.example.com/" }).expect(201);
  });

  it.each(badItems)("$what: $code at $pointer", async ({ code, pointer, item }) => {
    const before = await api.counts();
    const { body, headers, status } = await api.subscriber.post("/v1/subscriptions", item);
    expect(headers["content-type"]).toMatch(/^application\/problem\+json/);
    expect(body).toMatchObject({ type: `urn:carillon:error:${code}`, code, status, title: expect.any(String) });
    expect(body.errors).toContainEqual({ pointer, code, detail: expect.any(String) });
    expect(body.requestId).toBe(headers["x-request-id"]);
    expect(status).toBe(code === "invalid_request" ? 400 : 422);
    expect(await api.counts()).toEqual(before);
  });

  it.each(badItems)(
    "$what, the third of four: nothing is written of the others either",
    async ({ code, pointer, item }) => {
      const subscriptions = [ok, { ...ok, userId: "other" }, item, { userId: "daily", topic: "live", daily }];
      const before = await api.counts();
      const { body } = await api.subscriber.post("/v1/subscriptions", { subscriptions });
      expect(body.errors).toContainEqual({ pointer: `/subscriptions/2${pointer}`, code, detail: expect.any(String) });
      expect(await api.counts()).toEqual(before);
    },
  );

  it("tells all mistakes of all items at once", async () => {
    const bad = badItems.filter(({ code }) => code !== "invalid_request");
    const { body } = await api.subscriber.post("/v1/subscriptions", { subscriptions: bad.map(({ item }) => item) });
    expect(body.errors.map(({ code, pointer }: Record<string, string>) => ({ code, pointer }))).toEqual(
      bad.map(({ code, pointer }, index) => ({ code, pointer: `/subscriptions/${index}${pointer}` })),
    );
  });

  it("refuses more endpoints than a user can have, and writes nothing of the request", async () => {
    const endpoints = (from: number) =>
      Array.from({ length: 15 }, (_, index) => ({ destination: "push", address: `${from + index}` }));
    await api.subscriber.post("/v1/subscriptions", { ...ok, userId: "rich", endpoints: endpoints(0) }).expect(201);
    const counted = await api.counts();
    const more = { ...ok, userId: "rich", at: inSeconds(100), endpoints: endpoints(15) };
    const { body } = await api.subscriber.post("/v1/subscriptions", more).expect(422);
    expect(body).toMatchObject({ code: "too_many_endpoints", errors: expect.any(Array) });
    expect(body.errors[0].pointer).toBe("/endpoints/5");
    expect(await api.counts()).toEqual(counted);
  });

  it("refuses more than 1,000 items for what they are", async () => {
    const before = await api.counts();
    const subscriptions = Array.from({ length: 1001 }, () => ({ nonsense: true }));
    const { body } = await api.subscriber.post("/v1/subscriptions", { subscriptions }).expect(413);
    expect(body).toMatchObject({ code: "too_many_items", errors: [{ pointer: "/subscriptions" }] });
    await api.subscriber.post("/v1/subscriptions", { subscriptions: [] }).expect(400);
    expect(await api.counts()).toEqual(before);
  });
});

describe("a body that is none", () => {
  it.each([
    { what: "broken JSON", send: "{", code: "malformed_json", status: 400 },
    { what: "a bare word", send: '"hello"', code: "malformed_json", status: 400 },
    { what: "an array", send: "[]", code: "invalid_request", status: 400 },
    { what: "nothing", send: "", code: "invalid_request", status: 400 },
    { what: "three megabytes", send: JSON.stringify({ data: "x".repeat(3e6) }), code: "body_too_large", status: 413 },
  ])("$what: $code", async ({ send, code, status }) => {
    const { body } = await api.admin.post("/v1/topics", send).expect(status);
    expect(body.code).toBe(code);
  });

  it.each(["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/jsonp", ""])(
    "sent as %j: unsupported_media_type",
    async (contentType) => {
      const before = await api.counts();
      const { body } = await api.admin
        .post("/v1/topics", JSON.stringify({ name: "sneaky" }))
        .set("content-type", contentType)
        .expect(415);
      expect(body.code).toBe("unsupported_media_type");
      expect(await api.counts()).toEqual(before);
    },
  );

  it("in a charset that isn't UTF-8, or an encoding that nobody knows: unsupported_media_type", async () => {
    const topic = JSON.stringify({ name: "sneaky" });
    for (const header of [{ "content-type": "application/json; charset=latin1" }, { "content-encoding": "lzma" }]) {
      const { body } = await api.admin.post("/v1/topics", topic).set(header).expect(415);
      expect(body.code).toBe("unsupported_media_type");
    }
  });
});

describe("what admins get wrong", () => {
  const url = "https://push.example.com/";
  it.each([
    {
      what: "a group count of 1",
      path: "topics",
      body: { name: "t", groupCount: 1 },
      code: "group_count_too_small",
      pointer: "/groupCount",
    },
    {
      what: "a negative group count",
      path: "topics",
      body: { name: "t", groupCount: -3 },
      code: "group_count_too_small",
      pointer: "/groupCount",
    },
    {
      what: "half a group",
      path: "topics",
      body: { name: "t", groupCount: 2.5 },
      code: "invalid_request",
      pointer: "/groupCount",
    },
    { what: "a topic's name taken", path: "topics", body: { name: "live" }, code: "name_taken", pointer: "/name" },
    { what: "a name with a slash", path: "topics", body: { name: "a/b" }, code: "invalid_request", pointer: "/name" },
    {
      what: "data with U+0000",
      path: "topics",
      body: { name: "t", data: { a: ["\u0000"] } },
      code: "invalid_request",
      pointer: "/data",
    },
    {
      what: "data without end",
      path: "topics",
      body: { name: "t", data: JSON.parse("[".repeat(40) + "]".repeat(40)) },
      code: "invalid_request",
      pointer: "/data",
    },
    {
      what: "a place in no zone",
      path: "places",
      body: { key: "x", name: "X", latitude: 0, longitude: 0, zone: "X/Y" },
      code: "unknown_zone",
      pointer: "/zone",
    },
    {
      what: "a place without its timetable",
      path: "places",
      body: { key: "x", name: "X", latitude: 0, longitude: 0, zone: "UTC", timetable: "none" },
      code: "unknown_timetable",
      pointer: "/timetable",
    },
    {
      what: "a place's key twice",
      path: "places",
      body: {
        places: [
          { key: "x", name: "X", latitude: 0, longitude: 0, zone: "UTC" },
          { key: "x", name: "X", latitude: 0, longitude: 0, zone: "UTC" },
        ],
      },
      code: "invalid_request",
      pointer: "/places/1/key",
    },
    {
      what: "an unknown calculation",
      path: "timetables",
      body: { name: "t", kind: "prayer", parameters: { method: "Guess" } },
      code: "invalid_request",
      pointer: "/parameters/method",
    },
    {
      what: "a destination inside",
      path: "destinations",
      body: { name: "d", url: "https://10.0.0.1/" },
      code: "hostile_url",
      pointer: "/url",
    },
    {
      what: "a destination at the cloud's metadata",
      path: "destinations",
      body: { name: "d", url: "http://169.254.169.254/latest" },
      code: "hostile_url",
      pointer: "/url",
    },
    {
      what: "a destination with a password",
      path: "destinations",
      body: { name: "d", url: "https://a:b@example.com/" },
      code: "hostile_url",
      pointer: "/url",
    },
    {
      what: "a destination that is a file",
      path: "destinations",
      body: { name: "d", url: "file:///etc/passwd" },
      code: "hostile_url",
      pointer: "/url",
    },
    {
      what: "a batch of 501",
      path: "destinations",
      body: { name: "d", url, batchSize: 501 },
      code: "invalid_request",
      pointer: "/batchSize",
    },
    {
      what: "a secret that is none",
      path: "destinations",
      body: { name: "d", url, secret: "whsec_short" },
      code: "invalid_request",
      pointer: "/secret",
    },
  ])("$what: $code at $pointer", async ({ path, body: sent, code, pointer }) => {
    const counted = await api.counts();
    const { body } = await api.admin.post(`/v1/${path}`, sent);
    expect(body).toMatchObject({ code, errors: [{ pointer, code }] });
    expect(await api.counts()).toEqual(counted);
  });
});

describe("an address that leads nowhere", () => {
  it.each([
    ["get", "/v1/nothing", 404, "not_found"],
    ["get", "/nothing", 404, "not_found"],
    ["get", "/v1/topics/none", 404, "not_found"],
    ["get", "/v1/topics/%E0%A4%A", 400, "invalid_request"],
    ["get", "/v1/users/none", 404, "unknown_user"],
    ["get", "/v1/users/a%00b", 400, "invalid_request"],
    ["get", "/v1/schedules/99", 404, "unknown_schedule"],
    ["get", "/v1/schedules/x", 400, "invalid_request"],
    ["get", "/v1/buckets/99", 404, "unknown_bucket"],
    ["post", "/v1/buckets/99/cancel", 404, "unknown_bucket"],
    ["get", "/v1/topics?limit=0", 400, "invalid_request"],
    ["get", "/v1/topics?limit=1&limit=2", 400, "invalid_request"],
    ["get", "/v1/topics?colour=red", 400, "invalid_request"],
    ["get", "/v1/places/nearest?latitude=0x10&longitude=0", 400, "invalid_request"],
    ["get", "/v1/places/nearest?latitude=-48&longitude=-123", 422, "far_from_any_place"],
    ["delete", "/v1/users/none/endpoints/1", 404, "unknown_user"],
  ] as const)("%s %s: %i %s", async (method, path, status, code) => {
    const { body } = await api.admin[method](path).expect(status);
    expect(body).toMatchObject({ code, status });
  });

  it("says which methods a path has", async () => {
    const { body, headers } = await api.admin.delete("/v1/topics/live").expect(405);
    expect(body.code).toBe("method_not_allowed");
    expect(headers.allow).toBe("GET, PATCH, HEAD");
  });
});
