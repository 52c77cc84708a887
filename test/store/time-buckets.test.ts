import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { inTransaction } from "../../src/store/executor.ts";
import { moveBuckets } from "../../src/store/time-buckets.ts";
import { createEngine, type Engine, type SeededMoment } from "../support/engine.ts";

let engine: Engine;
beforeAll(async () => {
  engine = await createEngine();
});
afterAll(() => engine[Symbol.asyncDispose]());

const move = (moves: readonly { readonly bucketId: string; readonly dueAtMs: number }[]) =>
  inTransaction(engine.db, (client) => moveBuckets(client, moves));
const bucketOf = ({ bucketId }: SeededMoment) =>
  engine.one<{ due_at_ms: number; lasts_ms: number; cut: boolean; due_day: string; groups: number }>(
    `select (extract(epoch from due_at) * 1000)::float8 as due_at_ms, due_day::text, cut_at is not null as cut,
       (extract(epoch from expires_at - due_at) * 1000)::float8 as lasts_ms,
       (select count(*) from carillon.groups g where g.bucket_id = b.bucket_id)::int as groups
     from carillon.time_buckets b where bucket_id = $1`,
    [bucketId],
  );

describe("moveBuckets", () => {
  it("moves due_at and the expiry with it, drops the groups, and makes the new day's ledger", async () => {
    const moment = await engine.moment({ dueInMs: 600_000, groups: 3 });
    const dueAtMs = Math.floor(moment.dueAtMs / 1000) * 1000 + 40 * 86_400_000;
    expect(await move([{ bucketId: moment.bucketId, dueAtMs }])).toEqual([dueAtMs]);
    const bucket = await bucketOf(moment);
    expect(bucket).toMatchObject({ due_at_ms: dueAtMs, lasts_ms: 600_000, cut: false, groups: 0 });
    const day = bucket.due_day.replaceAll("-", "");
    for (const part of ["chunks", "outcomes", "failures"]) {
      expect(await engine.one("select to_regclass($1) is not null as made", [`carillon.${part}_${day}`])).toEqual({
        made: true,
      });
    }
  });

  it("moves nothing once a group was claimed, given back since or not", async () => {
    const moment = await engine.moment({ dueInMs: 600_000, groups: 2 });
    const free = await engine.moment({ dueInMs: 600_000, groups: 2 });
    await engine.claim(moment, 1);
    await engine.rows("update carillon.groups set claim_token = null, lease_until = null where bucket_id = $1", [
      moment.bucketId,
    ]);
    const dueAtMs = Math.floor(moment.dueAtMs / 1000) * 1000 + 3_600_000;
    const moves = [moment, free].map(({ bucketId }) => ({ bucketId, dueAtMs }));
    expect(await move(moves)).toEqual([dueAtMs]);
    expect(await bucketOf(moment)).toMatchObject({ cut: true, groups: 2 });
    expect((await bucketOf(moment)).due_at_ms).toBeCloseTo(moment.dueAtMs, 0);
    expect(await bucketOf(free)).toMatchObject({ due_at_ms: dueAtMs, groups: 0 });
  });

  it("leaves closed and cancelled buckets where they are, with their groups", async () => {
    const moment = await engine.moment({ dueInMs: 600_000, groups: 1 });
    const dueAtMs = Math.floor(moment.dueAtMs) + 60_000;
    await engine.rows(
      "update carillon.time_buckets set closed_at = now(), closed_as = 'cancelled', cancelled_at = now() where bucket_id = $1",
      [moment.bucketId],
    );
    expect(await move([{ bucketId: moment.bucketId, dueAtMs }])).toEqual([]);
    expect(await bucketOf(moment)).toMatchObject({ groups: 1 });
    expect(await move([])).toEqual([]);
  });

  it("gives way to a claim that came first and is not committed yet", async () => {
    const moment = await engine.moment({ dueInMs: 600_000 });
    await using claiming = await engine.begin();
    await engine.claim(moment, 0, claiming.client);
    await using moving = await engine.begin();
    const moved = moveBuckets(moving.client, [{ bucketId: moment.bucketId, dueAtMs: moment.dueAtMs + 60_000 }]);
    await engine.waits(moving);
    await claiming.commit();
    expect(await moved).toEqual([]);
    await moving.commit();
    expect(await engine.group(moment)).toMatchObject({ epoch: 1 });
  });

  it("takes the group from a claim that comes later", async () => {
    const moment = await engine.moment({ dueInMs: 600_000 });
    await using moving = await engine.begin();
    const dueAtMs = Math.floor(moment.dueAtMs) + 60_000;
    expect(await moveBuckets(moving.client, [{ bucketId: moment.bucketId, dueAtMs }])).toEqual([dueAtMs]);
    await expect(engine.claim(moment)).rejects.toThrow("could not be claimed");
    await moving.commit();
    await expect(engine.claim(moment)).rejects.toThrow("could not be claimed");
    expect(await bucketOf(moment)).toMatchObject({ due_at_ms: dueAtMs, groups: 0 });
  });
});
