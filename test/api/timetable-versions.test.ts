import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { planDue } from "../../src/planner/plan.ts";
import { minuteIn, seedTable, tableWith } from "../support/tables.ts";
import { startTestApi, type TestApi } from "./api.ts";

let api: TestApi;
beforeAll(async () => {
  api = await startTestApi();
});
afterAll(() => api[Symbol.asyncDispose]());

const prayer = (fajr: number) => ({ adjustments: { fajr } });
let named = 0;
async function timetable(): Promise<string> {
  named += 1;
  const name = `t${named}`;
  await api.admin.post("/v1/timetables", { name, kind: "prayer" }).expect(201);
  return `/v1/timetables/${name}`;
}
const listed = async (path: string) => {
  const { body } = await api.admin.get(`${path}/versions`).expect(200);
  return body.versions.map((each: { version: number; effectiveFrom: string | null }) => [
    each.version,
    each.effectiveFrom,
  ]);
};

describe("versions of a timetable", () => {
  it("are made, listed, read, corrected and removed; each reply has the diff", async () => {
    const path = await timetable();
    const made = await api.admin
      .post(`${path}/versions`, { effectiveFrom: "2030-01-01", parameters: prayer(3), note: "winter" })
      .expect(201);
    const empty = { moments: [], more: false, claimed: 0 };
    expect(made.body).toMatchObject({
      version: 2,
      effectiveFrom: "2030-01-01",
      kind: "prayer",
      parameters: prayer(3),
      note: "winter",
      dryRun: false,
      removed: false,
      diff: empty,
    });
    expect(await listed(path)).toEqual([
      [1, null],
      [2, "2030-01-01"],
    ]);
    const { removed: _, dryRun: __, diff: ___, ...stored } = made.body;
    expect((await api.admin.get(`${path}/versions/2`).expect(200)).body).toEqual(stored);
    const put = await api.admin
      .put(`${path}/versions/2`, { effectiveFrom: "2030-02-01", parameters: prayer(4) })
      .expect(200);
    expect(put.body).toMatchObject({ version: 2, effectiveFrom: "2030-02-01", note: "winter", parameters: prayer(4) });
    // put again, and without what stays
    await api.admin.put(`${path}/versions/2`, { parameters: prayer(4), note: null }).expect(200);
    expect((await api.admin.get(`${path}/versions/2`)).body).toMatchObject({ effectiveFrom: "2030-02-01", note: null });
    expect((await api.admin.get(path).expect(200)).body).toMatchObject({ version: 1, effectiveFrom: null });
    const gone = await api.admin.delete(`${path}/versions/2`).expect(200);
    expect(gone.body).toMatchObject({ version: 2, removed: true, diff: empty });
    expect(await listed(path)).toEqual([[1, null]]);
    await api.admin.get(`${path}/versions/2`).expect(404);
  });

  it("say in a dry run what they would do, and do nothing", async () => {
    const path = await timetable();
    const parameters = prayer(5);
    await api.admin.post(`${path}/versions`, { effectiveFrom: "2030-01-01", parameters }).expect(201);
    const before = [await listed(path), (await api.admin.get(path)).body];
    const made = await api.admin.post(`${path}/versions?dryRun=true`, { effectiveFrom: "2031-01-01", parameters });
    expect(made).toMatchObject({ status: 200, body: { version: 3, dryRun: true, effectiveFrom: "2031-01-01" } });
    for (const reply of [
      await api.admin.put(`${path}/versions/2?dryRun=true`, { effectiveFrom: "2032-01-01", parameters }),
      await api.admin.delete(`${path}/versions/2?dryRun=true`),
      await api.admin.patch(`${path}?dryRun=true`, { parameters }),
    ]) {
      expect(reply).toMatchObject({ status: 200, body: { dryRun: true, diff: { moments: [] } } });
    }
    expect([await listed(path), (await api.admin.get(path)).body]).toEqual(before);
  });

  it("tell which moments move, for how many people", async () => {
    const { test } = api;
    const [from, to] = [minuteIn(20), minuteIn(26)];
    const { keys } = await seedTable(test.database, {
      name: "city",
      topic: "live",
      dueAtMs: { opens: from },
      users: 4,
    });
    await planDue(test.database, { horizonMs: 3_600_000, leadMs: 1000 }, new AbortController().signal);
    const { body } = await api.admin.patch("/v1/timetables/city", { parameters: tableWith({ opens: to }) }).expect(200);
    expect(body.diff).toEqual({
      moments: [
        {
          change: "moves",
          topic: "live",
          scheduleId: expect.any(String),
          place: { placeId: expect.any(Number), key: keys[0], name: keys[0] },
          slot: "opens",
          localDate: new Date(from).toISOString().slice(0, 10),
          people: 4,
          from: new Date(from).toISOString(),
          to: new Date(to).toISOString(),
        },
      ],
      more: false,
      claimed: 0,
    });
  });

  const version = (effectiveFrom: unknown, parameters: unknown = {}) => ({ effectiveFrom, parameters });
  it.each<[string, "post" | "put" | "delete", string, object | undefined, number, string, string | undefined]>([
    ["the same date", "post", "/versions", version("2030-01-01"), 409, "version_overlaps", "/effectiveFrom"],
    ["since ever twice", "post", "/versions", { parameters: {} }, 409, "version_overlaps", "/effectiveFrom"],
    ["a hole", "put", "/versions/1", version("2029-01-01"), 409, "timetable_hole", "/effectiveFrom"],
    ["the last one gone", "delete", "/versions/1", undefined, 409, "timetable_hole", undefined],
    ["no such version", "delete", "/versions/7", undefined, 404, "unknown_version", undefined],
    ["no such number", "delete", "/versions/x", undefined, 400, "invalid_request", ":version"],
    ["an impossible date", "post", "/versions", version("2030-02-30"), 422, "malformed_time", "/effectiveFrom"],
    ["no date", "post", "/versions", version("tomorrow"), 422, "malformed_time", "/effectiveFrom"],
    ["no text", "post", "/versions", version(20300101), 400, "invalid_request", "/effectiveFrom"],
    [
      "parameters of no kind",
      "post",
      "/versions",
      version("2031-01-01", { method: "Mars" }),
      400,
      "invalid_request",
      "/parameters/method",
    ],
    ["no parameters", "post", "/versions", { effectiveFrom: "2031-01-01" }, 400, "invalid_request", "/parameters"],
    [
      "an unknown field",
      "post",
      "/versions",
      { ...version("2031-01-01"), kind: "sun" },
      400,
      "invalid_request",
      "/kind",
    ],
    [
      "a dry run of another kind",
      "post",
      "/versions?dryRun=yes",
      version("2031-01-01"),
      400,
      "invalid_request",
      "?dryRun",
    ],
  ])("are refused for %s, and nothing has changed", async (_, method, below, body, status, code, pointer) => {
    const path = await timetable();
    await api.admin.post(`${path}/versions`, version("2030-01-01")).expect(201);
    const before = await listed(path);
    const reply = await api.admin[method](`${path}${below}`, body);
    expect(reply).toMatchObject({ status, body: { code } });
    if (pointer !== undefined) expect(reply.body.errors).toMatchObject([{ pointer }]);
    expect(await listed(path)).toEqual(before);
  });

  it("are an admin's, and a timetable's", async () => {
    const path = await timetable();
    await api.subscriber.get(`${path}/versions`).expect(403);
    await api.subscriber.delete(`${path}/versions/1`).expect(403);
    await api.admin.get("/v1/timetables/none/versions").expect(404);
    await api.admin.post("/v1/timetables/none/versions", version("2030-01-01")).expect(404);
  });
});
