import type pg from "pg";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type CutOptions, cutBuckets } from "../../src/store/cut.ts";
import type { Database } from "../../src/store/database.ts";
import { registerNode, stopNode } from "../../src/store/nodes.ts";
import { createEngine, type Engine, type SeededMoment } from "../support/engine.ts";

let engine: Engine;
beforeAll(async () => {
  engine = await createEngine();
});
afterAll(() => engine[Symbol.asyncDispose]());
beforeEach(async () => {
  await engine.rows("update carillon.time_buckets set closed_at = now(), closed_as = 'done' where closed_at is null");
  await engine.rows("delete from graphile_worker._private_jobs");
});

const options: CutOptions = { groupTarget: 5000, groupsPerNode: 4, groupFloor: 500, aliveMs: 3_600_000, batch: 1000 };
const soon = () => Date.now() + 60_000;
const cut = (untilMs = soon(), changed: Partial<CutOptions> = {}, db: Database = engine.db) =>
  cutBuckets(db, untilMs, { ...options, ...changed });
const groupsOf = ({ bucketId }: SeededMoment) =>
  engine.rows<{ first_slot: number; last_slot: number; mark_slot: number; mark_user: string; epoch: number }>(
    `select first_slot, last_slot, mark_slot, mark_user, epoch from carillon.groups
     where bucket_id = $1 order by group_number`,
    [bucketId],
  );
const populationOf = async ({ bucketId }: SeededMoment) =>
  (
    await engine.one<{ population: number }>("select population from carillon.time_buckets where bucket_id = $1", [
      bucketId,
    ])
  ).population;
/** Subscribers without anything else, spread evenly over the slots. */
const populate = ({ scheduleId }: SeededMoment, count: number) =>
  engine.rows(
    `insert into carillon.subscriptions (schedule_id, user_number, hash_slot)
     select $1, 1000000 + i, (i * 40503::bigint) % 65536 from generate_series(1, $2::int) i`,
    [scheduleId, count],
  );

describe("cutBuckets", () => {
  it("spreads a moment's groups where its topic says so: each is claimed, and has its job, at its own time", async () => {
    const moment = await engine.moment({ groups: 0, users: 0, dueInMs: -2500 });
    await populate(moment, 100);
    await engine.rows("update carillon.topics set spread_ms = 10000 where topic_id = $1", [moment.topicId]);
    expect(await cut()).toEqual({ buckets: 1, groups: 10 });
    const groups = await engine.rows<{ after: number; job: number }>(
      `select extract(epoch from g.not_before - b.due_at)::float8 as after, extract(epoch from j.run_at - g.not_before)::float8 as job
       from carillon.groups g join carillon.time_buckets b using (bucket_id)
       join graphile_worker.jobs j on j.key = 'carillon.group:' || g.bucket_id || ':' || g.group_number
       where g.bucket_id = $1 and g.group_number > 2 order by g.group_number`,
      [moment.bucketId],
    );
    expect(groups).toEqual([3, 4, 5, 6, 7, 8, 9].map((after) => ({ after, job: 0 })));
    const claimable = await engine.rows(
      "select from carillon.groups where bucket_id = $1 and not_before <= clock_timestamp()",
      [moment.bucketId],
    );
    expect(claimable.length).toBeLessThan(10);
  });

  it("cuts a preset count of groups that cover all slots, each with a job that says what it is", async () => {
    const moment = await engine.moment({ groups: 0, users: 3, dueInMs: 30_000 });
    await engine.rows("update carillon.topics set group_count = 7 where topic_id = $1", [moment.topicId]);
    expect(await cut()).toEqual({ buckets: 1, groups: 7 });
    const groups = await groupsOf(moment);
    expect(groups[0]?.first_slot).toBe(0);
    expect(groups.at(-1)?.last_slot).toBe(65_535);
    for (const [index, group] of groups.entries()) {
      expect(group.first_slot).toBe(index === 0 ? 0 : (groups[index - 1]?.last_slot ?? Number.NaN) + 1);
      expect(group).toMatchObject({ mark_slot: group.first_slot, mark_user: "0", epoch: 0 });
    }
    expect(await populationOf(moment)).toBe(3);
    const jobs = await engine.rows<{ payload: Record<string, unknown>; due: boolean }>(
      "select payload, run_at <= now() as due from graphile_worker._private_jobs order by key",
    );
    expect(jobs).toHaveLength(7);
    for (const job of jobs) {
      expect(job).toMatchObject({ due: true, payload: { bucketId: moment.bucketId, share: 7 } });
      expect(job.payload.dueAtMs).toBeCloseTo(moment.dueAtMs, -1);
    }
  });

  it("gives small buckets of one instant one job; not larger ones, those cut into several, or of another instant", async () => {
    const at = new Date(Date.now() + 30_000).toISOString();
    const jobs: Record<string, SeededMoment> = {};
    for (const [name, users] of [
      ["paused", 2],
      ["a", 3],
      ["b", 0],
      ["several", 3],
      ["large", 0],
      ["later", 1],
      ["c", 1],
    ] as const) {
      jobs[name] = await engine.moment({ groups: 0, users, dueInMs: 30_000 });
    }
    const of = (name: string) => jobs[name]?.bucketId ?? "";
    await engine.rows(
      "update carillon.time_buckets set due_at = $2, expires_at = $2::timestamptz + interval '1 hour' where bucket_id = any ($1)",
      [["paused", "a", "b", "several", "large", "c"].map(of), at],
    );
    await engine.rows("update carillon.topics set group_count = 2 where topic_id = $1", [jobs.several?.topicId]);
    await engine.rows("update carillon.topics set paused_at = now() where topic_id = $1", [jobs.paused?.topicId]);
    if (jobs.large !== undefined) await populate(jobs.large, 501);
    expect(await cut()).toEqual({ buckets: 7, groups: 8 });
    const rows = await engine.rows<{ key: string; payload: { more: { bucketId: string }[] } }>(
      "select key, payload from graphile_worker._private_jobs order by id",
    );
    const seen = rows.map(({ key, payload }) => [key, payload.more.map(({ bucketId }) => bucketId)]);
    // the first of them is paused: that costs the others nothing
    expect(seen).toEqual(
      expect.arrayContaining([
        [`carillon.group:${of("a")}:0+`, [of("b"), of("c")]],
        [`carillon.group:${of("several")}:0`, []],
        [`carillon.group:${of("several")}:1`, []],
        [`carillon.group:${of("large")}:0`, []],
        [`carillon.group:${of("later")}:0`, []],
      ]),
    );
    expect(seen).toHaveLength(5);
  });

  it("cuts at least one group, for whoever subscribes after", async () => {
    const moment = await engine.moment({ groups: 0, users: 0, dueInMs: 30_000 });
    expect(await cut()).toEqual({ buckets: 1, groups: 1 });
    expect(await groupsOf(moment)).toMatchObject([{ first_slot: 0, last_slot: 65_535 }]);
  });

  it("cuts what is due by then, once, and neither cancelled nor closed buckets", async () => {
    const due = await engine.moment({ groups: 0, dueInMs: 20_000 });
    const later = await engine.moment({ groups: 0, dueInMs: 600_000 });
    const cancelled = await engine.moment({ groups: 0, dueInMs: 20_000 });
    await engine.rows("update carillon.time_buckets set cancelled_at = now() where bucket_id = $1", [
      cancelled.bucketId,
    ]);
    expect(await cut(Math.floor(due.dueAtMs))).toEqual({ buckets: 0, groups: 0 });
    expect(await cut()).toMatchObject({ buckets: 1 });
    expect(await cut()).toEqual({ buckets: 0, groups: 0 });
    expect(await groupsOf(later)).toEqual([]);
    expect(await groupsOf(cancelled)).toEqual([]);
  });

  it("counts a population that is small and estimates one that is large, without those who left", async () => {
    const small = await engine.moment({ groups: 0, users: 0, dueInMs: 20_000 });
    await populate(small, 5000);
    await engine.rows(
      "update carillon.subscriptions set ended_at = now() where schedule_id = $1 and user_number % 2 = 0",
      [small.scheduleId],
    );
    const large = await engine.moment({ groups: 0, users: 0, dueInMs: 20_000 });
    await populate(large, 60_000);
    await cut();
    expect(await populationOf(small)).toBe(2500);
    expect(await populationOf(large)).toBeGreaterThan(54_000);
    expect(await populationOf(large)).toBeLessThan(66_000);
    // two and a half thousand: one node has at most four; sixty thousand: by the target
    expect((await groupsOf(small)).length).toBe(4);
    expect((await groupsOf(large)).length).toBeGreaterThanOrEqual(11);
    expect((await groupsOf(large)).length).toBeLessThanOrEqual(14);
  });

  it("cuts for the nodes that live, and deals out shares among them", async () => {
    const node = (name: string) => ({ name, role: "worker", pid: 1, version: "t", slots: 4 }) as const;
    const others = [await registerNode(engine.db.pool, node("b")), await registerNode(engine.db.pool, node("c"))];
    const dead = await registerNode(engine.db.pool, node("dead"));
    await engine.rows("update carillon.nodes set heartbeat_at = now() - interval '1 day' where node_id = $1", [dead]);
    await registerNode(engine.db.pool, { ...node("api"), role: "api" });
    try {
      const moment = await engine.moment({ groups: 0, users: 0, dueInMs: 30_000 });
      await populate(moment, 6000);
      await cut();
      // three nodes, four each, and 500 in each group
      expect(await groupsOf(moment)).toHaveLength(12);
      expect(
        await engine.rows("select distinct (payload ->> 'share')::int as share from graphile_worker._private_jobs"),
      ).toEqual([{ share: 4 }]);
    } finally {
      for (const nodeId of others) await stopNode(engine.db.pool, nodeId);
    }
  });

  it("takes a constant number of statements, for one bucket or for three hundred", async () => {
    const counts: number[] = [];
    for (const buckets of [1, 300]) {
      const moment = await engine.moment({ groups: 0, users: 1, dueInMs: 20_000 });
      await engine.rows(
        `insert into carillon.time_buckets (schedule_id, topic_id, occurrence, due_at, expires_at)
         select schedule_id, topic_id, 'n' || i, due_at, expires_at from carillon.time_buckets, generate_series(2, $2::int) i
         where bucket_id = $1`,
        [moment.bucketId, buckets],
      );
      const counted = countStatements(engine.db);
      expect(await cut(soon(), {}, counted.db)).toEqual({ buckets, groups: buckets });
      counts.push(counted.statements());
    }
    expect(counts[1]).toBe(counts[0]);
    expect(counts[0]).toBeLessThanOrEqual(8);
  });

  it("goes on in batches, and says when there are no more", async () => {
    for (let index = 0; index < 5; index += 1) await engine.moment({ groups: 0, users: 0, dueInMs: 20_000 });
    expect(await cut(soon(), { batch: 3 })).toMatchObject({ buckets: 3 });
    expect(await cut(soon(), { batch: 3 })).toMatchObject({ buckets: 2 });
  });

  it("four cutters at once share the buckets out: each is cut once", async () => {
    const moment = await engine.moment({ groups: 0, users: 1, dueInMs: 20_000 });
    await engine.rows(
      `insert into carillon.time_buckets (schedule_id, topic_id, occurrence, due_at, expires_at)
       select schedule_id, topic_id, 'n' || i, due_at, expires_at from carillon.time_buckets, generate_series(2, 60) i
       where bucket_id = $1`,
      [moment.bucketId],
    );
    const done = await Promise.all(
      Array.from({ length: 4 }, async () => {
        let buckets = 0;
        for (;;) {
          const some = await cut(soon(), { batch: 7 });
          buckets += some.buckets;
          if (some.buckets === 0) return buckets;
        }
      }),
    );
    expect(done.reduce((sum, buckets) => sum + buckets, 0)).toBe(60);
    expect(
      await engine.one(
        `select count(*)::int as groups, count(distinct g.bucket_id)::int as buckets
         from carillon.groups g join carillon.time_buckets b using (bucket_id) where b.schedule_id = $1`,
        [moment.scheduleId],
      ),
    ).toEqual({ groups: 60, buckets: 60 });
  });

  it("passes over a bucket that another transaction has locked", async () => {
    const moment = await engine.moment({ groups: 0, dueInMs: 20_000 });
    await using other = await engine.begin();
    await other.client.query("select from carillon.time_buckets where bucket_id = $1 for no key update", [
      moment.bucketId,
    ]);
    expect(await cut()).toEqual({ buckets: 0, groups: 0 });
    await other.commit();
    expect(await cut()).toMatchObject({ buckets: 1 });
  });

  it("leaves nothing behind when it fails midway", async () => {
    const moment = await engine.moment({ groups: 0, dueInMs: 20_000 });
    // somebody put a group there: the key refuses another
    await engine.rows(
      `insert into carillon.groups (bucket_id, group_number, first_slot, last_slot, mark_slot, not_before)
       values ($1, 0, 0, 65535, 0, now())`,
      [moment.bucketId],
    );
    await expect(cut()).rejects.toMatchObject({ code: "23505" });
    expect(
      await engine.one("select cut_at, population from carillon.time_buckets where bucket_id = $1", [moment.bucketId]),
    ).toEqual({ cut_at: null, population: null });
    expect(await engine.rows("select from graphile_worker._private_jobs")).toEqual([]);
  });
});

/** The same database, with its statements counted. */
function countStatements(db: Database): { readonly db: Database; statements(): number } {
  let statements = 0;
  const pool = new Proxy(db.pool, {
    get(target, name) {
      if (name !== "connect") return Reflect.get(target, name, target);
      return async () => {
        const client: pg.PoolClient = await target.connect();
        return new Proxy(client, {
          get(inner, property) {
            if (property === "query") statements += 1;
            const value: unknown = Reflect.get(inner, property, inner);
            return typeof value === "function" ? value.bind(inner) : value;
          },
        });
      };
    },
  });
  return { db: { ...db, pool }, statements: () => statements };
}
