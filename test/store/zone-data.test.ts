import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { planDue } from "../../src/planner/plan.ts";
import { registerNode } from "../../src/store/nodes.ts";
import { createTopic } from "../../src/store/topics.ts";
import { adoptZoneData } from "../../src/store/zone-data.ts";
import { createEngine, type Engine } from "../support/engine.ts";
import { minuteIn, seedTable } from "../support/tables.ts";
import { until } from "../support/world.ts";

const hourMs = 3_600_000;
const never = new AbortController().signal;
let engine: Engine;
let topicId: number;
beforeAll(async () => {
  engine = await createEngine();
  topicId = (await createTopic(engine.db, "live", {})).topicId;
});
afterAll(() => engine[Symbol.asyncDispose]());
beforeEach(async () => {
  await engine.rows("update carillon.deployment set tzdata = null");
  await engine.rows("delete from carillon.time_buckets");
  await engine.rows("delete from carillon.schedules");
  await engine.rows("delete from graphile_worker._private_jobs");
});

const plan = (tzdata?: string) => planDue(engine.db, { horizonMs: hourMs, leadMs: 1000, tzdata }, never);
const adopt = (tzdata: string) => adoptZoneData(engine.db, tzdata, hourMs);
const recorded = async () =>
  (await engine.one<{ tzdata: string | null }>("select tzdata from carillon.deployment")).tzdata;

/** A schedule; its wall time comes in so many minutes. */
async function schedule(minutes: number, kind: "wall" | "instant" = "wall"): Promise<string> {
  const at = new Date(minuteIn(minutes)).toISOString();
  const rule = kind === "wall" ? { kind, time: at.slice(11, 16), zone: "UTC" } : { kind, at: at.replace(".000Z", "Z") };
  const { schedule_id: id } = await engine.one<{ schedule_id: string }>(
    `insert into carillon.schedules (topic_id, rule, next_due_at)
     select $1, carillon.canonical_rule($2), carillon.clock() returning schedule_id`,
    [topicId, JSON.stringify(rule)],
  );
  return id;
}
const stateOf = (id: string) =>
  engine.one<{ tzdata: string; waits: boolean }>(
    `select tzdata, next_due_at <= carillon.clock() + interval '1 h' as waits from carillon.schedules where schedule_id = $1`,
    [id],
  );
const bucketOf = (id: string) =>
  engine.one<{ tzdata: string | null; due_at: Date }>(
    "select tzdata, due_at from carillon.time_buckets where schedule_id = $1",
    [id],
  );

describe("a node that starts with zone data", () => {
  it("newer than the database's last has it recorded, and every rule with a zone planned again", async () => {
    const [wall, instant, soon] = [await schedule(180), await schedule(180, "instant"), await schedule(20)];
    const { scheduleIds } = await seedTable(engine.db, { name: "zoned", topic: "live", dueAtMs: { a: minuteIn(200) } });
    expect(await adopt("2025a")).toEqual({ standing: "newer", replanned: 0 });
    await plan("2025a");
    expect(await stateOf(wall)).toEqual({ tzdata: "2025a", waits: false });
    expect(await bucketOf(soon)).toMatchObject({ tzdata: "2025a" });
    await engine.rows("delete from graphile_worker._private_jobs");

    expect(await adopt("2025b")).toEqual({ standing: "newer", replanned: 3 });
    expect(await recorded()).toBe("2025b");
    const waits = await Promise.all([wall, instant, soon, ...scheduleIds].map(async (id) => (await stateOf(id)).waits));
    expect(waits).toEqual([true, false, true, true]);
    expect(await engine.rows("select from graphile_worker.jobs where key = 'carillon.plan'")).toHaveLength(1);
    await plan("2025b");
    expect(await stateOf(wall)).toEqual({ tzdata: "2025b", waits: false });
    // what comes at the same time is on record as planned under the newer
    expect(await bucketOf(soon)).toMatchObject({ tzdata: "2025b" });
    expect(await adopt("2025b")).toEqual({ standing: "same", replanned: 0 });
  });

  it("older says so, and changes nothing", async () => {
    const id = await schedule(180);
    await adopt("2025b");
    await plan("2025b");
    expect(await adopt("2025a")).toEqual({ standing: "older", newest: "2025b" });
    expect(await recorded()).toBe("2025b");
    expect(await stateOf(id)).toEqual({ tzdata: "2025b", waits: false });
  });

  it("is compared under a lock when two start at once: the newest stays", async () => {
    await using other = await engine.begin();
    await other.client.query("update carillon.deployment set tzdata = '2025c'");
    const adopted = adopt("2025b");
    const waiting = "select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
    await until(async () => (await engine.rows(waiting)).length === 1, "it waits for the lock");
    await other.commit();
    expect(await adopted).toEqual({ standing: "older", newest: "2025c" });
    expect(await recorded()).toBe("2025c");
  });
});

describe("while nodes are updated one after another", () => {
  it("a newer node's planner plans again what an older one has planned meanwhile", async () => {
    await adopt("2025b");
    const [near, far] = [await schedule(20), await schedule(180)];
    await plan("2025a");
    expect(await bucketOf(near)).toMatchObject({ tzdata: "2025a" });
    expect(await plan("2025b")).toMatchObject({ schedules: 2 });
    expect(await bucketOf(near)).toMatchObject({ tzdata: "2025b" });
    expect([await stateOf(near), await stateOf(far)].map(({ tzdata }) => tzdata)).toEqual(["2025b", "2025b"]);
    // and leaves alone what is planned under its own
    expect(await plan("2025b")).toMatchObject({ schedules: 0 });
    expect(await plan("2025a")).toMatchObject({ schedules: 0 });
  });

  it("an older node's planner neither moves nor drops what a newer one has planned", async () => {
    const [moved, gone] = [await schedule(20), await schedule(30)];
    await plan("2025b");
    const due = (await bucketOf(moved)).due_at.getTime();
    const earlierMs = due - 120_000;
    await engine.rows("update carillon.time_buckets set due_at = $2 where schedule_id = $1", [
      moved,
      new Date(earlierMs),
    ]);
    await engine.rows("update carillon.time_buckets set occurrence = 'of newer rules' where schedule_id = $1", [gone]);
    const replan = () => engine.rows("update carillon.schedules set next_due_at = carillon.clock()");
    await replan();
    await plan("2025a");
    expect((await bucketOf(moved)).due_at.getTime()).toBe(earlierMs);
    const keys = () =>
      engine.rows("select from carillon.time_buckets where schedule_id = $1 and occurrence = 'of newer rules'", [gone]);
    expect(await keys()).toHaveLength(1);
    await replan();
    await plan("2025b");
    expect((await bucketOf(moved)).due_at.getTime()).toBe(due);
    expect(await keys()).toEqual([]);
  });

  it("attention names the older node for as long as it lives, and nobody else", async () => {
    await adopt("2025b");
    const named = async () =>
      (
        await engine.rows<{ node_id: number }>("select node_id from carillon.attention where kind = 'older zone data'")
      ).map((row) => row.node_id);
    const start = (tzdata?: string) =>
      registerNode(engine.db.pool, { name: "n", role: "worker", pid: 1, version: "0", slots: 1, tzdata });
    const [older] = [await start("2025a"), await start("2025b"), await start("2025c"), await start()];
    expect(await named()).toEqual([older]);
    await engine.rows(
      "update carillon.nodes set heartbeat_at = clock_timestamp() - interval '20 s' where node_id = $1",
      [older],
    );
    expect(await named()).toEqual([]);
  });
});
