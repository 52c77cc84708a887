import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Chunk } from "../../src/store/chunk.ts";
import { type ClaimedGroup, claimGroups } from "../../src/store/claim.ts";
import { createDestination, patchDestination } from "../../src/store/destinations.ts";
import { findIntent, intend } from "../../src/store/intent.ts";
import { intendMany } from "../../src/store/intent-many.ts";
import { recordOutcomes } from "../../src/store/outcome.ts";
import { settleGroup } from "../../src/store/settle.ts";
import {
  createEngine,
  deferAll,
  type Engine,
  intendDeferredSurely,
  intendSurely,
  intentOf,
  type MomentOptions,
  recordOf,
  type SeededMoment,
} from "../support/engine.ts";

let engine: Engine;
beforeAll(async () => {
  engine = await createEngine();
});
afterAll(() => engine[Symbol.asyncDispose]());

/** A claimed group of a topic that is content with the first endpoint; each user has three on the memory channel. */
async function content(options: MomentOptions & { order?: readonly string[] } = {}) {
  const moment = await engine.moment({ users: 1, endpoints: 3, ...options });
  await engine.rows("update carillon.topics set reach = 'first', channel_order = $2 where topic_id = $1", [
    moment.topicId,
    options.order ?? [],
  ]);
  return { moment, group: await engine.claim(moment) };
}

/** Such a group whose first chunk is under way. */
async function sent(options: Parameters<typeof content>[0] = {}) {
  const { moment, group } = await content(options);
  return { moment, group, chunk: await intendSurely(engine.db.pool, group) };
}

const ordinalsOf = (chunk: Chunk) => chunk.members.map(({ ordinal }) => ordinal);
const codesOf = async ({ bucketId }: SeededMoment, chunkNumber = 0) =>
  (
    await engine.one<{ codes: number[] | null }>(
      `select (select array_agg(get_byte(refused, i)) from generate_series(0, length(refused) - 1) i) as codes
       from carillon.chunks where bucket_id = $1 and chunk_number = $2`,
      [bucketId, chunkNumber],
    )
  ).codes;
/** Who waits: "2: 1" stands by as the first of them, "2: not needed", "2: due". */
const waiting = async ({ bucketId }: SeededMoment) =>
  (
    await engine.rows<{ ordinal: number; standby: number | null; due: boolean }>(
      `select ordinal, standby, next_try_at <= clock_timestamp() as due from carillon.deferred
       where bucket_id = $1 and intent_chunk is null order by hash_slot, user_number, ordinal`,
      [bucketId],
    )
  ).map(({ ordinal, standby, due }) => {
    if (standby !== null && standby > 0) return `${ordinal}: ${standby}`;
    return `${ordinal}: ${standby === 0 ? "not needed" : due ? "due" : "later"}`;
  });
const ended = (moment: SeededMoment, reached: boolean) =>
  moment.users.map(({ userNumber }) => ({ userNumber, reached }));
const finishedOf = (chunk: Chunk) => (chunk.attempt > 0 ? chunk.members : []);

/** Records the chunk as accepted, gone, or as what the code says. */
const record = (moment: SeededMoment, group: ClaimedGroup, chunk: Chunk, code: 1 | 10 | 13 = 1, part = 0) =>
  recordOutcomes(
    engine.db.pool,
    recordOf(group, chunk, {
      code,
      part,
      exceptions: { ended: ended(moment, code !== 10), finished: finishedOf(chunk) },
    }),
  );

describe("the intent", () => {
  it("sends the first of each user's endpoints; the others stand by in their order", async () => {
    const { moment, group } = await content({ users: 3 });
    const chunk = await intendSurely(engine.db.pool, group);
    expect(chunk).toMatchObject({ size: 9, pagedThrough: true, standby: true });
    expect(ordinalsOf(chunk)).toEqual([1, 1, 1]);
    expect(await codesOf(moment)).toEqual([0, 53, 53, 0, 53, 53, 0, 53, 53]);
    expect(await waiting(moment)).toEqual(["2: 1", "3: 2", "2: 1", "3: 2", "2: 1", "3: 2"]);
    // a lost reply is found again
    expect(await findIntent(engine.db.pool, group, 0, group.dueDay)).toEqual(chunk);
    // nothing of it is due, and yet it keeps the group open
    expect(await intendDeferredSurely(engine.db.pool, group, { chunkNumber: 1 })).toMatchObject({ size: 0 });
    expect(await settleGroup(engine.db.pool, group)).toBe(false);
  });

  it("tries channels in the topic's order, those not named last and each channel's endpoints by ordinal", async () => {
    const { destination } = await createDestination(
      engine.db,
      { name: "order", url: "https://example.com/", batchSize: 1 },
      new Uint8Array(32),
    );
    const { moment, group } = await content({ endpoints: 4, order: ["fcm", "webhook"] });
    await engine.rows(
      `update carillon.endpoints set channel = 'webhook', destination_id = $2
       where user_number = $1 and ordinal in (2, 4)`,
      [moment.users[0]?.userNumber, destination.destinationId],
    );
    const chunk = await intendSurely(engine.db.pool, group);
    expect(ordinalsOf(chunk)).toEqual([2]);
    expect(await waiting(moment)).toEqual(["1: 2", "3: 3", "4: 1"]);
    await record(moment, group, chunk, 10);
    // what the gate refuses by now gives its turn on in the same statement
    await patchDestination(engine.db, "order", { disabled: true }, new Uint8Array(32));
    const refused = await intendDeferredSurely(engine.db.pool, group, { chunkNumber: 1 });
    expect(refused.members).toEqual([]);
    expect(await codesOf(moment, 1)).toEqual([34]);
    expect(await waiting(moment)).toEqual(["1: due", "3: 3"]);
  });

  it("passes over what the gate refuses, and keeps a user's endpoints together where they don't fit", async () => {
    const { moment, group } = await content({ users: 3 });
    await engine.rows("update carillon.endpoints set gone_at = now() where user_number = $1 and ordinal = 1", [
      moment.users[0]?.userNumber,
    ]);
    await engine.rows(
      `insert into carillon.mutes select hash_slot, user_number, 0, carillon.clock() + interval '1 hour'
       from carillon.users where user_number = $1`,
      [moment.users[1]?.userNumber],
    );
    const chunk = await intendSurely(engine.db.pool, group, { limit: 6 });
    expect(ordinalsOf(chunk)).toEqual([2]);
    expect(await codesOf(moment)).toEqual([0, 53, 32, 32, 32]);
    expect(await waiting(moment)).toEqual(["3: 1"]);
    const rest = await intendSurely(engine.db.pool, group, { chunkNumber: 1, limit: 6 });
    expect(ordinalsOf(rest)).toEqual([1]);
    expect(await waiting(moment)).toEqual(["3: 1", "2: 1", "3: 2"]);
  });

  it("of many small groups leaves these alone, and that of other topics has nobody stand by", async () => {
    const { group, moment } = await content();
    const other = await engine.moment({ users: 2, endpoints: 2 });
    const another = await engine.claim(other);
    const small = [group, another].map((fence) => ({ fence, chunkNumber: 0, limit: 50, leaseMs: 60_000 }));
    const [left, taken] = await intendMany(engine.db.pool, small);
    expect(left).toBeNull();
    expect(taken).toMatchObject({ size: 4, standby: false });
    expect(ordinalsOf(await intendSurely(engine.db.pool, group))).toEqual([1]);
    expect(await waiting(moment)).toEqual(["2: 1", "3: 2"]);
    expect(await waiting(other)).toEqual([]);
  });

  it("heeds quiet hours: the first is held, and the others stand by for it", async () => {
    const { moment, group } = await content();
    await engine.rows(
      `insert into carillon.quiet_hours (hash_slot, user_number, starts_at, ends_at)
       select hash_slot, user_number, (t - interval '1 minute')::time(0), (t + interval '5 minutes')::time(0)
       from carillon.users, lateral (select carillon.clock() at time zone 'UTC' as t) now where user_number = $1`,
      [moment.users[0]?.userNumber],
    );
    const chunk = await intendSurely(engine.db.pool, group);
    expect(chunk.members).toEqual([]);
    expect(await codesOf(moment)).toEqual([52, 53, 53]);
    expect(await waiting(moment)).toEqual(["1: later", "2: 1", "3: 2"]);
    await engine.rows("delete from carillon.quiet_hours");
    await engine.rows("update carillon.deferred set next_try_at = clock_timestamp() where bucket_id = $1", [
      moment.bucketId,
    ]);
    const later = await intendDeferredSurely(engine.db.pool, group, { chunkNumber: 1 });
    expect(ordinalsOf(later)).toEqual([1]);
    expect(later.standby).toBe(true);
  });
});

describe("what becomes of the first", () => {
  it.each([
    ["accepted", 1],
    ["in doubt for good", 13],
  ] as const)("%s: the others are not needed, and are recorded so by the next intent", async (_, code) => {
    const { moment, group, chunk } = await sent({ users: 2 });
    await record(moment, group, chunk, code);
    expect(await waiting(moment)).toEqual(["2: not needed", "3: not needed", "2: not needed", "3: not needed"]);
    const rest = await intendDeferredSurely(engine.db.pool, group, { chunkNumber: 1 });
    expect(rest).toMatchObject({ size: 4, members: [] });
    expect(await codesOf(moment, 1)).toEqual([35, 35, 35, 35]);
    expect(await engine.group(moment)).toMatchObject({ suppressed: 4 });
    expect(await settleGroup(engine.db.pool, group)).toBe(true);
  });

  it("failed: the next one's turn has come, and no other's, one after the other", async () => {
    const { moment, group, chunk } = await sent();
    await record(moment, group, chunk, 10);
    expect(await waiting(moment)).toEqual(["2: due", "3: 2"]);
    const second = await intendDeferredSurely(engine.db.pool, group, { chunkNumber: 1 });
    expect(ordinalsOf(second)).toEqual([2]);
    await record(moment, group, second, 10);
    expect(await waiting(moment)).toEqual(["3: due"]);
    const third = await intendDeferredSurely(engine.db.pool, group, { chunkNumber: 2 });
    expect(ordinalsOf(third)).toEqual([3]);
    await record(moment, group, third, 10);
    expect(await waiting(moment)).toEqual([]);
    expect(await settleGroup(engine.db.pool, group)).toBe(true);
  });

  it("to be tried again: nobody's turn comes", async () => {
    const { moment, group, chunk } = await sent();
    await deferAll(engine.db.pool, group, chunk);
    expect(await waiting(moment)).toEqual(["1: due", "2: 1", "3: 2"]);
    expect(ordinalsOf(await intendDeferredSurely(engine.db.pool, group, { chunkNumber: 1 }))).toEqual([1]);
  });

  it("failed after it was in doubt once: the others are not needed all the same", async () => {
    const { moment, group, chunk } = await sent();
    await deferAll(engine.db.pool, group, chunk, { inDoubt: true });
    const again = await intendDeferredSurely(engine.db.pool, group, { chunkNumber: 1 });
    await record(moment, group, again, 10);
    expect(await waiting(moment)).toEqual(["2: not needed", "3: not needed"]);
  });

  it.each([
    ["certainly not sent", false, 33, ["2: due", "3: 2"]],
    ["perhaps sent", true, 14, ["2: not needed", "3: not needed"]],
  ] as const)("pruned while it waited, %s", async (_, inDoubt, code, then) => {
    const { moment, group, chunk } = await sent();
    await deferAll(engine.db.pool, group, chunk, { inDoubt });
    await engine.rows("update carillon.endpoints set gone_at = now() where user_number = $1 and ordinal = 1", [
      moment.users[0]?.userNumber,
    ]);
    await intendDeferredSurely(engine.db.pool, group, { chunkNumber: 1 });
    expect(await codesOf(moment, 1)).toEqual([code]);
    expect(await waiting(moment)).toEqual(then);
  });

  it("is another user's: nobody else's turn comes", async () => {
    const { moment, group, chunk } = await sent({ users: 2 });
    const [userNumber] = moment.users.map((user) => user.userNumber);
    const exceptions = { ended: [{ userNumber: userNumber ?? "", reached: false }] };
    await recordOutcomes(engine.db.pool, recordOf(group, chunk, { code: 10, indexes: [0], exceptions }));
    expect(await waiting(moment)).toEqual(["2: due", "3: 2", "2: 1", "3: 2"]);
  });

  it("still counts when the user was erased meanwhile: nothing stands by for ever", async () => {
    const { moment, group, chunk } = await sent();
    await engine.rows("delete from carillon.endpoints where user_number = $1", [moment.users[0]?.userNumber]);
    await engine.rows("delete from carillon.subscriptions where user_number = $1", [moment.users[0]?.userNumber]);
    await engine.rows("delete from carillon.users where user_number = $1", [moment.users[0]?.userNumber]);
    await record(moment, group, chunk, 10);
    await intendDeferredSurely(engine.db.pool, group, { chunkNumber: 1 });
    await intendDeferredSurely(engine.db.pool, group, { chunkNumber: 2 });
    expect([await codesOf(moment, 1), await codesOf(moment, 2)]).toEqual([[30], [30]]);
    expect(await settleGroup(engine.db.pool, group)).toBe(true);
  });
});

describe("at the end", () => {
  it("all that stands by is recorded as the rest, but what is not needed as that", async () => {
    const { moment, group, chunk } = await sent({ users: 2 });
    const [reachedUser] = moment.users.map((user) => user.userNumber);
    const exceptions = { ended: [{ userNumber: reachedUser ?? "", reached: true }] };
    await deferAll(engine.db.pool, group, { ...chunk, members: chunk.members.slice(1) });
    await recordOutcomes(engine.db.pool, recordOf(group, chunk, { indexes: [0], part: 1, exceptions }));
    // as small as can be, so that one user's rows come in several chunks
    for (const chunkNumber of [1, 2, 3, 4, 5]) {
      await intendDeferredSurely(engine.db.pool, group, { chunkNumber, limit: 1, recordAs: 20 });
    }
    const codes = await Promise.all([1, 2, 3, 4, 5].map((chunkNumber) => codesOf(moment, chunkNumber)));
    expect(codes.flat()).toEqual([35, 35, 20, 20, 20]);
    expect(await waiting(moment)).toEqual([]);
  });

  it("changing the topic changes nothing that is under way", async () => {
    const { moment, group, chunk } = await sent();
    await engine.rows("update carillon.topics set reach = 'all' where topic_id = $1", [moment.topicId]);
    await record(moment, group, chunk, 10);
    expect(await waiting(moment)).toEqual(["2: due", "3: 2"]);
    // and a group that was claimed before the topic was content with one is asked about in the other text
    const other = await engine.moment({ users: 1, endpoints: 2 });
    const claimed = await engine.claim(other);
    await engine.rows("update carillon.topics set reach = 'first' where topic_id = $1", [other.topicId]);
    expect(await intend(engine.db.pool, intentOf(claimed, { first: false }))).toMatchObject({ standby: true, size: 2 });
  });
});

describe("an outcome against a claim", () => {
  it("that comes while it is written passes the group over, and the turn has changed for whoever claims it then", async () => {
    const { moment, group, chunk } = await sent();
    await engine.endLease(group);
    await using writing = await engine.begin();
    const exceptions = { ended: ended(moment, false) };
    await recordOutcomes(writing.client, recordOf(group, chunk, { code: 10, exceptions }));
    const claimant = { nodeId: engine.nodeId, claimToken: crypto.randomUUID(), leaseMs: 60_000 };
    expect(await claimGroups(engine.db.pool, claimant, [group])).toEqual([]);
    expect(await waiting(moment)).toEqual(["2: 1", "3: 2"]);
    await writing.commit();
    await engine.endLease(group);
    const [next] = await claimGroups(engine.db.pool, claimant, [group]);
    expect(await waiting(moment)).toEqual(["2: due", "3: 2"]);
    if (next === undefined) throw new Error("could not be claimed");
    expect(ordinalsOf(await intendDeferredSurely(engine.db.pool, next, { chunkNumber: 1 }))).toEqual([2]);
  });

  it("that came first is refused, and so is the change of turn; also where it waited for the claim", async () => {
    const { moment, group, chunk } = await sent();
    await engine.endLease(group);
    await using claiming = await engine.begin();
    await engine.claim(moment, 0, claiming.client);
    await using writing = await engine.begin();
    const exceptions = { ended: ended(moment, false) };
    const stands = recordOutcomes(writing.client, recordOf(group, chunk, { code: 10, exceptions }));
    await engine.waits(writing);
    await claiming.commit();
    expect(await stands).toBe(false);
    await writing.commit();
    expect(await waiting(moment)).toEqual(["2: 1", "3: 2"]);
  });

  it("is written once, however often it is offered", async () => {
    const { moment, group, chunk } = await sent();
    expect(await record(moment, group, chunk, 10)).toBe(true);
    expect(await record(moment, group, chunk, 10)).toBe(true);
    expect(await waiting(moment)).toEqual(["2: due", "3: 2"]);
  });
});
