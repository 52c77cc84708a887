import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type ClaimedGroup, claimNextDue } from "../../src/store/claim.ts";
import { pauseTopic } from "../../src/store/halt.ts";
import { intend } from "../../src/store/intent.ts";
import { intendMany } from "../../src/store/intent-many.ts";
import { isPlain, recordMany } from "../../src/store/outcome-many.ts";
import { closeBuckets, settleGroups } from "../../src/store/settle.ts";
import { createEngine, type Engine, intendSurely, intentOf, recordOf, type SeededMoment } from "../support/engine.ts";
import { checkInvariants } from "../support/invariants.ts";

let engine: Engine;
beforeAll(async () => {
  engine = await createEngine({ max: 12 });
});
afterAll(() => engine[Symbol.asyncDispose]());

const asked = (group: ClaimedGroup, limit = 20) => ({
  fence: group,
  chunkNumber: group.nextChunk,
  limit,
  leaseMs: 10_000,
});
const ledgerOf = ({ bucketId }: SeededMoment) =>
  engine.rows<{ user_number: string; ordinal: number; state: string | null }>(
    `select m.user_number, m.ordinal, o.state || ': ' || o.reason as state
     from carillon.chunk_members m left join carillon.outcome_codes o using (code)
     where m.bucket_id = $1 order by m.chunk_number, m.user_number, m.ordinal`,
    [bucketId],
  );
async function momentsOf(sizes: readonly number[], options: { endpoints?: number } = {}) {
  const moments: SeededMoment[] = [];
  for (const users of sizes) moments.push(await engine.moment({ users, ...options }));
  const groups: ClaimedGroup[] = [];
  for (const moment of moments) groups.push(await engine.claim(moment));
  return { moments, groups };
}
function at<T>(list: readonly (T | null)[], index: number): T {
  const found = list[index];
  if (found === null || found === undefined) throw new Error(`nothing at ${index}`);
  return found;
}
const plain = (group: ClaimedGroup, chunk: Awaited<ReturnType<typeof intendSurely>>) => {
  const record = recordOf(group, chunk);
  if (!isPlain(record)) throw new Error("not plain");
  return record;
};

describe("intendMany", () => {
  it("writes for each group what an intent of its own would", async () => {
    const { moments, groups } = await momentsOf([3, 0, 5]);
    const twins = await momentsOf([3, 0, 5]);
    await engine.rows(
      "insert into carillon.mutes select hash_slot, user_number, 0, 'infinity' from carillon.users u where user_number = any ($1::bigint[])",
      [[at(moments, 0), at(twins.moments, 0)].map(({ users }) => users[1]?.userNumber)],
    );
    const chunks = await intendMany(
      engine.db.pool,
      groups.map((group) => asked(group)),
    );
    for (const [index, group] of twins.groups.entries()) {
      const own = await intendSurely(engine.db.pool, group, { limit: 20 });
      const together = at(chunks, index);
      const comparable = (chunk: typeof own) => ({
        ...chunk,
        members: chunk.members.map(({ userNumber: _, address: __, ...member }) => member),
      });
      expect(comparable(together)).toEqual(comparable(own));
      const columns = ({ mark_slot, mark_user, ...row }: Awaited<ReturnType<typeof engine.group>>) => ({
        next_chunk: row.next_chunk,
        intended: row.intended,
        suppressed: row.suppressed,
        takeovers: row.takeovers,
        paged: row.paged_at !== null,
        moved: mark_user !== "0" && mark_slot >= 0,
      });
      expect(columns(await engine.group(at(moments, index)))).toEqual(
        columns(await engine.group(at(twins.moments, index))),
      );
      const states = async (moment: SeededMoment) =>
        (await ledgerOf(moment)).map(({ state, ordinal }) => `${state} ${ordinal}`).toSorted();
      expect(await states(at(moments, index))).toEqual(await states(at(twins.moments, index)));
    }
    expect(at(chunks, 0).members.map(({ userNumber }) => userNumber)).toEqual(
      [0, 2].map((index) => at(moments, 0).users[index]?.userNumber),
    );
  });

  it("leaves alone whom it can't take as a whole, was refused or is locked, and takes the others", async () => {
    const { moments, groups } = await momentsOf([4, 2, 2, 2, 2]);
    const [tooMany, stale, paused, locked, fine] = groups;
    if (!tooMany || !stale || !paused || !locked || !fine) throw new Error("not claimed");
    await pauseTopic(engine.db, at(moments, 2).topicId);
    await using other = await engine.begin();
    await other.client.query("select from carillon.groups where bucket_id = $1 for update", [locked.bucketId]);
    const chunks = await intendMany(engine.db.pool, [
      asked(tooMany, 3),
      asked({ ...stale, epoch: stale.epoch - 1 }),
      asked(paused),
      asked(locked),
      asked(fine),
    ]);
    expect(chunks.map((chunk) => chunk?.size ?? null)).toEqual([null, null, null, null, 2]);
    await other.commit();
    for (const index of [0, 1, 2, 3]) {
      expect(await engine.group(at(moments, index))).toMatchObject({ next_chunk: 0, intended: 0, paged_at: null });
      expect(await ledgerOf(at(moments, index))).toEqual([]);
    }
    // each can still have its own
    expect(await intend(engine.db.pool, intentOf(tooMany, { limit: 3 }))).toMatchObject({
      size: 3,
      pagedThrough: false,
    });
    expect(await intend(engine.db.pool, intentOf(paused))).toBeNull();
  });

  it("leaves alone what is not due yet, and what has expired", async () => {
    const ahead = await engine.moment({ users: 2, dueInMs: 60_000 });
    const over = await engine.moment({ users: 2, dueInMs: -5000, expiresAfterMs: 1000 });
    const due = await engine.moment({ users: 2 });
    const groups: ClaimedGroup[] = [];
    for (const moment of [ahead, over, due]) groups.push(await engine.claim(moment));
    const chunks = await intendMany(
      engine.db.pool,
      groups.map((group) => asked(group)),
    );
    expect(chunks.map((chunk) => chunk?.size ?? null)).toEqual([null, null, 2]);
    for (const moment of [ahead, over]) expect(await ledgerOf(moment)).toEqual([]);
  });

  it("takes exactly as many as the limit, endpoints counted", async () => {
    const { groups } = await momentsOf([3, 3], { endpoints: 2 });
    const chunks = await intendMany(engine.db.pool, [asked(at(groups, 0), 6), asked(at(groups, 1), 5)]);
    expect(chunks.map((chunk) => chunk?.size ?? null)).toEqual([6, null]);
    expect(at(chunks, 0).members.map(({ ordinal }) => ordinal)).toEqual([1, 2, 1, 2, 1, 2]);
  });

  it("sees a cancel that came first, and makes one that comes later wait", async () => {
    const { moments, groups } = await momentsOf([2, 2]);
    await using halting = await engine.begin();
    await halting.client.query("update carillon.groups set halted_at = now() where bucket_id = $1", [
      at(moments, 0).bucketId,
    ]);
    await halting.commit();
    await using intending = await engine.begin();
    const chunks = await intendMany(
      intending.client,
      groups.map((group) => asked(group)),
    );
    expect(chunks.map((chunk) => chunk?.size ?? null)).toEqual([null, 2]);
    await using late = await engine.begin();
    const halted = late.client.query("update carillon.groups set halted_at = now() where bucket_id = $1", [
      at(moments, 1).bucketId,
    ]);
    await engine.waits(late);
    await intending.commit();
    await halted;
    await late.commit();
    expect(await engine.group(at(moments, 1))).toMatchObject({ next_chunk: 1, intended: 2 });
  });
});

describe("recordMany, settleGroups and closeBuckets", () => {
  it("record, settle and close each of their groups, and no stale one", async () => {
    const { moments, groups } = await momentsOf([3, 2, 4]);
    const chunks = await intendMany(
      engine.db.pool,
      groups.map((group) => asked(group)),
    );
    const records = groups.map((group, index) => plain(group, at(chunks, index)));
    const stale = { ...at(groups, 1), epoch: 0 };
    expect(
      await recordMany(engine.db.pool, [at(records, 0), { ...at(records, 1), fence: stale }, at(records, 2)]),
    ).toEqual([true, false, true]);
    expect(await engine.group(at(moments, 1))).toMatchObject({ delivered: 0 });
    expect(await recordMany(engine.db.pool, [at(records, 1)])).toEqual([true]);
    expect(await settleGroups(engine.db.pool, [at(groups, 0), stale, at(groups, 2)])).toEqual([true, false, true]);
    const ids = moments.map(({ bucketId }) => bucketId);
    expect(await closeBuckets(engine.db.pool, ids)).toEqual([true, false, true]);
    expect(await settleGroups(engine.db.pool, [at(groups, 1)])).toEqual([true]);
    // asked twice in one statement, it is closed once
    expect(await closeBuckets(engine.db.pool, [at(ids, 1), at(ids, 1), at(ids, 0)])).toEqual([true, false, false]);
    for (const [index, moment] of moments.entries()) {
      expect(await engine.group(moment)).toMatchObject({ delivered: at(chunks, index).size });
      expect((await ledgerOf(moment)).map(({ state }) => state)).toEqual(moment.users.map(() => "delivered: accepted"));
    }
    await checkInvariants({ db: engine.db, receiverLog: null, window: 100, mode: "at_least_once", kills: 0 });
  });

  it("record several chunks of one group in one statement, each of them", async () => {
    const { moments, groups } = await momentsOf([5, 2]);
    const [group, other] = groups;
    if (group === undefined || other === undefined) throw new Error("not claimed");
    const chunks = [
      await intendSurely(engine.db.pool, group, { limit: 2 }),
      await intendSurely(engine.db.pool, group, { limit: 2, chunkNumber: 1 }),
      await intendSurely(engine.db.pool, group, { limit: 2, chunkNumber: 2 }),
    ];
    const records = [
      ...chunks.map((chunk) => plain(group, chunk)),
      plain(other, await intendSurely(engine.db.pool, other, { limit: 5 })),
    ];
    expect(await recordMany(engine.db.pool, records)).toEqual([true, true, true, true]);
    for (const moment of moments) {
      expect(await engine.group(moment)).toMatchObject({ delivered: moment.users.length });
      expect((await ledgerOf(moment)).map(({ state }) => state)).toEqual(moment.users.map(() => "delivered: accepted"));
    }
  });

  it("wait for a row that is locked: outcomes are not passed over", async () => {
    const { groups } = await momentsOf([2, 2]);
    const chunks = await intendMany(
      engine.db.pool,
      groups.map((group) => asked(group)),
    );
    await using other = await engine.begin();
    await other.client.query("update carillon.groups set halted_at = now() where bucket_id = $1", [
      at(groups, 1).bucketId,
    ]);
    await using recording = await engine.begin();
    const recorded = recordMany(
      recording.client,
      groups.map((group, index) => plain(group, at(chunks, index))),
    );
    await engine.waits(recording);
    await other.commit();
    expect(await recorded).toEqual([true, true]);
    await recording.commit();
  });
});

describe("claimNextDue", () => {
  const closeAll = () =>
    engine.rows("update carillon.time_buckets set closed_at = now(), closed_as = 'done' where closed_at is null");
  const claimant = () => ({ nodeId: engine.nodeId, claimToken: crypto.randomUUID(), leaseMs: 10_000 });
  const cutAs = (moment: SeededMoment, population: number) =>
    engine.rows("update carillon.time_buckets set population = $2 where bucket_id = $1", [moment.bucketId, population]);

  it("takes the groups of small buckets together, in order and no more than are asked for", async () => {
    await closeAll();
    const small: SeededMoment[] = [];
    for (let index = 0; index < 5; index += 1) {
      const moment = await engine.moment({ users: 1, dueInMs: -60_000 + 1000 * index });
      await cutAs(moment, 1);
      small.push(moment);
    }
    const ids = small.map(({ bucketId }) => bucketId);
    const first = await claimNextDue(engine.db.pool, claimant(), 3);
    expect(first.map(({ bucketId }) => bucketId)).toEqual(ids.slice(0, 3));
    expect(first.map(({ smallPopulation }) => smallPopulation)).toEqual([1, 1, 1]);
    expect((await claimNextDue(engine.db.pool, claimant(), 3)).map(({ bucketId }) => bucketId)).toEqual(ids.slice(3));
    expect(await claimNextDue(engine.db.pool, claimant(), 3)).toEqual([]);
  });

  it("leaves a large bucket, and one that is cut into several groups, to be shared", async () => {
    await closeAll();
    const large = await engine.moment({ users: 1, dueInMs: -50_000 });
    await cutAs(large, 5000);
    const several = await engine.moment({ users: 2, groups: 2, dueInMs: -40_000 });
    await cutAs(several, 2);
    const small = await engine.moment({ users: 1, dueInMs: -30_000 });
    await cutAs(small, 1);
    const turns = [];
    for (let turn = 0; turn < 4; turn += 1) {
      const groups = await claimNextDue(engine.db.pool, claimant());
      turns.push(groups.map(({ bucketId, groupNumber }) => `${bucketId}:${groupNumber}`));
    }
    expect(turns).toEqual([
      [`${large.bucketId}:0`],
      [`${several.bucketId}:0`],
      [`${several.bucketId}:1`],
      [`${small.bucketId}:0`],
    ]);
  });
});
