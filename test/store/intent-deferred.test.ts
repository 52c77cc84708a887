import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Chunk } from "../../src/store/chunk.ts";
import { findIntent, intendDeferred } from "../../src/store/intent.ts";
import { recordOutcomes } from "../../src/store/outcome.ts";
import {
  createEngine,
  deferAll,
  type Engine,
  intendDeferredSurely,
  intendSurely,
  intentOf,
  recordOf,
  type SeededMoment,
} from "../support/engine.ts";

let engine: Engine;
beforeAll(async () => {
  engine = await createEngine();
});
afterAll(() => engine[Symbol.asyncDispose]());

const at = (moment: SeededMoment, index: number) => moment.users[index]?.userNumber ?? "";
const numbersOf = (chunk: Chunk) => chunk.members.map((member) => member.userNumber);
const deferredOf = ({ bucketId }: SeededMoment) =>
  engine.rows<{ user_number: string; attempt: number; intent_chunk: number | null; in_doubt: boolean }>(
    `select user_number, attempt, intent_chunk, in_doubt from carillon.deferred where bucket_id = $1
     order by hash_slot, user_number, ordinal`,
    [bucketId],
  );
const codesOf = ({ bucketId }: SeededMoment, chunkNumber: number) =>
  engine.one<{ codes: number[] | null; attempt: number }>(
    `select attempt, (select array_agg(get_byte(refused, i)) from generate_series(0, length(refused) - 1) i) as codes
     from carillon.chunks where bucket_id = $1 and chunk_number = $2`,
    [bucketId, chunkNumber],
  );
const change = (moment: SeededMoment, index: number, columns: string) =>
  engine.rows(`update carillon.deferred set ${columns} where bucket_id = $1 and user_number = $2`, [
    moment.bucketId,
    at(moment, index),
  ]);

/** A claimed group all of whose members are to be tried again at once. */
async function deferredMoment({
  users = 4,
  inDoubt = false,
  endpoints = 1,
}: {
  users?: number;
  inDoubt?: boolean;
  endpoints?: number;
} = {}) {
  const moment = await engine.moment({ users, endpoints });
  const group = await engine.claim(moment);
  const chunk = await intendSurely(engine.db.pool, group);
  await deferAll(engine.db.pool, group, chunk, { inDoubt });
  return { moment, group };
}

describe("intendDeferred", () => {
  it("writes an intent of its own with the attempt's number, and marks its members as under way", async () => {
    const { moment, group } = await deferredMoment();
    const before = await engine.group(moment);
    const chunk = await intendDeferredSurely(engine.db.pool, group, { chunkNumber: 1 });
    expect(chunk).toMatchObject({ chunkNumber: 1, attempt: 1, size: 4, pagedThrough: true });
    expect(numbersOf(chunk)).toEqual(moment.users.map((user) => user.userNumber));
    expect(chunk.members[0]).toMatchObject({ index: 0, ordinal: 1, channel: "memory" });
    expect(await codesOf(moment, 1)).toEqual({ attempt: 1, codes: null });
    expect((await deferredOf(moment)).map((row) => row.intent_chunk)).toEqual([1, 1, 1, 1]);
    const { intended, mark_slot, mark_user } = before;
    expect(await engine.group(moment)).toMatchObject({ next_chunk: 2, intended, mark_slot, mark_user });
    // a lost reply is found again
    expect(await findIntent(engine.db.pool, group, 1, group.dueDay)).toEqual(chunk);
  });

  it("takes nobody twice while they are under way", async () => {
    const { group } = await deferredMoment();
    const first = await intendDeferredSurely(engine.db.pool, group, { chunkNumber: 1, limit: 3 });
    const second = await intendDeferredSurely(engine.db.pool, group, { chunkNumber: 2 });
    const third = await intendDeferredSurely(engine.db.pool, group, { chunkNumber: 3 });
    expect([first.size, second.size, third.size]).toEqual([3, 1, 0]);
    expect(new Set([...numbersOf(first), ...numbersOf(second)]).size).toBe(4);
  });

  it("takes those whose next try has come, and no parked ones", async () => {
    const { moment, group } = await deferredMoment();
    await change(moment, 0, "next_try_at = clock_timestamp() + interval '1 hour'");
    await change(moment, 1, "parked_at = clock_timestamp()");
    expect(numbersOf(await intendDeferredSurely(engine.db.pool, group, { chunkNumber: 1 }))).toEqual([
      at(moment, 2),
      at(moment, 3),
    ]);
  });

  it("takes one number of attempts at a time, the fewest first", async () => {
    const { moment, group } = await deferredMoment();
    await change(moment, 0, "attempt = 3");
    await change(moment, 2, "attempt = 3");
    const first = await intendDeferredSurely(engine.db.pool, group, { chunkNumber: 1 });
    expect(first.attempt).toBe(1);
    expect(numbersOf(first)).toEqual([at(moment, 1), at(moment, 3)]);
    const second = await intendDeferredSurely(engine.db.pool, group, { chunkNumber: 2 });
    expect(second.attempt).toBe(3);
    expect(numbersOf(second)).toEqual([at(moment, 0), at(moment, 2)]);
  });

  it("takes the very endpoint that was tried, not the user's others", async () => {
    const { moment, group } = await deferredMoment({ users: 1, endpoints: 3 });
    await engine.rows("delete from carillon.deferred where bucket_id = $1 and ordinal <> 2", [moment.bucketId]);
    const chunk = await intendDeferredSurely(engine.db.pool, group, { chunkNumber: 1 });
    expect(chunk.members.map((member) => member.ordinal)).toEqual([2]);
  });

  it("tries again for who has moved on since, unless they have left where they went", async () => {
    const { moment, group } = await deferredMoment({ users: 2 });
    const elsewhere = (await engine.moment({ users: 0 })).scheduleId;
    await engine.rows(
      "update carillon.subscriptions set ended_at = carillon.clock(), moved_to = $2 where schedule_id = $1",
      [moment.scheduleId, elsewhere],
    );
    await engine.rows(
      `insert into carillon.subscriptions (schedule_id, user_number, hash_slot, ended_at)
       select $1, user_number, hash_slot, case when user_number = $2 then carillon.clock() end
       from carillon.subscriptions where schedule_id = $3`,
      [elsewhere, at(moment, 0), moment.scheduleId],
    );
    const chunk = await intendDeferredSurely(engine.db.pool, group, { chunkNumber: 1 });
    expect(numbersOf(chunk)).toEqual([at(moment, 1)]);
    expect((await codesOf(moment, 1)).codes).toEqual([30, 0]);
  });

  describe.each([
    ["certainly not sent", false],
    ["perhaps sent", true],
  ])("asks the gate anew for what was %s", (_, inDoubt) => {
    it("and records who is not to be sent to any more", async () => {
      const { moment, group } = await deferredMoment({ users: 5, inDoubt });
      const before = await engine.group(moment);
      await engine.rows("update carillon.subscriptions set ended_at = carillon.clock() where user_number = $1", [
        at(moment, 0),
      ]);
      await engine.rows(
        `insert into carillon.mutes select hash_slot, user_number, 0, carillon.clock() + interval '1 hour'
         from carillon.users where user_number = $1`,
        [at(moment, 1)],
      );
      await engine.rows("update carillon.endpoints set gone_at = now() where user_number = $1", [at(moment, 2)]);
      await engine.rows("delete from carillon.subscriptions where user_number = $1", [at(moment, 3)]);
      const chunk = await intendDeferredSurely(engine.db.pool, group, { chunkNumber: 1 });
      expect(numbersOf(chunk)).toEqual([at(moment, 4)]);
      expect(chunk.size).toBe(5);
      const codes = inDoubt ? [14, 14, 14, 14, 0] : [30, 32, 33, 30, 0];
      expect((await codesOf(moment, 1)).codes).toEqual(codes);
      // final now, so no longer deferred
      expect((await deferredOf(moment)).map((row) => row.user_number)).toEqual([at(moment, 4)]);
      const row = await engine.group(moment);
      expect(row.in_doubts).toBe(before.in_doubts);
      expect([row.failed, row.suppressed]).toEqual(inDoubt ? [4, 0] : [0, 4]);
    });
  });

  it("records all of them instead of sending: what was in doubt as in doubt, the rest as told; even parked ones", async () => {
    const { moment, group } = await deferredMoment();
    await change(moment, 0, "in_doubt = true");
    await change(moment, 1, "parked_at = clock_timestamp(), in_doubt = true");
    await change(moment, 2, "next_try_at = clock_timestamp() + interval '1 hour'");
    await engine.rows("update carillon.groups set halted_at = now() where bucket_id = $1", [moment.bucketId]);
    const chunk = await intendDeferredSurely(engine.db.pool, group, { chunkNumber: 1, recordAs: 20 });
    expect(chunk).toMatchObject({ size: 4, members: [] });
    expect((await codesOf(moment, 1)).codes).toEqual([14, 14, 20, 20]);
    expect(await deferredOf(moment)).toEqual([]);
    expect(await engine.group(moment)).toMatchObject({ failed: 2, expired: 2 });
  });

  it("is fenced and held back like any intent", async () => {
    const { moment, group } = await deferredMoment();
    const asked = (fence = group, chunkNumber = 1) => intendDeferred(engine.db.pool, intentOf(fence, { chunkNumber }));
    expect(await asked({ ...group, epoch: 0 })).toBeNull();
    expect(await asked(group, 0)).toBeNull();
    await engine.rows("update carillon.groups set halted_at = now() where bucket_id = $1", [moment.bucketId]);
    expect(await asked()).toBeNull();
    await engine.rows("update carillon.groups set halted_at = null where bucket_id = $1", [moment.bucketId]);
    await engine.rows(
      "update carillon.time_buckets set expires_at = due_at + interval '1 millisecond' where bucket_id = $1",
      [moment.bucketId],
    );
    expect(await asked()).toBeNull();
    expect((await deferredOf(moment)).map((row) => row.intent_chunk)).toEqual([null, null, null, null]);
  });

  it("has nobody twice: the next chunk of a group without deferred deliveries is empty", async () => {
    const moment = await engine.moment({ users: 2 });
    const group = await engine.claim(moment);
    expect(await intendDeferredSurely(engine.db.pool, group)).toMatchObject({
      size: 0,
      members: [],
      pagedThrough: false,
    });
    expect(await engine.group(moment)).toMatchObject({ next_chunk: 0 });
  });

  it("a try that came to its end leaves deferred; the others stay under way", async () => {
    const { moment, group } = await deferredMoment({ users: 3 });
    const chunk = await intendDeferredSurely(engine.db.pool, group, { chunkNumber: 1 });
    const [first, ...others] = chunk.members;
    if (first === undefined) throw new Error("nobody");
    await recordOutcomes(engine.db.pool, recordOf(group, chunk, { indexes: [0], exceptions: { finished: [first] } }));
    expect((await deferredOf(moment)).map((row) => [row.user_number, row.intent_chunk])).toEqual(
      others.map((member) => [member.userNumber, 1]),
    );
  });
});
