import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { recordOutcomes } from "../../src/store/outcome.ts";
import { closeBucket, settleGroup } from "../../src/store/settle.ts";
import { createEngine, deferAll, type Engine, intendSurely, recordOf, type SeededMoment } from "../support/engine.ts";

let engine: Engine;
beforeAll(async () => {
  engine = await createEngine({ max: 12 });
});
afterAll(() => engine[Symbol.asyncDispose]());

const bucketOf = ({ bucketId }: SeededMoment) =>
  engine.one<{ closed_at: Date | null; closed_as: string | null }>(
    "select closed_at, closed_as from carillon.time_buckets where bucket_id = $1",
    [bucketId],
  );

/** A moment whose groups are all claimed, sent and recorded, and lack their end marks. */
async function sentMoment(groups: number) {
  const moment = await engine.moment({ users: 4, groups });
  const claimed = await Promise.all(Array.from({ length: groups }, (_, number) => engine.claim(moment, number)));
  for (const group of claimed) {
    const chunk = await intendSurely(engine.db.pool, group);
    if (chunk.size > 0) await recordOutcomes(engine.db.pool, recordOf(group, chunk));
  }
  return { moment, claimed };
}

describe("settleGroup", () => {
  it("sets the end mark and gives up the lease", async () => {
    const { moment, claimed } = await sentMoment(1);
    const [group] = claimed;
    if (group === undefined) throw new Error("not claimed");
    expect(await settleGroup(engine.db.pool, group)).toBe(true);
    const row = await engine.group(moment);
    expect(row.finished_at).not.toBeNull();
    expect(row).toMatchObject({ claim_token: null, lease_until: null });
    expect(await settleGroup(engine.db.pool, group)).toBe(false);
  });

  it("refuses before the group has been paged through", async () => {
    const moment = await engine.moment({ users: 3 });
    const group = await engine.claim(moment);
    expect(await settleGroup(engine.db.pool, group)).toBe(false);
    await intendSurely(engine.db.pool, group, { limit: 2 });
    expect(await settleGroup(engine.db.pool, group)).toBe(false);
    expect((await engine.group(moment)).finished_at).toBeNull();
  });

  it("refuses while anything is deferred, parked or not", async () => {
    const moment = await engine.moment({ users: 2 });
    const group = await engine.claim(moment);
    await deferAll(engine.db.pool, group, await intendSurely(engine.db.pool, group), { waitMs: 1000 });
    expect(await settleGroup(engine.db.pool, group)).toBe(false);
    await engine.rows("update carillon.deferred set parked_at = clock_timestamp() where bucket_id = $1", [
      moment.bucketId,
    ]);
    expect(await settleGroup(engine.db.pool, group)).toBe(false);
    await engine.rows("delete from carillon.deferred where bucket_id = $1", [moment.bucketId]);
    expect(await settleGroup(engine.db.pool, group)).toBe(true);
  });

  it("refuses whoever no longer holds the group", async () => {
    const { moment, claimed } = await sentMoment(1);
    const [stale] = claimed;
    if (stale === undefined) throw new Error("not claimed");
    await engine.endLease(stale);
    const owner = await engine.claim(moment);
    expect(await settleGroup(engine.db.pool, stale)).toBe(false);
    expect(await settleGroup(engine.db.pool, { ...owner, epoch: stale.epoch })).toBe(false);
    expect(await settleGroup(engine.db.pool, { ...owner, claimToken: stale.claimToken })).toBe(false);
    expect(await settleGroup(engine.db.pool, owner)).toBe(true);
  });
});

describe("closeBucket", () => {
  it("closes once, as done, or as cancelled", async () => {
    for (const cancelled of [false, true]) {
      const { moment, claimed } = await sentMoment(2);
      if (cancelled)
        await engine.rows("update carillon.time_buckets set cancelled_at = clock_timestamp() where bucket_id = $1", [
          moment.bucketId,
        ]);
      for (const group of claimed) {
        expect(await closeBucket(engine.db.pool, moment.bucketId)).toBe(false);
        await settleGroup(engine.db.pool, group);
      }
      expect(await closeBucket(engine.db.pool, moment.bucketId)).toBe(true);
      expect(await closeBucket(engine.db.pool, moment.bucketId)).toBe(false);
      expect((await bucketOf(moment)).closed_as).toBe(cancelled ? "cancelled" : "done");
    }
  });

  it("does not close a bucket that was not cut: its groups are still to come", async () => {
    const moment = await engine.moment({ groups: 0 });
    expect(await closeBucket(engine.db.pool, moment.bucketId)).toBe(false);
  });

  it("does not close while a group has deliveries deferred", async () => {
    const moment = await engine.moment({ users: 1 });
    const group = await engine.claim(moment);
    await deferAll(engine.db.pool, group, await intendSurely(engine.db.pool, group));
    await settleGroup(engine.db.pool, group);
    expect(await closeBucket(engine.db.pool, moment.bucketId)).toBe(false);
  });
});

/** Each session settles (s), commits that (c), and asks (a), in this order; between the two every order can come. */
function interleavings(one: readonly string[], other: readonly string[]): string[][] {
  const [a, ...restOfOne] = one;
  const [b, ...restOfOther] = other;
  if (a === undefined) return [[...other]];
  if (b === undefined) return [[...one]];
  return [
    ...interleavings(restOfOne, other).map((rest) => [a, ...rest]),
    ...interleavings(one, restOfOther).map((rest) => [b, ...rest]),
  ];
}

describe("two last groups that settle together", () => {
  const orders = interleavings(["s0", "c0", "a0"], ["s1", "c1", "a1"]);

  it.each(orders.map((order) => [order.join(" "), order] as const))("%s: close once", async (_, order) => {
    const { moment, claimed } = await sentMoment(2);
    await using first = await engine.begin();
    await using second = await engine.begin();
    const closed: string[] = [];
    for (const step of order) {
      const which = Number(step[1]);
      const session = which === 0 ? first : second;
      const group = claimed[which];
      if (group === undefined) throw new Error("not claimed");
      if (step[0] === "s") expect(await settleGroup(session.client, group)).toBe(true);
      else if (step[0] === "c") await session.commit();
      else if (await closeBucket(engine.db.pool, moment.bucketId)) closed.push(step);
    }
    expect(closed).toHaveLength(1);
    expect(await bucketOf(moment)).toMatchObject({ closed_as: "done" });
  });

  it("close once when both ask at the same time, on two connections", async () => {
    const { moment, claimed } = await sentMoment(2);
    for (const group of claimed) await settleGroup(engine.db.pool, group);
    await using first = await engine.begin();
    expect(await closeBucket(first.client, moment.bucketId)).toBe(true);
    await using second = await engine.begin();
    const asked = closeBucket(second.client, moment.bucketId);
    await engine.waits(second);
    await first.commit();
    expect(await asked).toBe(false);
  });
});
