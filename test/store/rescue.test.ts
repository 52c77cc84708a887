import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { addCutJobs, addGroupJobs } from "../../src/store/jobs.ts";
import { registerNode } from "../../src/store/nodes.ts";
import { retireSilentNodes, sweep } from "../../src/store/rescue.ts";
import { createEngine, type Engine, type SeededMoment } from "../support/engine.ts";

let engine: Engine;
beforeAll(async () => {
  engine = await createEngine();
});
afterAll(() => engine[Symbol.asyncDispose]());

const leadMs = 10_000;
const sweepNow = (limit = 1000) => sweep(engine.db.pool, { leadMs, limit });
const nothing = { unplanned: false, uncutSeconds: 0, wokenGroups: 0, closedBuckets: 0 };
const jobsLike = (key: string) =>
  engine.rows<{ key: string; attempts: number; locked: boolean }>(
    "select key, attempts, locked_at is not null as locked from graphile_worker.jobs where key like $1 order by key",
    [key],
  );
/** Everything that other tests left is over, and no job is left. */
async function settled() {
  await engine.rows("update carillon.time_buckets set closed_at = now(), closed_as = 'done' where closed_at is null");
  await engine.rows("update carillon.schedules set next_due_at = null");
  await engine.rows("delete from graphile_worker._private_jobs");
}
const change = ({ bucketId }: SeededMoment, columns: string) =>
  engine.rows(`update carillon.groups set ${columns} where bucket_id = $1`, [bucketId]);

describe("sweep", () => {
  it("finds near schedules that no planner looked at, whether or not a job is there", async () => {
    await settled();
    const moment = await engine.moment();
    await engine.rows("update carillon.time_buckets set closed_at = now(), closed_as = 'done' where bucket_id = $1", [
      moment.bucketId,
    ]);
    const due = (at: string) =>
      engine.rows(`update carillon.schedules set next_due_at = carillon.clock() + ${at} where schedule_id = $1`, [
        moment.scheduleId,
      ]);
    await due("interval '1 hour'");
    expect(await sweepNow()).toEqual(nothing);
    await due("interval '5 s'");
    for (let times = 0; times < 2; times += 1) expect(await sweepNow()).toEqual({ ...nothing, unplanned: true });
    expect(await jobsLike("carillon.plan")).toHaveLength(1);
  });

  it("finds buckets past their cut time without groups, one job a second, and not those to come", async () => {
    await settled();
    await engine.moment({ groups: 0, dueInMs: 3_600_000 });
    expect(await sweepNow()).toEqual(nothing);
    const late = await engine.moment({ groups: 0, dueInMs: -5000 });
    const second = Math.floor(late.dueAtMs / 1000);
    await engine.rows("update carillon.time_buckets set due_at = to_timestamp($2) where bucket_id = $1", [
      late.bucketId,
      second,
    ]);
    const same = await engine.moment({ groups: 0, dueInMs: -5000 });
    await engine.rows("update carillon.time_buckets set due_at = to_timestamp($2) where bucket_id = $1", [
      same.bucketId,
      second,
    ]);
    const cancelled = await engine.moment({ groups: 0, dueInMs: -60_000 });
    await engine.rows("update carillon.time_buckets set cancelled_at = now() where bucket_id = $1", [
      cancelled.bucketId,
    ]);
    expect(await sweepNow()).toEqual({ ...nothing, uncutSeconds: 1 });
    // what is past its cut time is cut with whatever else is due by then, however many seconds that are
    expect(await jobsLike("carillon.cut:%")).toMatchObject([{ key: "carillon.cut:due" }]);
    // one that was given out to a worker that died does not keep a fresh one away
    await engine.rows("update graphile_worker._private_jobs set locked_at = now(), locked_by = 'dead', attempts = 1");
    await sweepNow();
    expect((await jobsLike("carillon.cut:%")).filter((job) => !job.locked)).toHaveLength(1);
    await addCutJobs(engine.db.pool, [second * 1000], leadMs);
    expect((await jobsLike("carillon.cut:%")).filter((job) => !job.locked)).toHaveLength(1);
  });

  it("wakes groups that were never claimed and whose jobs are lost, once", async () => {
    await settled();
    const moment = await engine.moment({ groups: 3 });
    expect(await sweepNow()).toEqual({ ...nothing, wokenGroups: 3 });
    expect((await jobsLike(`carillon.group:${moment.bucketId}:%`)).map((job) => job.key)).toEqual(
      [0, 1, 2].map((group) => `carillon.group:${moment.bucketId}:${group}`),
    );
    // they have jobs that can run now
    expect(await sweepNow()).toEqual(nothing);
    expect(await jobsLike(`carillon.group:${moment.bucketId}:%`)).toHaveLength(3);
  });

  it("wakes groups whose lease has run out, and none whose lease is live", async () => {
    await settled();
    const moment = await engine.moment();
    const group = await engine.claim(moment);
    expect(await sweepNow()).toEqual(nothing);
    await engine.endLease(group);
    expect(await sweepNow()).toEqual({ ...nothing, wokenGroups: 1 });
  });

  it("gives a fresh job beside one that a dead worker has locked, or that ran out of attempts or time", async () => {
    await settled();
    for (const state of [
      "locked_at = now(), locked_by = 'dead', attempts = 1",
      "attempts = max_attempts",
      "run_at = now() + interval '1 hour'",
    ]) {
      const moment = await engine.moment();
      const dueAtMs = Math.floor(moment.dueAtMs);
      await addGroupJobs(engine.db.pool, [{ bucketId: moment.bucketId, groupNumber: 0, dueAtMs, share: 1 }]);
      expect(await sweepNow(), state).toMatchObject({ wokenGroups: 0 });
      await engine.rows(`update graphile_worker._private_jobs set ${state} where key = $1`, [
        `carillon.group:${moment.bucketId}:0`,
      ]);
      expect(await sweepNow(), state).toMatchObject({ wokenGroups: 1 });
    }
  });

  it("can run the job that it woke a group with", async () => {
    await settled();
    for (const state of [
      "locked_at = now(), locked_by = 'dead', attempts = 1",
      "attempts = max_attempts",
      "run_at = now() + interval '1 hour'",
    ]) {
      const moment = await engine.moment();
      const key = `carillon.group:${moment.bucketId}:0`;
      await addGroupJobs(engine.db.pool, [
        { bucketId: moment.bucketId, groupNumber: 0, dueAtMs: Math.floor(moment.dueAtMs), share: 1 },
      ]);
      await engine.rows(`update graphile_worker._private_jobs set ${state} where key = $1`, [key]);
      await sweepNow();
      expect(
        await engine.rows(
          `select from graphile_worker.jobs where key = $1 and locked_at is null and attempts < max_attempts
             and run_at <= now() + interval '1 second'`,
          [key],
        ),
        state,
      ).toHaveLength(1);
    }
  });

  it("leaves alone what is ahead, to wait, finished, or halted; but not what is halted and cancelled or expired", async () => {
    await settled();
    await engine.moment({ dueInMs: 60_000 });
    await change(await engine.moment(), "not_before = clock_timestamp() + interval '1 hour'");
    const half = await engine.moment({ groups: 2 });
    await engine.rows("update carillon.groups set finished_at = now() where bucket_id = $1 and group_number = 0", [
      half.bucketId,
    ]);
    await engine.claim(half, 1);
    await change(await engine.moment(), "halted_at = clock_timestamp()");
    expect(await sweepNow()).toEqual(nothing);

    const cancelled = await engine.moment();
    await change(cancelled, "halted_at = clock_timestamp()");
    await engine.rows("update carillon.time_buckets set cancelled_at = now() where bucket_id = $1", [
      cancelled.bucketId,
    ]);
    const expired = await engine.moment({ dueInMs: -10_000, expiresAfterMs: 1000 });
    await change(expired, "halted_at = clock_timestamp()");
    expect(await sweepNow()).toEqual({ ...nothing, wokenGroups: 2 });
  });

  it("closes buckets whose last owner died between the end mark and the question", async () => {
    await settled();
    const done = await engine.moment({ groups: 2 });
    const half = await engine.moment({ groups: 2 });
    await change(done, "finished_at = clock_timestamp()");
    await engine.rows("update carillon.groups set finished_at = now() where bucket_id = $1 and group_number = 0", [
      half.bucketId,
    ]);
    expect(await sweepNow()).toMatchObject({ closedBuckets: 1 });
    expect(
      await engine.rows("select closed_as from carillon.time_buckets where bucket_id = $1", [done.bucketId]),
    ).toEqual([{ closed_as: "done" }]);
  });

  it("wakes as many at a time as it is told, those due longest first", async () => {
    await settled();
    const later = await engine.moment({ groups: 3, dueInMs: -1000 });
    const longest = await engine.moment({ groups: 3, dueInMs: -50_000 });
    expect(await sweepNow(3)).toMatchObject({ wokenGroups: 3 });
    expect(await jobsLike(`carillon.group:${longest.bucketId}:%`)).toHaveLength(3);
    expect(await sweepNow(3)).toMatchObject({ wokenGroups: 3 });
    expect(await jobsLike(`carillon.group:${later.bucketId}:%`)).toHaveLength(3);
  });

  it("may run on every node at once: no job is there twice", async () => {
    await settled();
    await engine.moment({ groups: 40 });
    await Promise.all(Array.from({ length: 6 }, () => sweepNow()));
    const jobs = await jobsLike("carillon.group:%");
    expect(jobs).toHaveLength(40);
    expect(new Set(jobs.map((job) => job.key)).size).toBe(40);
  });
});

describe("retireSilentNodes", () => {
  it("marks those stopped that have not been heard of for long, with when that was", async () => {
    const nodeId = await registerNode(engine.db.pool, { name: "n", role: "worker", pid: 1, version: "t", slots: 1 });
    await engine.rows("update carillon.nodes set heartbeat_at = now() - interval '2 min' where node_id = $1", [nodeId]);
    await retireSilentNodes(engine.db.pool, 60_000);
    expect(
      await engine.rows("select stopped_at = heartbeat_at as retired from carillon.nodes order by node_id"),
    ).toEqual([{ retired: null }, { retired: true }]);
  });
});
