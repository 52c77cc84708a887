import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { removeEndpoint, saveEndpoints } from "../../src/store/endpoints.ts";
import { outcomeStands, parkAfterTakeovers, recordOutcomes, unresolvedMembers } from "../../src/store/outcome.ts";
import {
  createEngine,
  deferAll,
  type Engine,
  intendDeferredSurely,
  intendSurely,
  recordOf,
  type SeededMoment,
} from "../support/engine.ts";
import { until } from "../support/world.ts";

let engine: Engine;
beforeAll(async () => {
  engine = await createEngine();
});
afterAll(() => engine[Symbol.asyncDispose]());

const outcomesOf = ({ bucketId }: SeededMoment) =>
  engine.rows<{ chunk: number; epoch: number; part: number; indexes: number[] | null; codes: string; after: number[] }>(
    `select chunk_number as chunk, epoch, part, indexes, encode(codes, 'hex') as codes, after_due_ms as after
     from carillon.outcomes where bucket_id = $1 order by chunk_number, epoch, part`,
    [bucketId],
  );
const deferredOf = ({ bucketId }: SeededMoment) =>
  engine.rows<{
    user_number: string;
    attempt: number;
    in_doubt: boolean;
    takeovers: number;
    parked: boolean;
    intent_chunk: number | null;
    reason: string;
    wait_ms: number;
  }>(
    `select user_number, attempt, in_doubt, takeovers, parked_at is not null as parked, intent_chunk, reason,
       (extract(epoch from next_try_at - clock_timestamp()) * 1000)::float8 as wait_ms
     from carillon.deferred where bucket_id = $1 order by hash_slot, user_number, ordinal`,
    [bucketId],
  );

/** A group of one chunk that was sent and of which nothing is recorded. */
async function sent(users = 4, limit = 100) {
  const moment = await engine.moment({ users });
  const group = await engine.claim(moment);
  const chunk = await intendSurely(engine.db.pool, group, { limit });
  return { moment, group, chunk };
}

describe("recordOutcomes", () => {
  it("records a whole chunk in one row without indexes, counts, and renews the lease", async () => {
    const { moment, group, chunk } = await sent();
    await engine.endLease(group);
    expect(await recordOutcomes(engine.db.pool, recordOf(group, chunk))).toBe(true);
    expect(await outcomesOf(moment)).toEqual([
      { chunk: 0, epoch: 1, part: 0, indexes: null, codes: "01010101", after: [5, 5, 5, 5] },
    ]);
    const row = await engine.group(moment);
    expect(row).toMatchObject({ delivered: 4, failed: 0, in_doubts: 0 });
    expect(row.lease_left_ms).toBeGreaterThan(0);
  });

  it("records a chunk in parts, as outcomes come in", async () => {
    const { moment, group, chunk } = await sent();
    await recordOutcomes(engine.db.pool, recordOf(group, chunk, { indexes: [2, 0] }));
    await recordOutcomes(engine.db.pool, recordOf(group, chunk, { indexes: [1, 3], part: 1, code: 10 }));
    expect(await outcomesOf(moment)).toMatchObject([
      { part: 0, indexes: [2, 0], codes: "0101" },
      { part: 1, indexes: [1, 3], codes: "0a0a" },
    ]);
    expect(await engine.group(moment)).toMatchObject({ delivered: 2, failed: 2 });
    expect(await unresolvedMembers(engine.db.pool, group, group.dueDay)).toEqual([]);
  });

  it("refuses another epoch or token, and then nothing at all is written", async () => {
    const { moment, group, chunk } = await sent();
    const [first] = chunk.members;
    if (first === undefined) throw new Error("nobody");
    const exceptions = {
      failures: [{ ...first, code: 11, httpStatus: 410, reason: "gone" }],
      deferred: [{ ...first, attempt: 1, waitMs: 0, inDoubt: false, takenOver: false, reason: "x" }],
      gone: [{ ...first, reason: "gone", sinceMs: null }],
    };
    for (const stale of [
      { ...group, epoch: 0 },
      { ...group, epoch: 2 },
      { ...group, claimToken: randomUUID() },
    ]) {
      expect(await recordOutcomes(engine.db.pool, recordOf(stale, chunk))).toBe(false);
      expect(await recordOutcomes(engine.db.pool, recordOf(stale, chunk, { exceptions }))).toBe(false);
    }
    expect(await outcomesOf(moment)).toEqual([]);
    expect(await deferredOf(moment)).toEqual([]);
    expect(await engine.rows("select from carillon.failures where bucket_id = $1", [moment.bucketId])).toEqual([]);
    expect(
      await engine.rows("select from carillon.endpoints where gone_at is not null and user_number = $1", [
        first.userNumber,
      ]),
    ).toEqual([]);
    expect(await engine.group(moment)).toMatchObject({ delivered: 0 });
  });

  it("is taken though the group is halted or cancelled meanwhile: what was sent is recorded", async () => {
    const { moment, group, chunk } = await sent();
    await engine.rows("update carillon.groups set halted_at = now() where bucket_id = $1", [moment.bucketId]);
    await engine.rows("update carillon.time_buckets set cancelled_at = now() where bucket_id = $1", [moment.bucketId]);
    expect(await recordOutcomes(engine.db.pool, recordOf(group, chunk))).toBe(true);
  });

  it("keeps the reasons of failures, prunes endpoints that are gone, and defers what is to be tried again", async () => {
    const { moment, group, chunk } = await sent(3);
    const [rejected, gone, later] = chunk.members;
    if (rejected === undefined || gone === undefined || later === undefined) throw new Error("nobody");
    const record = recordOf(group, chunk, {
      exceptions: {
        failures: [
          { ...rejected, code: 10, httpStatus: 400, reason: "no" },
          { ...gone, code: 11, httpStatus: 410, reason: "unsubscribed" },
          { ...later, code: 51, httpStatus: null, reason: "no reply" },
        ],
        gone: [{ ...gone, reason: "unsubscribed", sinceMs: null }],
        deferred: [{ ...later, attempt: 1, waitMs: 60_000.4, inDoubt: true, takenOver: false, reason: "no reply" }],
      },
    });
    expect(
      await recordOutcomes(engine.db.pool, {
        ...record,
        codes: Uint8Array.of(10, 11, 51),
        tally: { delivered: 0, failed: 2, suppressed: 0, expired: 0, inDoubts: 1 },
      }),
    ).toBe(true);
    expect(
      await engine.rows(
        "select user_number, ordinal, code, http_status, reason from carillon.failures where bucket_id = $1 order by code",
        [moment.bucketId],
      ),
    ).toEqual([
      { user_number: rejected.userNumber, ordinal: 1, code: 10, http_status: 400, reason: "no" },
      { user_number: gone.userNumber, ordinal: 1, code: 11, http_status: 410, reason: "unsubscribed" },
      { user_number: later.userNumber, ordinal: 1, code: 51, http_status: null, reason: "no reply" },
    ]);
    expect(
      await engine.rows(
        "select user_number, gone_reason from carillon.endpoints where gone_at is not null and user_number = any ($1)",
        [chunk.members.map((member) => member.userNumber)],
      ),
    ).toEqual([{ user_number: gone.userNumber, gone_reason: "unsubscribed" }]);
    const [deferred, ...others] = await deferredOf(moment);
    expect(others).toEqual([]);
    expect(deferred).toMatchObject({ user_number: later.userNumber, attempt: 1, in_doubt: true, reason: "no reply" });
    expect(deferred?.wait_ms).toBeGreaterThan(30_000);
    expect(await engine.group(moment)).toMatchObject({ failed: 2, in_doubts: 1, delivered: 0 });
  });

  describe("gone, while the endpoint is registered again", () => {
    const goneOf = (member: { readonly userNumber: string }) =>
      engine.one<{ address: string; gone: boolean }>(
        "select address, gone_at is not null as gone from carillon.endpoints where user_number = $1",
        [member.userNumber],
      );
    const idOf = async ({ userNumber }: { readonly userNumber: string }) =>
      (await engine.one<{ user_id: string }>("select user_id from carillon.users where user_number = $1", [userNumber]))
        .user_id;

    /** A chunk of one that was sent, and the record of the reply that its endpoint is gone. */
    async function saidGone(sinceMs: number | null = null) {
      const { moment, group, chunk } = await sent(1);
      const [member] = chunk.members;
      if (member === undefined) throw new Error("nobody");
      const userId = await idOf(member);
      const { address } = await goneOf(member);
      const exceptions = { gone: [{ ...member, reason: "unregistered", sinceMs }] };
      const record = recordOf(group, chunk, { code: 11, exceptions });
      const registered = { userId, channel: "memory", address, pointer: "" };
      return { moment, member, record, registered };
    }

    it("after the intent: it stays, though its reply comes later", async () => {
      const { member, record, registered } = await saidGone();
      await saveEndpoints(engine.db, [registered]);
      expect(await recordOutcomes(engine.db.pool, record)).toBe(true);
      expect(await goneOf(member)).toMatchObject({ gone: false });
    });

    it("under its ordinal with another address: that one has nothing to do with the reply", async () => {
      const { member, record, registered } = await saidGone();
      await removeEndpoint(engine.db, registered.userId, 1);
      const others = Array.from({ length: 20 }, (_, index) => ({ ...registered, address: `new-${index}` }));
      await saveEndpoints(engine.db, others);
      await recordOutcomes(engine.db.pool, record);
      const gone = await engine.rows(
        "select address from carillon.endpoints where user_number = $1 and gone_at is not null",
        [member.userNumber],
      );
      expect(gone).toEqual([]);
    });

    it("under way when the reply is recorded: the record waits for it, and it stays", async () => {
      const { member, record, registered } = await saidGone();
      await using registering = await engine.begin();
      await registering.client.query(
        "update carillon.endpoints set registered_at = clock_timestamp() where user_number = $1",
        [member.userNumber],
      );
      await using recording = await engine.begin();
      const recorded = recordOutcomes(recording.client, record);
      await engine.waits(recording);
      await registering.commit();
      expect(await recorded).toBe(true);
      await recording.commit();
      expect(await goneOf(member)).toMatchObject({ gone: false, address: registered.address });
    });

    it("looked before the reply was recorded, written after: it is back", async () => {
      const { member, record, registered } = await saidGone();
      await using recording = await engine.begin();
      expect(await recordOutcomes(recording.client, record)).toBe(true);
      const saved = saveEndpoints(engine.db, [registered]);
      await until(async () => {
        const waiting = `select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'
          and query like 'with wanted as materialized%'`;
        return (await engine.rows(waiting)).length > 0;
      }, "the registration waits");
      await recording.commit();
      await saved;
      expect(await goneOf(member)).toMatchObject({ gone: false });
    });

    it("before the intent, and after the provider found it dead: it is alive again, and stays", async () => {
      const registeredAtMs = Date.now() - 86_400_000;
      const registeredThen = async ({ member, record }: Awaited<ReturnType<typeof saidGone>>) => {
        await engine.rows("update carillon.endpoints set registered_at = $2 where user_number = $1", [
          member.userNumber,
          new Date(registeredAtMs),
        ]);
        await recordOutcomes(engine.db.pool, record);
        return (await goneOf(member)).gone;
      };
      expect(await registeredThen(await saidGone(registeredAtMs - 1))).toBe(false);
      expect(await registeredThen(await saidGone(registeredAtMs))).toBe(true);
      expect(await registeredThen(await saidGone(registeredAtMs + 1))).toBe(true);
    });

    it("before the intent: the reply is about it, and it goes", async () => {
      const { member, record } = await saidGone();
      await recordOutcomes(engine.db.pool, record);
      expect(await goneOf(member)).toMatchObject({ gone: true });
    });
  });

  it("deferred again: the new attempt, open for its next try, and once in doubt always in doubt", async () => {
    const { moment, group, chunk } = await sent(1);
    await deferAll(engine.db.pool, group, chunk, { inDoubt: true });
    const again = await intendDeferredSurely(engine.db.pool, group, { chunkNumber: 1 });
    expect(await deferredOf(moment)).toMatchObject([{ attempt: 1, in_doubt: true, intent_chunk: 1 }]);
    await deferAll(engine.db.pool, group, again, { inDoubt: false, waitMs: 60_000 });
    expect(await deferredOf(moment)).toMatchObject([{ attempt: 2, in_doubt: true, intent_chunk: null, parked: false }]);
  });

  it("what is final leaves deferred, and nobody else does", async () => {
    const { moment, group, chunk } = await sent(3);
    await deferAll(engine.db.pool, group, chunk);
    const again = await intendDeferredSurely(engine.db.pool, group, { chunkNumber: 1 });
    const [first, second, third] = again.members;
    if (first === undefined || second === undefined || third === undefined) throw new Error("nobody");
    await recordOutcomes(
      engine.db.pool,
      recordOf(group, again, { indexes: [0, 2], exceptions: { finished: [first, third] } }),
    );
    expect(await deferredOf(moment)).toMatchObject([{ user_number: second.userNumber }]);
  });

  it("parks what was in doubt at so many takeovers, and takes it out when it moves on by itself", async () => {
    const { moment, group, chunk } = await sent(1);
    let current = group;
    let sending = chunk;
    for (let takeovers = 1; takeovers <= parkAfterTakeovers; takeovers += 1) {
      await engine.endLease(current);
      current = await engine.claim(moment);
      await deferAll(engine.db.pool, current, sending, { inDoubt: true, takenOver: true });
      expect(await deferredOf(moment), `${takeovers}`).toMatchObject([
        { takeovers, parked: takeovers >= parkAfterTakeovers, attempt: takeovers },
      ]);
      if (takeovers < parkAfterTakeovers) {
        sending = await intendDeferredSurely(engine.db.pool, current, { chunkNumber: takeovers });
      }
    }
    expect(await intendDeferredSurely(engine.db.pool, current, { chunkNumber: parkAfterTakeovers })).toMatchObject({
      size: 0,
    });
    expect(
      await engine.rows("select kind from carillon.attention where bucket_id = $1 and kind = 'parked deliveries'", [
        moment.bucketId,
      ]),
    ).toHaveLength(1);
  });

  it("stands once, however often it is repeated, and its exceptions with it", async () => {
    const { moment, group, chunk } = await sent(1);
    const [only] = chunk.members;
    if (only === undefined) throw new Error("nobody");
    const record = recordOf(group, chunk, {
      code: 50,
      exceptions: {
        failures: [{ ...only, code: 50, httpStatus: 429, reason: "slow down" }],
        deferred: [{ ...only, attempt: 1, waitMs: 0, inDoubt: false, takenOver: true, reason: "slow down" }],
      },
    });
    expect(await outcomeStands(engine.db.pool, record)).toBe(false);
    expect(await recordOutcomes(engine.db.pool, record)).toBe(true);
    expect(await outcomeStands(engine.db.pool, record)).toBe(true);
    expect(await recordOutcomes(engine.db.pool, record)).toBe(true);
    expect(await outcomesOf(moment)).toHaveLength(1);
    expect(await engine.rows("select from carillon.failures where bucket_id = $1", [moment.bucketId])).toHaveLength(1);
    expect(await deferredOf(moment)).toMatchObject([{ takeovers: 1 }]);
    for (const other of [
      { ...record, part: 1 },
      { ...record, chunkNumber: 1 },
      { ...record, fence: { ...group, epoch: 2 } },
    ]) {
      expect(await outcomeStands(engine.db.pool, other)).toBe(false);
    }
  });
});

describe("an outcome and a claim at the same time", () => {
  it("the outcome first: the claim passes the group over, and who claims later sees it", async () => {
    const { moment, group, chunk } = await sent();
    await engine.endLease(group);
    await using recording = await engine.begin();
    expect(await recordOutcomes(recording.client, recordOf(group, chunk))).toBe(true);
    await expect(engine.claim(moment)).rejects.toThrow("could not be claimed");
    await recording.commit();
    // it renewed the lease as well
    await expect(engine.claim(moment)).rejects.toThrow("could not be claimed");
    await engine.endLease(group);
    const owner = await engine.claim(moment);
    expect(await unresolvedMembers(engine.db.pool, owner, owner.dueDay)).toEqual([]);
  });

  it("the claim first: the outcome waits, is refused, and the new owner has counted it as in doubt", async () => {
    const { moment, group, chunk } = await sent();
    await engine.endLease(group);
    await using claiming = await engine.begin();
    const owner = await engine.claim(moment, 0, claiming.client);
    await using recording = await engine.begin();
    const recorded = recordOutcomes(recording.client, recordOf(group, chunk));
    await engine.waits(recording);
    await claiming.commit();
    expect(await recorded).toBe(false);
    await recording.commit();
    expect(await unresolvedMembers(engine.db.pool, owner, owner.dueDay)).toHaveLength(4);
  });

  it("either it is seen or it is refused, over many races", async () => {
    for (let round = 0; round < 15; round += 1) {
      const { moment, group, chunk } = await sent(2);
      await engine.endLease(group);
      const [recorded, owner] = await Promise.all([
        recordOutcomes(engine.db.pool, recordOf(group, chunk)),
        engine.claim(moment).catch(() => null),
      ]);
      if (owner === null) {
        expect(recorded).toBe(true);
        continue;
      }
      const unresolved = await unresolvedMembers(engine.db.pool, owner, owner.dueDay);
      expect(unresolved).toHaveLength(recorded ? 0 : 2);
    }
  });
});

describe("unresolvedMembers", () => {
  it("are those with an intent, not refused, without outcome: from the record, never from the range", async () => {
    const moment = await engine.moment({ users: 10 });
    const [refused] = moment.users;
    await engine.rows("update carillon.subscriptions set ended_at = carillon.clock() where user_number = $1", [
      refused?.userNumber,
    ]);
    const group = await engine.claim(moment);
    const partly = await intendSurely(engine.db.pool, group, { limit: 4 });
    const wholly = await intendSurely(engine.db.pool, group, { chunkNumber: 1, limit: 3 });
    const not = await intendSurely(engine.db.pool, group, { chunkNumber: 2, limit: 2 });
    await recordOutcomes(engine.db.pool, recordOf(group, partly, { indexes: [2] }));
    await recordOutcomes(engine.db.pool, recordOf(group, wholly));
    // who came into the range since is not in doubt
    await engine.rows(
      `insert into carillon.subscriptions (schedule_id, user_number, hash_slot, subscribed_at)
       select $1, user_number, hash_slot, to_timestamp(0) from carillon.users
       where user_number not in (select user_number from carillon.subscriptions where schedule_id = $1) limit 5`,
      [moment.scheduleId],
    );
    // and who left since still is
    await engine.rows("delete from carillon.subscriptions where user_number = $1", [not.members[0]?.userNumber]);
    await engine.endLease(group);
    const owner = await engine.claim(moment);
    const unresolved = await unresolvedMembers(engine.db.pool, owner, owner.dueDay);
    expect(unresolved).toEqual(
      [
        { chunk: partly, index: 1 },
        { chunk: partly, index: 3 },
        { chunk: not, index: 0 },
        { chunk: not, index: 1 },
      ].map(({ chunk, index }) => {
        const member = chunk.members.find((each) => each.index === index);
        const { userNumber, ordinal } = member ?? { userNumber: "", ordinal: 0 };
        const hashSlot = moment.users.find((user) => user.userNumber === userNumber)?.hashSlot;
        return { chunkNumber: chunk.chunkNumber, attempt: 0, index, hashSlot, userNumber, ordinal };
      }),
    );
  });

  it("are resolved for good by an owner's record, under its own epoch", async () => {
    const { moment, group, chunk } = await sent(3);
    await recordOutcomes(engine.db.pool, recordOf(group, chunk, { indexes: [1] }));
    await engine.endLease(group);
    const owner = await engine.claim(moment);
    const unresolved = await unresolvedMembers(engine.db.pool, owner, owner.dueDay);
    const record = recordOf(owner, chunk, { code: 13, indexes: unresolved.map((member) => member.index) });
    expect(await recordOutcomes(engine.db.pool, record)).toBe(true);
    expect(await unresolvedMembers(engine.db.pool, owner, owner.dueDay)).toEqual([]);
    expect(await outcomesOf(moment)).toMatchObject([
      { epoch: 1, part: 0, codes: "01" },
      { epoch: 2, part: 0, codes: "0d0d", indexes: [0, 2] },
    ]);
    expect(await engine.group(moment)).toMatchObject({ delivered: 1, failed: 2, in_doubts: 2 });
  });

  it("tell a tried-again member by its attempt, and who was erased by having no slot", async () => {
    const { moment, group, chunk } = await sent(2);
    await deferAll(engine.db.pool, group, chunk);
    await intendDeferredSurely(engine.db.pool, group, { chunkNumber: 1 });
    await engine.rows("delete from carillon.users where user_number = $1", [chunk.members[0]?.userNumber]);
    await engine.endLease(group);
    const owner = await engine.claim(moment);
    expect(await unresolvedMembers(engine.db.pool, owner, owner.dueDay)).toMatchObject([
      { chunkNumber: 1, attempt: 1, index: 0, hashSlot: null },
      { chunkNumber: 1, attempt: 1, index: 1, hashSlot: moment.users[1]?.hashSlot },
    ]);
  });
});
