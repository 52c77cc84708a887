import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  addCutJobs,
  addGroupJobAt,
  addGroupJobs,
  removeDeadJobs,
  taskNames,
  wakePlanner,
} from "../../src/store/jobs.ts";
import { createEngine, type Engine } from "../support/engine.ts";

let engine: Engine;
beforeAll(async () => {
  engine = await createEngine();
});
afterAll(() => engine[Symbol.asyncDispose]());

interface Job {
  readonly key: string | null;
  readonly task: string;
  readonly payload: unknown;
  readonly attempts: number;
  readonly max_attempts: number;
  readonly run_at: Date;
  readonly locked: boolean;
}

const jobsLike = (key: string) =>
  engine.rows<Job>(
    `select j.key, j.task_identifier as task, p.payload, j.attempts, j.max_attempts, j.run_at, j.locked_at is not null as locked
     from graphile_worker.jobs j join graphile_worker._private_jobs p using (id) where j.key like $1 order by j.key, j.id`,
    [key],
  );
const lock = (key: string, ago = "0") =>
  engine.rows(
    `update graphile_worker._private_jobs set locked_at = now() - $2::interval, locked_by = 'dead', attempts = attempts + 1
     where key = $1`,
    [key, ago],
  );

describe("jobs", () => {
  it("one for the planner, however many ask for it", async () => {
    await wakePlanner(engine.db.pool);
    await wakePlanner(engine.db.pool);
    expect(await jobsLike("carillon.plan")).toMatchObject([{ task: "carillon.plan", attempts: 0, max_attempts: 5 }]);
  });

  it("one a second for the cut, ahead of it by the lead", async () => {
    const second = 1_900_000_000;
    await addCutJobs(engine.db.pool, [second * 1000, second * 1000 + 999, (second + 1) * 1000], 10_000);
    await addCutJobs(engine.db.pool, [second * 1000 + 5], 2000);
    await addCutJobs(engine.db.pool, [], 10_000);
    const jobs = await jobsLike("carillon.cut:%");
    expect(jobs).toMatchObject([
      { key: `carillon.cut:${second}`, task: "carillon.cut", payload: { second } },
      { key: `carillon.cut:${second + 1}`, payload: { second: second + 1 } },
    ]);
    // what is asked for again keeps its time
    expect(jobs.map((job) => job.run_at.getTime())).toEqual([(second - 10) * 1000, (second - 9) * 1000]);
  });

  it("one a group, whose time is not pushed on when it is asked for again", async () => {
    const asked = { bucketId: "7001", groupNumber: 3, dueAtMs: 1_900_000_000_123, share: 4 };
    await addGroupJobs(engine.db.pool, [asked]);
    const [first] = await jobsLike("carillon.group:7001:%");
    expect(first).toMatchObject({
      key: "carillon.group:7001:3",
      task: taskNames.group,
      payload: asked,
      max_attempts: 5,
    });
    await addGroupJobs(engine.db.pool, [asked]);
    expect(await jobsLike("carillon.group:7001:%")).toEqual([first]);
    await addGroupJobs(engine.db.pool, []);
  });

  it("a bundle keeps its job, whoever wakes its first group alone", async () => {
    const first = { bucketId: "7005", groupNumber: 0, dueAtMs: 1_900_000_000_000, share: 4 };
    const bundle = { ...first, more: [{ bucketId: "7006", groupNumber: 0 }] };
    await addGroupJobs(engine.db.pool, [bundle]);
    await addGroupJobs(engine.db.pool, [first]);
    await addGroupJobAt(engine.db.pool, bundle, new Date(Date.now() + 60_000));
    const jobs = await jobsLike("carillon.group:7005:%");
    expect(Object.fromEntries(jobs.map(({ key, payload }) => [key, payload]))).toEqual({
      "carillon.group:7005:0": { ...first, more: [] },
      "carillon.group:7005:0+": bundle,
    });
  });

  it("a group's job is moved by who holds the group", async () => {
    const asked = { bucketId: "7002", groupNumber: 0, dueAtMs: 1_900_000_000_000, share: 1 };
    await addGroupJobs(engine.db.pool, [asked]);
    const later = new Date(Date.now() + 3_600_000);
    await addGroupJobAt(engine.db.pool, asked, later);
    expect(await jobsLike("carillon.group:7002:0")).toMatchObject([{ run_at: later, payload: asked }]);
    // and pulled forward by who wants it to run at once
    await addGroupJobs(engine.db.pool, [asked]);
    const jobs = await jobsLike("carillon.group:7002:0");
    expect(jobs).toHaveLength(1);
    expect(jobs[0]?.run_at.getTime()).toBeLessThan(later.getTime() - 1_800_000);
  });

  it("a job that a dead worker has locked does not stop a fresh one", async () => {
    const asked = { bucketId: "7003", groupNumber: 0, dueAtMs: 1_900_000_000_000, share: 1 };
    await addGroupJobs(engine.db.pool, [asked]);
    await lock("carillon.group:7003:0");
    await addGroupJobs(engine.db.pool, [asked]);
    expect(await jobsLike("carillon.group:7003:0")).toMatchObject([{ locked: false, attempts: 0 }]);
  });

  it("what died for good is removed once it counts as abandoned, and nothing else", async () => {
    for (const [bucketId, ago] of [
      ["7011", "5 hours"],
      ["7012", "1 hour"],
    ] as const) {
      const asked = { bucketId, groupNumber: 0, dueAtMs: 1_900_000_000_000, share: 1 };
      await addGroupJobs(engine.db.pool, [asked]);
      await lock(`carillon.group:${bucketId}:0`, ago);
      await addGroupJobs(engine.db.pool, [asked]);
    }
    const dead = () =>
      engine.one<{ dead: number; all: number }>(
        `select (count(*) filter (where attempts >= max_attempts))::int as dead, count(*)::int as all
         from graphile_worker.jobs where task_identifier = 'carillon.group'`,
      );
    const before = await dead();
    expect(before.dead).toBeGreaterThanOrEqual(2);
    expect(await removeDeadJobs(engine.db.pool)).toBe(1);
    expect(await dead()).toEqual({ dead: before.dead - 1, all: before.all - 1 });
    expect(await jobsLike("carillon.group:701%")).toHaveLength(2);
  });
});
