import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { planDue } from "../../src/planner/plan.ts";
import { previewSchedule } from "../../src/planner/preview.ts";
import { type RehearsedPlan, rehearsePlan } from "../../src/planner/rehearse.ts";
import { cutBuckets } from "../../src/store/cut.ts";
import { cancelBucket, pauseTopic } from "../../src/store/halt.ts";
import { savePlaces } from "../../src/store/places.ts";
import { subscribe } from "../../src/store/subscribe.ts";
import { endSubscription } from "../../src/store/subscriptions.ts";
import { createTopic } from "../../src/store/topics.ts";
import { createEngine, type Engine } from "../support/engine.ts";

let engine: Engine;
beforeAll(async () => {
  engine = await createEngine();
});
afterAll(() => engine[Symbol.asyncDispose]());

const hourMs = 3_600_000;
const tzdata = "2026z";
const cut = { groupTarget: 3, groupsPerNode: 2, groupFloor: 2, aliveMs: 60_000 };
const never = new AbortController().signal;

const rehearse = (withinMs: number, atMs: number | null = null, batch = 3): Promise<RehearsedPlan> =>
  rehearsePlan(engine.db, { atMs, withinMs, cut, batch, tzdata });
const plan = (horizonMs: number) => planDue(engine.db, { horizonMs, leadMs: 10_000, tzdata }, never);

/** What is due within, as the database has it once everything is planned and cut. */
async function planAndCut(withinMs: number, untilMs: number) {
  await plan(withinMs);
  await cutBuckets(engine.db, untilMs + 1, { ...cut, batch: 1000 });
  return engine.rows<{ schedule: string; occurrence: string; due: string; population: number; groups: number }>(
    `select b.schedule_id::text as schedule, b.occurrence, to_json(b.due_at) #>> '{}' as due, b.population,
       (select count(*) from carillon.groups g where g.bucket_id = b.bucket_id)::int as groups
     from carillon.time_buckets b
     where b.closed_at is null and b.cancelled_at is null and b.due_at <= to_timestamp($1::float8 / 1000)
     order by b.due_at, b.schedule_id`,
    [untilMs],
  );
}

type Planned = Awaited<ReturnType<typeof planAndCut>>[number];

function comparable(rows: readonly Planned[]): unknown[] {
  return rows
    .map(({ due, ...row }) => ({ ...row, due: new Date(due).toISOString() }))
    .sort((a, b) => a.due.localeCompare(b.due) || Number(a.schedule) - Number(b.schedule));
}

/** Without what a correction moves out of the time that is looked at. */
function rehearsed({ buckets, at, through }: RehearsedPlan): unknown[] {
  return comparable(
    buckets
      .filter(({ change, dueAt }) => change !== "dropped" && change !== "skipped" && dueAt > at && dueAt <= through)
      .map(({ scheduleId, occurrence, dueAt, population, groups }) => {
        return { schedule: scheduleId, occurrence, due: dueAt.toISOString(), population, groups };
      }),
  );
}

const wish = fc.record({
  topic: fc.constantFrom("by-size", "preset"),
  when: fc.oneof(
    fc.record({ kind: fc.constant("at" as const), minutes: fc.integer({ min: 2, max: 180 }) }),
    fc.record({ kind: fc.constant("daily" as const), minutes: fc.integer({ min: 2, max: 180 }) }),
    fc.record({
      kind: fc.constant("slot" as const),
      slot: fc.constantFrom("fajr", "sunrise", "dhuhr", "asr", "maghrib", "isha"),
    }),
  ),
  people: fc.integer({ min: 1, max: 9 }),
});
type Wish = typeof wish extends fc.Arbitrary<infer T> ? T : never;

describe("a rehearsed plan", () => {
  it("is what planning and cutting then do, whatever was planned, moved, paused or cancelled before", async () => {
    await createTopic(engine.db, "by-size", { catchUp: "all" });
    await createTopic(engine.db, "preset", { groupCount: 4, catchUp: "all" });
    const place = { key: "cairo", name: "Cairo", latitude: 30.04, longitude: 31.24, zone: "Africa/Cairo" };
    let people = 0;
    let longitude = place.longitude;

    async function subscribeAll(wishes: readonly Wish[]): Promise<string[]> {
      const ids: string[] = [];
      for (const { topic, when, people: count } of wishes) {
        const at =
          when.kind === "slot"
            ? ""
            : new Date(Math.ceil(Date.now() / 1000) * 1000 + when.minutes * 60_000).toISOString();
        const said =
          when.kind === "slot"
            ? { timetable: { where: { key: "cairo" }, slot: when.slot } }
            : when.kind === "at"
              ? { at }
              : { daily: { time: at.slice(11, 19), zone: "UTC" } };
        const requests = Array.from({ length: count }, () => {
          people += 1;
          return { userId: `u${people}`, topic, when: said, endpoints: [], pointer: "" };
        });
        ids.push(...(await subscribe(engine.db, requests, { planHorizonMs: hourMs })).map(({ id }) => id));
      }
      return ids;
    }

    await savePlaces(engine.db, [place], () => "");
    await fc.assert(
      fc.asyncProperty(
        fc.array(wish, { minLength: 1, maxLength: 6 }),
        fc.array(wish, { maxLength: 6 }),
        fc.record({ corrected: fc.boolean(), cancelled: fc.boolean(), left: fc.nat({ max: 4 }) }),
        async (before, after, { corrected, cancelled, left }) => {
          await engine.rows(
            "delete from carillon.time_buckets b where not exists (select from carillon.groups g where g.bucket_id = b.bucket_id)",
          );
          const ids = await subscribeAll(before);
          await plan(hourMs);
          await subscribeAll(after);
          if (corrected) {
            longitude = longitude > 31 ? 29.5 : 31.24;
            await savePlaces(engine.db, [{ ...place, longitude }], () => "");
          }
          const [first] = await engine.rows<{ bucket_id: string }>(
            "select bucket_id from carillon.time_buckets where closed_at is null and cut_at is null limit 1",
          );
          if (cancelled && first !== undefined) await cancelBucket(engine.db, first.bucket_id);
          for (const id of ids.slice(0, left)) await endSubscription(engine.db, id);

          const told = await rehearse(3 * hourMs);
          const done = await planAndCut(3 * hourMs, told.through.getTime());
          const since = done.filter(({ due }) => Date.parse(due) > told.at.getTime());
          expect(rehearsed(told)).toEqual(comparable(since));
          expect(told.faults).toEqual([]);
        },
      ),
      { numRuns: 12, endOnFailure: true },
    );
  }, 60_000);

  it("writes nothing, waits for nobody, and nobody waits for it", async () => {
    const [saved] = await subscribe(
      engine.db,
      [
        {
          userId: "alone",
          topic: "by-size",
          when: { at: new Date(Date.now() + 2_345_000).toISOString() },
          endpoints: [],
          pointer: "",
        },
      ],
      { planHorizonMs: hourMs },
    );
    const counts = () =>
      engine.one(
        `select (select count(*) from carillon.time_buckets)::int as buckets, (select count(*) from carillon.groups)::int as groups,
           (select count(*) from pg_class where relname ~ '^(chunks|outcomes)_')::int as partitions,
           (select max(next_due_at) from carillon.schedules) as next, (select last_value from carillon.time_buckets_bucket_id_seq) as last`,
      );
    const before = await counts();
    await using other = await engine.begin();
    await other.client.query("select from carillon.schedules for update");
    const told = await rehearse(hourMs);
    expect(told.buckets.find(({ scheduleId }) => scheduleId === saved?.scheduleId)).toMatchObject({
      change: "new",
      bucketId: null,
      population: 1,
      groups: 1,
    });
    expect(await counts()).toEqual(before);
  });

  it("of a time ahead takes it that planners go on until then", async () => {
    await createTopic(engine.db, "later", { catchUp: "skip" });
    const atMs = Date.now() + 40 * 24 * hourMs;
    const time = new Date(atMs + 60_000).toISOString().slice(11, 19);
    await subscribe(
      engine.db,
      [{ userId: "later", topic: "later", when: { daily: { time, zone: "UTC" } }, endpoints: [], pointer: "" }],
      { planHorizonMs: hourMs },
    );
    const { buckets } = await rehearse(hourMs, atMs);
    const later = buckets.filter(({ topic }) => topic === "later");
    expect(later).toMatchObject([{ change: "new", paused: false }]);
    expect(Math.abs((later[0]?.dueAt.getTime() ?? 0) - (atMs + 60_000))).toBeLessThan(1000);
    const { topic_id: topicId } = await engine.one<{ topic_id: number }>(
      "select topic_id from carillon.topics where name = 'later'",
    );
    await pauseTopic(engine.db, topicId);
    expect((await rehearse(hourMs, atMs)).buckets.filter(({ topic }) => topic === "later")).toMatchObject([
      { paused: true },
    ]);
  });

  it("refuses a time that has passed", async () => {
    await expect(rehearse(hourMs, Date.now() - 60_000)).rejects.toMatchObject({
      code: "invalid_request",
      pointer: "/at",
    });
  });
});

describe("a preview", () => {
  it("has the moments that are then planned, and says which already are", async () => {
    const [saved] = await subscribe(
      engine.db,
      [
        {
          userId: "previewer",
          topic: "by-size",
          when: { timetable: { where: { key: "cairo" }, slot: "maghrib", offsetsMinutes: [-20, 0] } },
          endpoints: [],
          pointer: "",
        },
      ],
      { planHorizonMs: hourMs },
    );
    const scheduleId = saved?.scheduleId ?? "";
    const options = { count: 20, fromMs: Date.now(), tzdata };
    const before = await previewSchedule(engine.db, scheduleId, options);
    expect(before.moments).toHaveLength(20);
    expect(before).toMatchObject({
      zone: "Africa/Cairo",
      tzdata,
      missing: [],
      pausedAt: null,
      place: { key: "cairo" },
    });
    await plan(5 * 24 * hourMs);
    const planned = await engine.rows<{ bucket_id: string; occurrence: string; due_at: Date }>(
      "select bucket_id, occurrence, due_at from carillon.time_buckets where schedule_id = $1 order by due_at",
      [scheduleId],
    );
    expect(planned.length).toBeGreaterThanOrEqual(9);
    const after = await previewSchedule(engine.db, scheduleId, options);
    expect(after.moments.slice(0, planned.length)).toMatchObject(
      planned.map(({ bucket_id: bucketId, occurrence, due_at: dueAt }) => {
        return { occurrence, dueAt, planned: { bucketId, state: "planned", dueAt } };
      }),
    );
    expect(after.moments.slice(planned.length).map((moment) => moment.planned)).toEqual(
      after.moments.slice(planned.length).map(() => null),
    );
    expect(after.moments.map(({ dueAt }) => dueAt)).toEqual(before.moments.map(({ dueAt }) => dueAt));
    expect(after.moments[0]?.gaveIt).toMatchObject({
      slot: "maghrib",
      timetable: "prayer",
      version: 1,
      effectiveFrom: null,
    });
  });

  it("knows no schedule that there is not", async () => {
    const options = { count: 1, fromMs: null, tzdata };
    await expect(previewSchedule(engine.db, "999999", options)).rejects.toMatchObject({ code: "unknown_schedule" });
  });
});
