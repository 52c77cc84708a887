import { afterAll, beforeAll, expect, it } from "vitest";
import { createLogger, rateLimited } from "../../src/logger.ts";
import { planDue } from "../../src/planner/plan.ts";
import { runPlanner } from "../../src/planner/planner.ts";
import { type Database, openDatabase } from "../../src/store/database.ts";
import { wakePlanner } from "../../src/store/jobs.ts";
import { createEngine, type Engine } from "../support/engine.ts";
import { until } from "../support/world.ts";

let engine: Engine;
beforeAll(async () => {
  engine = await createEngine();
});
afterAll(() => engine[Symbol.asyncDispose]());

const logger = createLogger("silent", "test");
const hourMs = 3_600_000;

function startPlanner(db: Database, jobsDb: Database, leadMs = 600) {
  const stopping = new AbortController();
  const running = runPlanner(
    {
      db,
      jobsDb,
      options: { horizonMs: hourMs, leadMs, pollMs: 50, drainMs: 1000 },
      cut: { groupTarget: 5000, groupsPerNode: 4, groupFloor: 500, aliveMs: 60_000, batch: 2 },
      logger,
      faults: rateLimited(logger),
    },
    stopping.signal,
  );
  return {
    [Symbol.asyncDispose]: async () => {
      stopping.abort(new Error("over"));
      await running;
    },
  };
}

/** A schedule of one instant, to be planned now, with a planner woken for it. */
async function addSchedule(inMs: number) {
  const { schedule_id: scheduleId } = await engine.one<{ schedule_id: string }>(
    `with topic as (insert into carillon.topics (name) values (gen_random_uuid()::text) returning topic_id)
     insert into carillon.schedules (topic_id, rule, next_due_at)
     select topic_id, carillon.canonical_rule(jsonb_build_object('kind', 'instant', 'at', $1::text)), carillon.clock()
     from topic returning schedule_id`,
    [new Date(Date.now() + inMs).toISOString()],
  );
  return scheduleId;
}
const groupsOf = async (scheduleId: string) =>
  (
    await engine.rows(
      "select from carillon.groups g join carillon.time_buckets b using (bucket_id) where b.schedule_id = $1",
      [scheduleId],
    )
  ).length;

it("plans when it is woken, and cuts shortly before the moment, however many buckets a second has", async () => {
  await using jobsDb = openDatabase({ url: engine.url, applicationName: "jobs", max: 4 });
  await using _ = startPlanner(engine.db, jobsDb, 5000);
  // more than one batch of the cut, and one that is far ahead
  const near = await Promise.all(Array.from({ length: 5 }, () => addSchedule(3000)));
  const far = await addSchedule(1_800_000);
  await wakePlanner(engine.db.pool);
  await until(async () => (await Promise.all(near.map(groupsOf))).every((groups) => groups === 1), "all are cut");
  expect(await engine.rows("select from carillon.time_buckets where schedule_id = $1", [far])).toHaveLength(1);
  expect(await groupsOf(far)).toBe(0);
});

it("outlives a failing task: what failed is found again", async () => {
  await using jobsDb = openDatabase({ url: engine.url, applicationName: "jobs", max: 4 });
  let failures = 2;
  const failing: Database = {
    ...engine.db,
    pool: new Proxy(engine.db.pool, {
      get(target, name) {
        if (name === "connect" && failures > 0) {
          failures -= 1;
          return () => Promise.reject(new Error("no zone data"));
        }
        const value: unknown = Reflect.get(target, name, target);
        return typeof value === "function" ? value.bind(target) : value;
      },
    }),
  };
  await using _ = startPlanner(failing, jobsDb);
  const scheduleId = await addSchedule(60_000);
  await until(async () => {
    await wakePlanner(engine.db.pool);
    return (await engine.rows("select from carillon.time_buckets where schedule_id = $1", [scheduleId])).length === 1;
  }, "it is planned after all");
  expect(failures).toBe(0);
});

it("plans in turns until no schedule is left, and not when it is to stop", async () => {
  const made = await engine.rows<{ schedule_id: string }>(
    `with topic as (insert into carillon.topics (name) values (gen_random_uuid()::text) returning topic_id)
     insert into carillon.schedules (topic_id, rule, next_due_at)
     select topic_id, carillon.canonical_rule(jsonb_build_object('kind', 'instant', 'at', carillon.clock() + i * interval '1 s')),
       carillon.clock()
     from topic, generate_series(60, 1259) i returning schedule_id`,
  );
  expect(await planDue(engine.db, { horizonMs: hourMs, leadMs: 1000 }, AbortSignal.abort())).toMatchObject({
    schedules: 0,
    buckets: 0,
  });
  expect(await planDue(engine.db, { horizonMs: hourMs, leadMs: 1000 }, new AbortController().signal)).toMatchObject({
    schedules: made.length,
    buckets: made.length,
  });
});
