import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startTestApi, type TestApi } from "./api.ts";

let api: TestApi;
beforeAll(async () => {
  api = await startTestApi();
  await api.admin.post("/v1/destinations", { name: "push", url: "https://push.example.com/" }).expect(201);
});
afterAll(() => api[Symbol.asyncDispose]());

const paths = [
  "/v1/topics",
  "/v1/places",
  "/v1/timetables",
  "/v1/destinations",
  "/v1/subscriptions",
  "/v1/endpoints",
  "/v1/users/ada/endpoints",
] as const;

/** Values that look right from afar, so that garbage gets past the first check. */
const nearly = fc.oneof(
  fc.constantFrom<unknown>("live", "berlin", "push", "fajr", "UTC", "Europe/Berlin", "07:00", "2999-01-01T00:00:00Z"),
  fc.constantFrom<unknown>(0, -1, 1, 2, 1e308, 2147483648, 0.1, null, "", "\u0000", "\ud800", "\u202e", [], {}, true),
  fc.constantFrom<unknown>({ time: "07:00", zone: "UTC" }, { place: "berlin", slot: "asr" }, [{ destination: "push" }]),
  fc.constantFrom<unknown>("9999-12-31T23:59:59Z", "9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59"),
  fc.string({ unit: "binary" }),
  fc.jsonValue(),
);
const keys = fc.constantFrom(
  ..."userId topic at daily timetable zone locale endpoints destination address name title body data groupCount".split(
    " ",
  ),
  ..."key latitude longitude country population kind parameters url batchSize secret places subscriptions".split(" "),
  ..."__proto__ constructor time days gap overlap slot offsetMinutes coordinates placeId expiresAfterMs".split(" "),
);
const objects = fc.dictionary(keys, fc.oneof({ depthSize: "small" }, nearly, fc.dictionary(keys, nearly)), {
  maxKeys: 8,
});
/** A body that is right but for one field. */
const almostRight = fc
  .tuple(
    fc.constantFrom<object>(
      { userId: "ada", topic: "live", at: "2999-01-01T00:00:00Z" },
      { userId: "ada", topic: "live", daily: { time: "07:00", zone: "UTC" } },
      { userId: "ada", topic: "live", timetable: { place: "berlin", slot: "asr" } },
      { name: "any", url: "https://example.com/" },
      { key: "any", name: "Any", latitude: 1, longitude: 1, zone: "UTC" },
      { name: "any", kind: "prayer" },
      { destination: "push" },
    ),
    keys,
    nearly,
  )
  .map(([right, key, value]) => ({ ...right, [key]: value }));

describe("whatever is sent", () => {
  it("is never answered with a 5xx", async () => {
    const body = fc.oneof(
      almostRight,
      objects,
      almostRight.map((item) => ({ subscriptions: [item] })),
      fc.jsonValue(),
    );
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...paths), body, async (path, sent) => {
        const { status, body: answer } = await api.admin.post(path, JSON.stringify(sent));
        expect(status, JSON.stringify({ path, sent, answer })).toBeLessThan(500);
        if (status >= 400) expect(answer).toMatchObject({ status, code: expect.any(String) });
      }),
      { numRuns: 1500 },
    );
  });

  it("in an address, neither", async () => {
    const segment = fc.oneof(
      fc.string({ unit: "binary", maxLength: 40 }),
      fc.constantFrom("1-1", "9".repeat(30), "live"),
    );
    const resource = fc.constantFrom(
      "topics",
      "places",
      "users",
      "subscriptions",
      "schedules",
      "buckets",
      "destinations",
      "event-listeners",
    );
    await fc.assert(
      fc.asyncProperty(resource, segment, fc.string({ maxLength: 10 }), async (name, given, query) => {
        const wellFormed = given.toWellFormed();
        const path = `/v1/${name}/${encodeURIComponent(wellFormed)}?cursor=${encodeURIComponent(query)}`;
        const { status } = await api.admin.get(path);
        expect(status, path).toBeLessThan(500);
      }),
      { numRuns: 500 },
    );
  });
});
