import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startTestApi, type TestApi } from "./api.ts";

let api: TestApi;
beforeAll(async () => {
  api = await startTestApi();
});
afterAll(() => api[Symbol.asyncDispose]());

const recurrence = { start: "2026-01-05T09:00:00", zone: "Europe/Berlin", rrule: "FREQ=WEEKLY;BYDAY=MO,TH" };
let users = 0;
function freshUser(): string {
  users += 1;
  return `user ${users}`;
}
const post = (when: object, userId = freshUser()) =>
  api.subscriber.post("/v1/subscriptions", { userId, topic: "live", ...when });

describe("a recurrence", () => {
  it("is answered with its canonical rule and its next moment", async () => {
    const { body } = await post({ recurrence }).expect(201);
    expect(body.rule).toEqual({
      kind: "recurrence",
      ...recurrence,
      rdates: [],
      exdates: [],
      gap: "shift",
      overlap: "first",
      offsetsMinutes: [0],
    });
    const shown = new Intl.DateTimeFormat("en-GB", {
      timeZone: "Europe/Berlin",
      weekday: "short",
      hour: "2-digit",
      minute: "2-digit",
    }).format(new Date(body.nextDueAt));
    expect(["Mon 09:00", "Thu 09:00"]).toContain(shown.replace(",", ""));
    expect(new Date(body.nextDueAt).getTime()).toBeGreaterThan(Date.now());
    const read = await api.subscriber.get(`/v1/subscriptions/${body.id}`).expect(200);
    expect(read.body).toEqual(body);
  });

  it("shares the schedule with who spells it otherwise", async () => {
    const first = await post({ recurrence: { ...recurrence, exdates: ["2027-01-04T09:00", "2026-12-31T09:00:00"] } });
    const second = await post({
      recurrence: {
        start: "2026-01-05T09:00",
        zone: "europe/berlin",
        rrule: "rrule:wkst=mo;byday=TH,mo,MO;interval=1;Freq=weekly",
        exdates: ["2026-12-31T09:00:00", "2027-01-04T09:00:00", "2027-01-04T09:00"],
        rdates: [],
        gap: "shift",
        overlap: "first",
        offsetMinutes: 0,
      },
    });
    expect([first.status, second.status]).toEqual([201, 201]);
    expect(second.body.scheduleId).toBe(first.body.scheduleId);
    expect(second.body.rule).toEqual(first.body.rule);
  });

  it("may have a thousand exceptions, and none more", async () => {
    const dates = Array.from({ length: 1_001 }, (_, index) =>
      new Date(Date.UTC(2027, 0, 4) + index * 86_400_000).toISOString().slice(0, 10),
    );
    const exdates = dates.map((date) => `${date}T09:00:00`);
    const { body } = await post({ recurrence: { ...recurrence, exdates: exdates.slice(1) } }).expect(201);
    expect(body.rule.exdates).toHaveLength(1_000);
    const refused = await post({ recurrence: { ...recurrence, exdates } }).expect(400);
    expect(refused.body.errors).toMatchObject([{ code: "invalid_request", pointer: "/recurrence/exdates" }]);
  });
});

describe("offsets and bounds", () => {
  it.each([
    ["daily", { time: "07:30", zone: "UTC" }],
    ["recurrence", recurrence],
    ["timetable", { place: "mecca", slot: "fajr" }],
  ])("are taken by %s", async (name, rule) => {
    const bounds = { offsetsMinutes: [0, -20, -5, 0], startsOn: "2026-01-01", endsOn: "2099-12-31" };
    const { body } = await post({ [name]: { ...rule, ...bounds } }).expect(201);
    expect(body.rule).toMatchObject({ ...bounds, offsetsMinutes: [-20, -5, 0] });
    const one = await post({ [name]: { ...rule, offsetMinutes: -20 } }).expect(201);
    expect(one.body.rule).toMatchObject({ offsetsMinutes: [-20] });
    expect(one.body.rule).not.toHaveProperty("startsOn");
  });

  it("promise the first moment of a rule that begins years ahead", async () => {
    for (const [name, rule] of Object.entries({
      daily: { time: "12:00", zone: "UTC" },
      timetable: { place: "mecca", slot: "dhuhr" },
      recurrence: { start: "2020-02-29T12:00", zone: "UTC", rrule: "FREQ=YEARLY" },
    })) {
      const { body } = await post({ [name]: { ...rule, startsOn: "2088-02-29" } }).expect(201);
      expect(body.nextDueAt.slice(0, 10), name).toBe("2088-02-29");
    }
  });
});

describe("a rule in the user's own zone", () => {
  const daily = { time: "08:00" };

  it("is in the zone of the same request, or else the stored one, and is marked", async () => {
    const user = freshUser();
    const given = await post({ daily, zone: "asia/tokyo" }, user).expect(201);
    expect(given.body.rule).toMatchObject({ kind: "wall", zone: "Asia/Tokyo", follows: "user" });
    const stored = await post({ daily: { ...daily, zone: "user" } }, user).expect(200);
    expect(stored.body.id).toBe(given.body.id);
    const recurring = await post({ recurrence: { ...recurrence, zone: "user" } }, user).expect(201);
    expect(recurring.body.rule).toMatchObject({ kind: "recurrence", zone: "Asia/Tokyo", follows: "user" });
    await api.subscriber.put(`/v1/users/${user}`, { zone: "Europe/Paris" }).expect(200);
    expect((await post({ daily }, user)).body.rule).toMatchObject({ zone: "Europe/Paris", follows: "user" });
  });

  it("is another schedule than the same one in a zone by name", async () => {
    const named = await post({ daily: { ...daily, zone: "Asia/Tokyo" } }).expect(201);
    const own = await post({ daily, zone: "Asia/Tokyo" }).expect(201);
    expect(named.body.rule).not.toHaveProperty("follows");
    expect(own.body.scheduleId).not.toBe(named.body.scheduleId);
  });

  it("is one schedule per zone for a thousand users", async () => {
    const zones = ["Asia/Tokyo", "Europe/Berlin", "America/Lima"];
    const subscriptions = Array.from({ length: 1_000 }, (_, index) => ({
      userId: `roamer ${index}`,
      topic: "live",
      daily: { time: "06:45" },
      zone: zones[index % zones.length],
    }));
    const { body } = await api.subscriber.post("/v1/subscriptions", { subscriptions }).expect(200);
    const schedules = new Set(body.subscriptions.map((each: { scheduleId: string }) => each.scheduleId));
    expect(schedules.size).toBe(zones.length);
  });

  it("takes the zone that the user has after the request, wherever in it", async () => {
    const userId = freshUser();
    const item = { userId, topic: "live" };
    const subscriptions = [
      { ...item, daily },
      { ...item, daily: { time: "09:00" }, zone: "Asia/Tokyo" },
      { ...item, daily: { time: "10:00" }, zone: "America/Lima" },
    ];
    const { body } = await api.subscriber.post("/v1/subscriptions", { subscriptions }).expect(200);
    const zones = body.subscriptions.map(({ rule }: { rule: { zone: string } }) => rule.zone);
    expect(zones).toEqual(["America/Lima", "America/Lima", "America/Lima"]);
  });

  it("is refused where there is no zone, and nothing is changed", async () => {
    const before = await api.counts();
    const { body } = await post({ daily }).expect(422);
    expect(body.errors).toMatchObject([{ code: "user_zone_missing", pointer: "/zone" }]);
    const wrong = await post({ daily, zone: "Mars/Olympus" }).expect(422);
    expect(wrong.body.errors).toMatchObject([{ code: "unknown_zone", pointer: "/zone" }]);
    expect(await api.counts()).toEqual(before);
  });

  it("is in the zone that holds when it is stored, whatever else changes it at that time", async () => {
    const user = freshUser();
    await api.subscriber.put(`/v1/users/${user}`, { zone: "Asia/Tokyo" }).expect(201);
    const { pool } = api.test.database;
    const other = await pool.connect();
    await other.query("begin");
    await other.query("update carillon.users set zone = 'America/Lima' where user_id = $1", [user]);
    const posted = post({ daily: { time: "05:55" } }, user).then(({ body }) => body);
    await untilSomeoneWaits();
    await other.query("commit");
    other.release();
    expect((await posted).rule).toMatchObject({ zone: "America/Lima" });
  });

  async function untilSomeoneWaits(): Promise<void> {
    for (;;) {
      const { rows } = await api.test.database.pool.query(
        "select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'",
      );
      if (rows.length > 0) return;
    }
  }
});

describe("refused with a code, and nothing is changed", () => {
  const bad: readonly [object, string, string][] = [
    [{ recurrence: { ...recurrence, rrule: "every monday" } }, "malformed_rrule", "/recurrence/rrule"],
    [{ recurrence: { ...recurrence, rrule: "FREQ=SECONDLY" } }, "recurs_too_often", "/recurrence/rrule"],
    [
      { recurrence: { ...recurrence, rrule: "FREQ=DAILY;COUNT=3;UNTIL=20300101" } },
      "malformed_rrule",
      "/recurrence/rrule",
    ],
    [
      { recurrence: { ...recurrence, rrule: "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30" } },
      "never_occurs",
      "/recurrence/rrule",
    ],
    [{ recurrence: { ...recurrence, rrule: "FREQ=DAILY;UNTIL=20251231" } }, "never_occurs", "/recurrence/rrule"],
    [{ recurrence: { ...recurrence, rrule: "FREQ=DAILY;UNTIL=20260201" } }, "never_occurs", "/recurrence"],
    [{ recurrence: { ...recurrence, start: "2026-02-30T09:00:00" } }, "malformed_time", "/recurrence/start"],
    [{ recurrence: { ...recurrence, start: "2026-02-01T09:00:00Z" } }, "malformed_time", "/recurrence/start"],
    [{ recurrence: { ...recurrence, zone: "Mars/Olympus" } }, "unknown_zone", "/recurrence/zone"],
    [{ recurrence: { ...recurrence, exdates: ["2026-02-30T09:00:00"] } }, "malformed_time", "/recurrence/exdates/0"],
    [
      { recurrence: { ...recurrence, rdates: ["2026-03-01T09:00", "2026-03-01"] } },
      "malformed_time",
      "/recurrence/rdates/1",
    ],
    [{ recurrence: { ...recurrence, follows: "user" } }, "invalid_request", "/recurrence/follows"],
    [
      { daily: { time: "07:00", zone: "UTC", offsetsMinutes: [0, 1_441] } },
      "offset_out_of_range",
      "/daily/offsetsMinutes/1",
    ],
    [{ daily: { time: "07:00", zone: "UTC", offsetsMinutes: [] } }, "invalid_request", "/daily/offsetsMinutes"],
    [
      { daily: { time: "07:00", zone: "UTC", offsetsMinutes: [0], offsetMinutes: 5 } },
      "invalid_request",
      "/daily/offsetMinutes",
    ],
    [{ daily: { time: "07:00", zone: "UTC", startsOn: "2026-02-29" } }, "malformed_time", "/daily/startsOn"],
    [{ daily: { time: "07:00", zone: "UTC", endsOn: "2026-01-31" } }, "never_occurs", "/daily"],
    [
      { timetable: { place: "mecca", slot: "fajr", startsOn: "2030-02-01", endsOn: "2030-01-31" } },
      "never_occurs",
      "/timetable/endsOn",
    ],
    [{ recurrence, daily: { time: "07:00", zone: "UTC" } }, "invalid_request", ""],
  ];

  it.each(bad)("%j: %s at %s", async (when, code, pointer) => {
    const before = await api.counts();
    const { body, status } = await post(when);
    expect(body.errors).toContainEqual({ pointer, code, detail: expect.any(String) });
    expect(status).toBe(code === "invalid_request" ? 400 : 422);
    expect(await api.counts()).toEqual(before);
  });
});
