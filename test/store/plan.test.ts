import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { planDue } from "../../src/planner/plan.ts";
import { openDatabase } from "../../src/store/database.ts";
import { type PlanOptions, planBatch, type SchedulePlan, type ScheduleToPlan } from "../../src/store/plan.ts";
import { changeVersions } from "../../src/store/timetable-change.ts";
import { createTopic } from "../../src/store/topics.ts";
import { createEngine, type Engine } from "../support/engine.ts";
import { minuteIn, seedTable, tableWith } from "../support/tables.ts";

let engine: Engine;
beforeAll(async () => {
  engine = await createEngine({ max: 12 });
});
afterAll(() => engine[Symbol.asyncDispose]());
beforeEach(async () => {
  await engine.rows("update carillon.schedules set next_due_at = null");
  await engine.rows("delete from graphile_worker._private_jobs");
});

const hourMs = 3_600_000;
const options: PlanOptions = { horizonMs: hourMs, leadMs: 10_000, batch: 500 };
const never = new AbortController().signal;

/** Schedules of one instant each, under one topic, to be planned now. @returns their ids */
async function schedules(count: number, inMs: (index: number) => number, executor: Pick<Engine, "rows"> = engine) {
  const { topic_id: topicId } = await engine.one<{ topic_id: number }>(
    "insert into carillon.topics (name) values (gen_random_uuid()::text) returning topic_id",
  );
  const base = Math.ceil(Date.now() / 1000) * 1000;
  const instants = Array.from({ length: count }, (_, index) => new Date(base + inMs(index)).toISOString());
  const made = await executor.rows<{ schedule_id: string }>(
    `insert into carillon.schedules (topic_id, rule, next_due_at)
     select $1, carillon.canonical_rule(jsonb_build_object('kind', 'instant', 'at', at)), carillon.clock()
     from unnest($2::text[]) at returning schedule_id`,
    [topicId, instants],
  );
  return { topicId, ids: made.map((row) => row.schedule_id), dueAtMs: instants.map((at) => Date.parse(at)) };
}

const bucketsOf = (ids: readonly string[]) =>
  engine.rows<{
    bucket_id: string;
    schedule_id: string;
    occurrence: string;
    due_at_ms: number;
    lasts_ms: number;
    closed_as: string | null;
    groups: number;
  }>(
    `select bucket_id, schedule_id, occurrence, (extract(epoch from due_at) * 1000)::float8 as due_at_ms, closed_as,
       (extract(epoch from expires_at - due_at) * 1000)::float8 as lasts_ms,
       (select count(*) from carillon.groups g where g.bucket_id = b.bucket_id)::int as groups
     from carillon.time_buckets b where schedule_id = any ($1) order by due_at, bucket_id`,
    [ids],
  );
const scheduleOf = (id: string) =>
  engine.one<{ next_due_at: Date | null; planned_through: Date }>(
    "select next_due_at, planned_through from carillon.schedules where schedule_id = $1",
    [id],
  );
const wakeSchedules = (ids: readonly string[]) =>
  engine.rows("update carillon.schedules set next_due_at = carillon.clock() where schedule_id = any ($1)", [ids]);

/** A plan with the buckets given, for statements of which the rule is no matter. */
const planOf = (
  schedule: ScheduleToPlan,
  nowMs: number,
  buckets: SchedulePlan["buckets"],
  moves: SchedulePlan["moves"] = [],
): SchedulePlan => ({
  schedule,
  buckets,
  moves,
  gone: [],
  plannedThroughMs: nowMs + hourMs,
  nextDueAtMs: nowMs + 2 * hourMs,
  fault: null,
});

describe("planBatch", () => {
  it("makes the buckets, their ledger partitions and cut jobs, and advances the schedule", async () => {
    const { ids, topicId } = await schedules(1, () => 60_000);
    const dueAtMs = Date.parse("2031-05-06T07:08:09Z");
    let seen: ScheduleToPlan | undefined;
    let clockMs = 0;
    const done = await planBatch(engine.db, options, (taken, nowMs) => {
      [seen] = taken;
      clockMs = nowMs;
      return taken.map((schedule) =>
        planOf(schedule, nowMs, [
          { occurrence: "a", dueAtMs, skipped: false },
          { occurrence: "b", dueAtMs: dueAtMs - 1000, skipped: true },
        ]),
      );
    });
    expect(done).toMatchObject({ schedules: 1, buckets: 1 });
    expect(seen).toMatchObject({ scheduleId: ids[0], topicId, place: null, movable: [], catchUp: "latest" });
    expect(await bucketsOf(ids)).toMatchObject([
      { occurrence: "b", due_at_ms: dueAtMs - 1000, closed_as: "skipped", lasts_ms: 600_000 },
      { occurrence: "a", due_at_ms: dueAtMs, closed_as: null, lasts_ms: 600_000 },
    ]);
    expect(await engine.one("select to_regclass('carillon.chunks_20310506') is not null as made")).toEqual({
      made: true,
    });
    expect(await engine.rows("select key, run_at from graphile_worker.jobs")).toEqual([
      { key: `carillon.cut:${dueAtMs / 1000}`, run_at: new Date(dueAtMs - 10_000) },
    ]);
    const advanced = await scheduleOf(ids[0] ?? "");
    expect(advanced.planned_through.getTime()).toBeCloseTo(clockMs + hourMs, -1);
    expect(advanced.next_due_at?.getTime()).toBeCloseTo(clockMs + 2 * hourMs, -1);
  });

  it.each([
    ["none for what the caller cuts at once", 100, [60]],
    ["one for that, too, while more is waiting to be planned", 1, [1, 60]],
  ] as const)("asks for cut jobs: %s", async (_, batch, wanted) => {
    await schedules(1, () => 60_000);
    await engine.rows(
      "select graphile_worker.remove_job(key) from graphile_worker.jobs where key like 'carillon.cut:%'",
    );
    let second = 0;
    await planBatch(engine.db, { ...options, batch, cutAheadMs: 5000 }, (taken, nowMs) => {
      second = Math.ceil(nowMs / 1000);
      const dues = [1, 60].map((after) => (second + after) * 1000);
      return taken.map((schedule) =>
        planOf(
          schedule,
          nowMs,
          dues.map((dueAtMs) => ({ occurrence: String(dueAtMs), dueAtMs, skipped: false })),
        ),
      );
    });
    // what is due within the lead has one job together, under a name of its own
    const jobs = await engine.rows<{ second: number }>(
      "select (payload ->> 'second')::int as second from graphile_worker._private_jobs where key like 'carillon.cut:%' order by 1",
    );
    expect(jobs.length).toBe(wanted.length);
    expect(jobs.at(-1)?.second).toBe(second + 60);
  });

  it("takes those whose next moment is within the horizon, soonest first, as many as a batch holds", async () => {
    const { ids } = await schedules(4, (index) => index * 1000);
    await engine.rows(
      "update carillon.schedules set next_due_at = carillon.clock() + interval '2 h' where schedule_id = $1",
      [ids[0]],
    );
    await engine.rows(
      "update carillon.schedules set next_due_at = carillon.clock() - interval '2 h' where schedule_id = $1",
      [ids[3]],
    );
    const taken: string[][] = [];
    const once = (batch: number) =>
      planBatch(engine.db, { ...options, batch }, (some, nowMs) => {
        taken.push(some.map((schedule) => schedule.scheduleId));
        return some.map((schedule) => planOf(schedule, nowMs, []));
      });
    expect(await once(2)).toMatchObject({ schedules: 2, buckets: 0 });
    expect(await once(2)).toMatchObject({ schedules: 1, buckets: 0 });
    expect(await once(2)).toMatchObject({ schedules: 0, buckets: 0 });
    expect(taken).toEqual([[ids[3], ids[1]], [ids[2]]]);
  });

  it("passes over a schedule that another planner has", async () => {
    const { ids } = await schedules(2, (index) => 60_000 + index * 1000);
    await using other = await engine.begin();
    await other.client.query("select from carillon.schedules where schedule_id = $1 for no key update", [ids[0]]);
    expect(await planDue(engine.db, options, never)).toMatchObject({ schedules: 1 });
    await other.commit();
    expect(await planDue(engine.db, options, never)).toMatchObject({ schedules: 1 });
  });

  it("leaves everything as it was when planning fails", async () => {
    const { ids } = await schedules(1, () => 60_000);
    const failing = planBatch(engine.db, options, () => {
      throw new Error("no zone data");
    });
    await expect(failing).rejects.toThrow("no zone data");
    expect(await bucketsOf(ids)).toEqual([]);
    expect(await planDue(engine.db, options, never)).toMatchObject({ schedules: 1, buckets: 1 });
  });

  it("never makes a moment twice, by its key, though it be planned again under another time", async () => {
    const { ids } = await schedules(1, () => 60_000);
    for (const dueAtMs of [Date.now() + 60_000, Date.now() + 90_000]) {
      await wakeSchedules(ids);
      await planBatch(engine.db, options, (taken, nowMs) =>
        taken.map((schedule) => planOf(schedule, nowMs, [{ occurrence: "same", dueAtMs, skipped: false }])),
      );
    }
    expect(await bucketsOf(ids)).toHaveLength(1);
    await expect(
      engine.rows(
        `insert into carillon.time_buckets (schedule_id, topic_id, occurrence, due_at, expires_at)
         select schedule_id, topic_id, occurrence, due_at, expires_at from carillon.time_buckets where schedule_id = $1`,
        [ids[0]],
      ),
    ).rejects.toMatchObject({ code: "23505" });
  });

  it("does not fire what was skipped, or cancelled, when it is planned again", async () => {
    const { ids } = await schedules(1, () => 60_000);
    const once = (skipped: boolean) =>
      planBatch(engine.db, options, (taken, nowMs) =>
        taken.map((schedule) =>
          planOf(schedule, nowMs, [{ occurrence: "missed", dueAtMs: Math.round(nowMs) - 60_000, skipped }]),
        ),
      );
    await once(true);
    await wakeSchedules(ids);
    await once(false);
    expect(await bucketsOf(ids)).toMatchObject([{ closed_as: "skipped" }]);
  });
});

describe("several planners at once", () => {
  it("plan each of 300 schedules once", async () => {
    const { ids, dueAtMs } = await schedules(300, (index) => 60_000 + (index + 1) * 1000);
    const done = await Promise.all(Array.from({ length: 5 }, () => planDue(engine.db, options, never)));
    await planDue(engine.db, options, never);
    const buckets = await bucketsOf(ids);
    expect(buckets.map((bucket) => bucket.due_at_ms)).toEqual(dueAtMs);
    expect(done.reduce((sum, { buckets: made }) => sum + made, 0)).toBe(300);
    expect(await engine.rows("select from graphile_worker.jobs where key like 'carillon.cut:%'")).toHaveLength(300);
  });

  it("find a schedule that was committed long after others were planned", async () => {
    await using late = await engine.begin();
    const rows = async <T extends object>(text: string, values: readonly unknown[] = []) =>
      (await late.client.query<T>(text, [...values])).rows;
    const { ids } = await schedules(1, () => 30_000, { rows });
    const { ids: others } = await schedules(3, (index) => 60_000 + index * 1000);
    expect(await planDue(engine.db, options, never)).toMatchObject({ buckets: 3 });
    expect(await planDue(engine.db, options, never)).toMatchObject({ buckets: 0 });
    await late.commit();
    expect(await planDue(engine.db, options, never)).toMatchObject({ schedules: 1, buckets: 1 });
    expect(await bucketsOf([...ids, ...others])).toHaveLength(4);
  });
});

describe("a moment that a correction moves", () => {
  const dueAtMs = Math.ceil(Date.now() / 1000) * 1000 + 600_000;

  async function planned() {
    const made = await schedules(1, () => 0);
    // an instant can't move: what is its own key has no other time
    await engine.rows(
      `update carillon.schedules set rule = carillon.canonical_rule('{"kind": "wall", "time": "08:00", "zone": "UTC"}')
       where schedule_id = $1`,
      [made.ids[0]],
    );
    await plan(made.ids, dueAtMs);
    const [bucket] = await bucketsOf(made.ids);
    if (bucket === undefined) throw new Error("not planned");
    await engine.rows("update carillon.time_buckets set cut_at = clock_timestamp() where bucket_id = $1", [
      bucket.bucket_id,
    ]);
    await engine.rows(
      `insert into carillon.groups (bucket_id, group_number, first_slot, last_slot, mark_slot, not_before)
       values ($1, 0, 0, 65535, 0, clock_timestamp())`,
      [bucket.bucket_id],
    );
    return { ids: made.ids, bucketId: bucket.bucket_id };
  }
  async function plan(ids: readonly string[], toMs: number, as: "bucket" | "move" = "bucket") {
    await wakeSchedules(ids);
    const wanted = [{ occurrence: "2026-01-01T08:00:00[0]", dueAtMs: toMs, skipped: false }];
    await planBatch(engine.db, options, (taken, nowMs) =>
      taken.map((schedule) =>
        as === "bucket" ? planOf(schedule, nowMs, wanted) : planOf(schedule, nowMs, [], wanted),
      ),
    );
  }

  it.each(["bucket", "move"] as const)(
    "moves before the first claim, whether it comes as a %s, and is cut anew",
    async (as) => {
      const { ids, bucketId } = await planned();
      const toMs = dueAtMs + 400 * 24 * hourMs;
      await plan(ids, toMs, as);
      expect(await bucketsOf(ids)).toMatchObject([
        { bucket_id: bucketId, due_at_ms: toMs, groups: 0, lasts_ms: 600_000 },
      ]);
      const day = new Date(toMs).toISOString().slice(0, 10).replaceAll("-", "");
      expect(await engine.one("select to_regclass($1) is not null as made", [`carillon.chunks_${day}`])).toEqual({
        made: true,
      });
      expect(
        await engine.rows("select from graphile_worker.jobs where key = $1", [`carillon.cut:${toMs / 1000}`]),
      ).toHaveLength(1);
    },
  );

  it.each(["bucket", "move"] as const)("stays once a group was claimed, whether it comes as a %s", async (as) => {
    const { ids, bucketId } = await planned();
    await engine.claim({ bucketId });
    await plan(ids, dueAtMs + 60_000, as);
    expect(await bucketsOf(ids)).toMatchObject([{ bucket_id: bucketId, due_at_ms: dueAtMs, groups: 1 }]);
  });

  it("is not made by a move alone", async () => {
    const { ids } = await schedules(1, () => 0);
    await plan(ids, dueAtMs, "move");
    expect(await bucketsOf(ids)).toEqual([]);
  });
});

describe("what the rule no longer yields", () => {
  it("loses its time bucket while nobody has claimed it, and gets it back when a second correction brings it back", async () => {
    const topic = await createTopic(engine.db, "table", {});
    const [later, sooner] = [minuteIn(40), minuteIn(30)];
    const { scheduleIds } = await seedTable(engine.db, { name: "t", topic: topic.name, dueAtMs: { a: later } });
    const set = (dueAtMs: Record<string, number>) =>
      changeVersions(engine.db, "t", {
        kind: "correct",
        version: "today",
        parameters: tableWith({ ...dueAtMs, b: later }),
      });
    await planDue(engine.db, options, never);
    const [bucket] = await bucketsOf(scheduleIds);
    await cutOnce(bucket?.bucket_id ?? "");
    await set({});
    await planDue(engine.db, options, never);
    expect(await bucketsOf(scheduleIds)).toEqual([]);
    await set({ a: sooner });
    await planDue(engine.db, options, never);
    expect(await bucketsOf(scheduleIds)).toMatchObject([{ due_at_ms: sooner, closed_as: null, groups: 0 }]);

    const [again] = await bucketsOf(scheduleIds);
    await cutOnce(again?.bucket_id ?? "");
    await engine.claim({ bucketId: again?.bucket_id ?? "" });
    await set({});
    await planDue(engine.db, options, never);
    expect(await bucketsOf(scheduleIds)).toMatchObject([{ due_at_ms: sooner, closed_as: null, groups: 1 }]);
  });

  const cutOnce = (bucketId: string) =>
    engine.rows(
      `insert into carillon.groups (bucket_id, group_number, first_slot, last_slot, mark_slot, not_before)
       values ($1, 0, 0, 65535, 0, clock_timestamp())`,
      [bucketId],
    );
});

describe("a timetable that can't be read", () => {
  it("keeps nobody else from being planned; attention shows it until it is set right", async () => {
    const topic = await createTopic(engine.db, "unreadable", {});
    const bad = await seedTable(engine.db, { name: "bad", topic: topic.name, dueAtMs: { a: minuteIn(20) }, places: 2 });
    const good = await seedTable(engine.db, { name: "good", topic: topic.name, dueAtMs: { a: minuteIn(20) } });
    const write = (parameters: unknown) =>
      engine.rows(
        `update carillon.timetable_versions set parameters = $1
         where timetable_id = (select timetable_id from carillon.timetables where name = 'bad')`,
        [JSON.stringify(parameters)],
      );
    const shown = () => engine.rows("select subject, why from carillon.attention where kind = 'schedules not planned'");
    await write({ days: "none" });
    expect(await planDue(engine.db, options, never)).toMatchObject({ schedules: 3, buckets: 1 });
    expect(await bucketsOf(good.scheduleIds)).toHaveLength(1);
    expect(await shown()).toEqual([
      {
        subject: "schedules: 2, of topics: unreadable",
        why: expect.stringMatching(/^Version 1 of the timetable "bad" can't be read: /),
      },
    ]);
    // tried again, but not at once
    expect(await planDue(engine.db, options, never)).toMatchObject({ schedules: 0 });
    await write(tableWith({ a: minuteIn(20) }));
    expect(await planDue(engine.db, options, never)).toMatchObject({ schedules: 2, buckets: 2 });
    expect(await bucketsOf(bad.scheduleIds)).toHaveLength(2);
    expect(await shown()).toEqual([]);
  });
});

describe("more schedules than a batch holds", () => {
  it("are planned in several at once, each once", async () => {
    const { ids } = await schedules(3500, (index) => index * 1000);
    expect(await planDue(engine.db, options, never)).toMatchObject({ schedules: 3500, buckets: 3500 });
    const { rows } = await engine.db.pool.query(
      `select count(*)::int as buckets, count(distinct schedule_id)::int as schedules from carillon.time_buckets
       where schedule_id = any ($1)`,
      [ids],
    );
    expect(rows).toEqual([{ buckets: 3500, schedules: 3500 }]);
  });

  it("leave nothing under way when one of the batches fails", async () => {
    const { ids } = await schedules(3500, (index) => index * 1000);
    await using planning = openDatabase({ url: engine.url, applicationName: "failing planner", max: 4 });
    await engine.rows(
      `create or replace function carillon.fail_for_test() returns trigger language plpgsql as
       $$ begin if new.schedule_id = ${ids[3499]} then raise 'a disk is full'; end if; return new; end $$`,
    );
    await engine.rows(
      "create trigger fail_for_test before insert on carillon.time_buckets for each row execute function carillon.fail_for_test()",
    );
    try {
      await expect(planDue(planning, options, never)).rejects.toThrow("a disk is full");
      expect([planning.pool.idleCount, planning.pool.waitingCount]).toEqual([planning.pool.totalCount, 0]);
    } finally {
      await engine.rows("drop function carillon.fail_for_test() cascade");
    }
    const { rows } = await engine.db.pool.query<{ planned: number }>(
      "select count(*)::int as planned from carillon.time_buckets where schedule_id = any ($1)",
      [ids],
    );
    // what failed is its own batch
    expect(rows[0]?.planned).toBeGreaterThan(0);
    expect(await planDue(engine.db, options, never)).toMatchObject({ schedules: 3500 - (rows[0]?.planned ?? 0) });
  });
});

describe("a schedule that has time buckets", () => {
  it("can't be deleted, by whoever was first", async () => {
    const planned = await schedules(1, () => 60_000);
    await planDue(engine.db, options, never);
    await expect(
      engine.rows("delete from carillon.schedules where schedule_id = any ($1)", [planned.ids]),
    ).rejects.toMatchObject({ code: "23503" });

    const { ids } = await schedules(1, () => 60_000);
    let deleting: Promise<unknown> = Promise.resolve();
    await planBatch(engine.db, options, (taken, nowMs) => {
      deleting = engine
        .rows("delete from carillon.schedules where schedule_id = any ($1)", [ids])
        .catch((error) => error);
      return taken.map((schedule) =>
        planOf(schedule, nowMs, [{ occurrence: "a", dueAtMs: nowMs + 1000, skipped: false }]),
      );
    });
    expect(await deleting).toMatchObject({ code: "23503" });
    expect(await bucketsOf(ids)).toHaveLength(1);
  });

  it("can be deleted while it has none", async () => {
    const { ids } = await schedules(1, () => 60_000);
    await engine.rows("delete from carillon.schedules where schedule_id = any ($1)", [ids]);
    expect(await planDue(engine.db, options, never)).toMatchObject({ schedules: 0 });
  });
});

it("reads each timetable once, however many schedules have it", async () => {
  const topic = await createTopic(engine.db, "many", {});
  const { scheduleIds } = await seedTable(engine.db, {
    name: "many",
    topic: topic.name,
    dueAtMs: { a: minuteIn(50), b: minuteIn(51) },
    places: 20,
  });
  const statements: string[] = [];
  const places = new Set<unknown>();
  const counting = {
    ...engine.db,
    pool: new Proxy(engine.db.pool, {
      get(target, name) {
        if (name !== "connect") return Reflect.get(target, name, target);
        return async () => {
          const client = await target.connect();
          return new Proxy(client, {
            get(inner, key) {
              const value: unknown = Reflect.get(inner, key, inner);
              if (typeof value !== "function") return value;
              if (key !== "query") return value.bind(inner);
              return (text: string, values: unknown[]) => {
                statements.push(text);
                return inner.query(text, values);
              };
            },
          });
        };
      },
    }),
  };
  const done = await planBatch(counting, options, (taken, nowMs) =>
    taken.map((schedule) => {
      places.add(schedule.place?.versions);
      return planOf(schedule, nowMs, []);
    }),
  );
  expect(done.schedules).toBe(scheduleIds.length);
  expect(places.size).toBe(1);
  expect(statements.filter((text) => text.includes("timetable_versions"))).toHaveLength(1);
  expect(statements.length).toBeLessThan(8);
});
