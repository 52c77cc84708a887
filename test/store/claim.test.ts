import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Claimant, claimGroup, claimNextDue } from "../../src/store/claim.ts";
import { createEngine, type Engine, type SeededMoment, testLeaseMs } from "../support/engine.ts";

let engine: Engine;
beforeAll(async () => {
  engine = await createEngine();
});
afterAll(() => engine[Symbol.asyncDispose]());

const claimant = (): Claimant => ({ nodeId: engine.nodeId, claimToken: randomUUID(), leaseMs: testLeaseMs });
const claimOf = ({ bucketId }: SeededMoment, group = 0) => claimGroup(engine.db.pool, claimant(), bucketId, group);
const change = ({ bucketId }: SeededMoment, columns: string) =>
  engine.rows(`update carillon.groups set ${columns} where bucket_id = $1`, [bucketId]);
const changeBucket = ({ bucketId }: SeededMoment, columns: string) =>
  engine.rows(`update carillon.time_buckets set ${columns} where bucket_id = $1`, [bucketId]);

describe("claimGroup", () => {
  it("sets the start mark, a new epoch, token and lease, and returns what delivering needs", async () => {
    const moment = await engine.moment({ mode: "at_most_once" });
    await engine.rows(
      "update carillon.topics set title = 'On air', body = 'now', data = '{\"a\": 1}' where topic_id = $1",
      [moment.topicId],
    );
    const who = claimant();
    const group = await claimGroup(engine.db.pool, who, moment.bucketId, 0);
    expect(group).toMatchObject({
      bucketId: moment.bucketId,
      groupNumber: 0,
      epoch: 1,
      claimToken: who.claimToken,
      dueDay: moment.dueDay,
      scheduleId: moment.scheduleId,
      occurrence: "once",
      nextChunk: 0,
      pagedThrough: false,
      takeovers: 0,
      cancelled: false,
      paused: false,
      topic: { topicId: moment.topicId, title: "On air", body: "now", data: { a: 1 }, deliveryMode: "at_most_once" },
    });
    expect(group?.dueAtMs).toBeCloseTo(moment.dueAtMs, 0);
    expect(group?.expiresAtMs).toBeCloseTo(moment.dueAtMs + 600_000, 0);
    const row = await engine.group(moment);
    expect(row.started_at).not.toBeNull();
    expect(row).toMatchObject({ epoch: 1, claim_token: who.claimToken, takeovers: 0, rescues: 0 });
    expect(row.lease_left_ms).toBeGreaterThan(0);
    expect(row.lease_left_ms).toBeLessThanOrEqual(testLeaseMs);
  });

  it("takes a group ahead of its moment, whereas claimNextDue does not", async () => {
    await engine.rows("update carillon.time_buckets set closed_at = now(), closed_as = 'done' where closed_at is null");
    const moment = await engine.moment({ dueInMs: 600_000 });
    expect(await claimNextDue(engine.db.pool, claimant())).toEqual([]);
    expect(await claimOf(moment)).toMatchObject({ epoch: 1 });
  });

  it("leaves a group alone whose lease is live", async () => {
    const moment = await engine.moment();
    expect(await claimOf(moment)).not.toBeNull();
    expect(await claimOf(moment)).toBeNull();
    expect(await engine.group(moment)).toMatchObject({ epoch: 1, rescues: 0 });
  });

  it("takes over a group whose lease has run out, and counts that", async () => {
    const moment = await engine.moment();
    const first = await claimOf(moment);
    const { started_at: startedAt } = await engine.group(moment);
    await engine.endLease({ bucketId: moment.bucketId, groupNumber: 0 });
    const second = await claimOf(moment);
    expect(second).toMatchObject({ epoch: 2, takeovers: 1 });
    expect(second?.claimToken).not.toBe(first?.claimToken);
    expect(await engine.group(moment)).toMatchObject({ rescues: 1, takeovers: 1, started_at: startedAt });
  });

  it("counts no rescue for a group that was given back", async () => {
    const moment = await engine.moment();
    await claimOf(moment);
    await change(moment, "claim_token = null, lease_until = null");
    expect(await claimOf(moment)).toMatchObject({ epoch: 2, takeovers: 0 });
    expect(await engine.group(moment)).toMatchObject({ rescues: 0 });
  });

  it("waits for not_before", async () => {
    const moment = await engine.moment();
    await change(moment, "not_before = clock_timestamp() + interval '1 hour'");
    expect(await claimOf(moment)).toBeNull();
    await change(moment, "not_before = clock_timestamp()");
    expect(await claimOf(moment)).not.toBeNull();
  });

  it("takes neither what is finished nor what is closed", async () => {
    const finished = await engine.moment();
    await change(finished, "finished_at = clock_timestamp()");
    expect(await claimOf(finished)).toBeNull();
    const closed = await engine.moment();
    await changeBucket(closed, "closed_at = clock_timestamp(), closed_as = 'done'");
    expect(await claimOf(closed)).toBeNull();
  });

  it("leaves halted groups alone until their bucket is cancelled or expired", async () => {
    const paused = await engine.moment();
    await engine.rows("update carillon.schedules set paused_at = now() where schedule_id = $1", [paused.scheduleId]);
    await change(paused, "halted_at = clock_timestamp()");
    expect(await claimOf(paused)).toBeNull();
    await changeBucket(paused, "expires_at = greatest(carillon.clock(), due_at + interval '1 millisecond')");
    expect(await claimOf(paused)).toMatchObject({ paused: true, cancelled: false });

    const cancelled = await engine.moment();
    await change(cancelled, "halted_at = clock_timestamp()");
    await changeBucket(cancelled, "cancelled_at = clock_timestamp()");
    expect(await claimOf(cancelled)).toMatchObject({ cancelled: true });
  });

  it("takes an expired group: somebody must record that", async () => {
    expect(await claimOf(await engine.moment({ dueInMs: -10_000, expiresAfterMs: 1000 }))).not.toBeNull();
  });
});

describe("claimNextDue", () => {
  it("hands out what has been due longest first, each group once", async () => {
    await engine.rows("update carillon.time_buckets set closed_at = now(), closed_as = 'done' where closed_at is null");
    const late = await engine.moment({ dueInMs: -20_000, groups: 2 });
    const later = await engine.moment({ dueInMs: -10_000, groups: 1 });
    const order: string[] = [];
    for (;;) {
      const [group] = await claimNextDue(engine.db.pool, claimant());
      if (group === undefined) break;
      order.push(`${group.bucketId}:${group.groupNumber}`);
    }
    expect(order).toEqual([`${late.bucketId}:0`, `${late.bucketId}:1`, `${later.bucketId}:0`]);
  });

  it("passes over a group that another transaction has locked, and does not wait for it", async () => {
    await engine.rows("update carillon.time_buckets set closed_at = now(), closed_as = 'done' where closed_at is null");
    const moment = await engine.moment({ groups: 2 });
    await using other = await engine.begin();
    const [first] = await claimNextDue(other.client, claimant());
    const [second] = await claimNextDue(engine.db.pool, claimant());
    expect([first?.groupNumber, second?.groupNumber]).toEqual([0, 1]);
    expect(await claimNextDue(engine.db.pool, claimant())).toEqual([]);
    // and when it is rolled back, the group is there again
    await other[Symbol.asyncDispose]();
    expect(await claimNextDue(engine.db.pool, claimant())).toMatchObject([
      { bucketId: moment.bucketId, groupNumber: 0 },
    ]);
  });

  it("gives each of 60 groups to one of eight claimants, however they race", async () => {
    await engine.rows("update carillon.time_buckets set closed_at = now(), closed_as = 'done' where closed_at is null");
    const moment = await engine.moment({ groups: 60 });
    const claimed = await Promise.all(
      Array.from({ length: 8 }, async () => {
        const mine: number[] = [];
        // nothing for me just now may mean that others hold the locks; the sweep would come back
        for (let misses = 0; misses < 20; ) {
          const [group] = await claimNextDue(engine.db.pool, claimant());
          if (group === undefined) misses += 1;
          else mine.push(group.groupNumber);
        }
        return mine;
      }),
    );
    expect(claimed.flat().toSorted((one, other) => one - other)).toEqual(Array.from({ length: 60 }, (_, i) => i));
    const { epochs } = await engine.one<{ epochs: number }>(
      "select max(epoch) as epochs from carillon.groups where bucket_id = $1",
      [moment.bucketId],
    );
    expect(epochs).toBe(1);
  });

  it("is not kept from a group by a key share lock, as foreign keys take it", async () => {
    const moment = await engine.moment();
    await using other = await engine.begin();
    await other.client.query("select from carillon.groups where bucket_id = $1 for key share", [moment.bucketId]);
    expect(await claimOf(moment)).not.toBeNull();
  });
});
