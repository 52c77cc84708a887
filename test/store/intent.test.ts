import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Chunk } from "../../src/store/chunk.ts";
import { cancelBucket, pauseSchedule } from "../../src/store/halt.ts";
import { findIntent, type IntentRequest, intend } from "../../src/store/intent.ts";
import { whyRefused } from "../../src/store/refusal.ts";
import { createEngine, type Engine, intendSurely, intentOf, type SeededMoment } from "../support/engine.ts";

let engine: Engine;
beforeAll(async () => {
  engine = await createEngine();
});
afterAll(() => engine[Symbol.asyncDispose]());

const numbersOf = (chunk: Chunk) => chunk.members.map((member) => member.userNumber);
const allNumbers = (moment: SeededMoment) => moment.users.map((user) => user.userNumber);
const chunksOf = ({ bucketId }: SeededMoment) =>
  engine.rows<{
    chunk_number: number;
    epoch: number;
    node_id: number;
    attempt: number;
    user_numbers: string[];
    ordinals: number[] | null;
    codes: number[] | null;
    from: string;
    to: string;
  }>(
    `select chunk_number, epoch, node_id, attempt, user_numbers::text[] as user_numbers, ordinals,
       (select array_agg(get_byte(refused, i)) from generate_series(0, length(refused) - 1) i) as codes,
       first_slot || ':' || first_user as from, last_slot || ':' || last_user as to
     from carillon.chunks where bucket_id = $1 order by group_number, chunk_number`,
    [bucketId],
  );
const at = (moment: SeededMoment, index: number) => {
  const user = moment.users.at(index);
  if (user === undefined) throw new Error("no such user");
  return user;
};
const position = (moment: SeededMoment, index: number) =>
  `${at(moment, index).hashSlot}:${at(moment, index).userNumber}`;
const changeSubscription = (moment: SeededMoment, index: number, columns: string) =>
  engine.rows(`update carillon.subscriptions s set ${columns} where s.schedule_id = $1 and s.user_number = $2`, [
    moment.scheduleId,
    at(moment, index).userNumber,
  ]);
const changeBucket = ({ bucketId }: SeededMoment, columns: string) =>
  engine.rows(`update carillon.time_buckets set ${columns} where bucket_id = $1`, [bucketId]);

// read user by user, or as one range: the members must be the same
describe.each([
  ["endpoints looked up", false],
  ["endpoints read as a range", true],
])("intend, %s", (_, dense) => {
  const take = (group: Parameters<typeof intendSurely>[1], request: Partial<IntentRequest> = {}) =>
    intendSurely(engine.db.pool, group, { dense, ...request });

  it("writes the chunk with its members, moves the mark and renews the lease, in one", async () => {
    const moment = await engine.moment({ users: 10 });
    const group = await engine.claim(moment);
    await engine.endLease(group);
    const chunk = await take(group, { limit: 4 });
    expect(chunk).toMatchObject({ chunkNumber: 0, attempt: 0, size: 4, pagedThrough: false });
    expect(chunk.members).toEqual(
      moment.users.slice(0, 4).map((user, index) => ({
        index,
        hashSlot: null,
        userNumber: user.userNumber,
        ordinal: 1,
        channel: "memory",
        destinationId: null,
        address: `${user.userId}#1`,
        zone: null,
        locale: null,
      })),
    );
    expect(await chunksOf(moment)).toEqual([
      {
        chunk_number: 0,
        epoch: 1,
        node_id: engine.nodeId,
        attempt: 0,
        user_numbers: allNumbers(moment).slice(0, 4),
        ordinals: null,
        codes: null,
        from: position(moment, 0),
        to: position(moment, 3),
      },
    ]);
    const row = await engine.group(moment);
    expect(`${row.mark_slot}:${row.mark_user}`).toBe(position(moment, 3));
    expect(row).toMatchObject({ next_chunk: 1, intended: 4, paged_at: null });
    expect(row.lease_left_ms).toBeGreaterThan(0);
  });

  it("goes on from the mark, and says when the group has been paged through", async () => {
    const moment = await engine.moment({ users: 10 });
    const group = await engine.claim(moment);
    const seen: string[] = [];
    let chunk: Chunk;
    let chunkNumber = 0;
    do {
      chunk = await take(group, { chunkNumber, limit: 4 });
      seen.push(...numbersOf(chunk));
      chunkNumber += 1;
    } while (!chunk.pagedThrough);
    expect(seen).toEqual(allNumbers(moment));
    expect((await engine.group(moment)).paged_at).not.toBeNull();
    expect((await chunksOf(moment)).map((row) => row.user_numbers.length)).toEqual([4, 4, 2]);
  });

  it("at the end writes no chunk without members, whether asked first or last", async () => {
    const moment = await engine.moment({ users: 4 });
    const group = await engine.claim(moment);
    const full = await take(group, { limit: 4 });
    if (!full.pagedThrough) {
      expect(await take(group, { chunkNumber: 1, limit: 4 })).toMatchObject({
        size: 0,
        members: [],
        pagedThrough: true,
      });
    }
    expect(await take(group, { chunkNumber: 1 })).toMatchObject({ size: 0, pagedThrough: true });
    const empty = await engine.moment({ users: 0 });
    expect(await take(await engine.claim(empty))).toMatchObject({ size: 0, members: [], pagedThrough: true });
    expect(await chunksOf(moment)).toHaveLength(1);
    expect(await chunksOf(empty)).toHaveLength(0);
    expect(await engine.group(empty)).toMatchObject({ next_chunk: 0, intended: 0 });
  });

  it("counts endpoints against the limit, and never splits a user's", async () => {
    const moment = await engine.moment({ users: 5, endpoints: 3 });
    const group = await engine.claim(moment);
    const sizes: number[] = [];
    const seen: string[] = [];
    for (const limit of [7, 2, 3, 100]) {
      const chunk = await take(group, { chunkNumber: sizes.length, limit });
      sizes.push(chunk.size);
      seen.push(...chunk.members.map((member) => `${member.userNumber}#${member.ordinal}`));
    }
    // two users with all of theirs; one though he has more than that; one exactly; the rest
    expect(sizes).toEqual([6, 3, 3, 3]);
    expect(seen).toEqual(allNumbers(moment).flatMap((user) => [1, 2, 3].map((ordinal) => `${user}#${ordinal}`)));
    expect((await engine.group(moment)).paged_at).not.toBeNull();
    expect(await engine.group(moment)).toMatchObject({ intended: 15, next_chunk: 4 });
  });

  it("gives every member to exactly one group, however the moment is cut and the pages fall", async () => {
    const moment = await engine.moment({ users: 300, endpoints: 2, groups: 7 });
    const seen: string[] = [];
    for (let groupNumber = 0; groupNumber < 7; groupNumber += 1) {
      const group = await engine.claim(moment, groupNumber);
      let chunk: Chunk;
      let chunkNumber = 0;
      do {
        const limit = 1 + ((groupNumber * 5 + chunkNumber * 3) % 17);
        chunk = await take(group, { chunkNumber, limit });
        if (chunk.size > 0) chunkNumber += 1;
        seen.push(...chunk.members.map((member) => `${member.userNumber}#${member.ordinal}`));
      } while (!chunk.pagedThrough);
    }
    expect(seen).toEqual(allNumbers(moment).flatMap((user) => [`${user}#1`, `${user}#2`]));
  });

  it("takes those who were subscribed at the moment, and no others", async () => {
    const moment = await engine.moment({ users: 8 });
    const due = `(select due_at from carillon.time_buckets where bucket_id = ${moment.bucketId})`;
    await changeSubscription(moment, 0, `subscribed_at = ${due} + interval '1 microsecond'`);
    await changeSubscription(moment, 1, `subscribed_at = ${due}`);
    await changeSubscription(moment, 2, `ended_at = ${due}`);
    await changeSubscription(moment, 3, `ended_at = ${due} + interval '1 microsecond'`);
    await changeSubscription(moment, 4, `ended_at = ${due} - interval '1 hour'`);
    const chunk = await take(await engine.claim(moment));
    expect(numbersOf(chunk)).toEqual([1, 5, 6, 7].map((index) => at(moment, index).userNumber));
    // who left only after the moment is owed a record of it
    expect(await chunksOf(moment)).toMatchObject([{ codes: [0, 30, 0, 0, 0] }]);
    expect(chunk).toMatchObject({ size: 5 });
    expect(chunk.members.map((member) => member.index)).toEqual([0, 2, 3, 4]);
    expect(await engine.group(moment)).toMatchObject({ intended: 5, suppressed: 1 });
  });

  it("takes who has moved on since the moment, unless they have left where they went", async () => {
    const moment = await engine.moment({ users: 5 });
    const elsewhere = (await engine.moment({ users: 0 })).scheduleId;
    const goes = async (index: number, endedThere: string) => {
      await changeSubscription(moment, index, `ended_at = carillon.clock(), moved_to = ${elsewhere}`);
      await engine.rows(
        `insert into carillon.subscriptions (schedule_id, user_number, hash_slot, ended_at) values ($1, $2, $3, ${endedThere})`,
        [elsewhere, at(moment, index).userNumber, at(moment, index).hashSlot],
      );
    };
    await goes(0, "null");
    await goes(1, "carillon.clock()");
    await changeSubscription(moment, 2, "ended_at = carillon.clock()");
    // before the moment
    const due = `(select due_at from carillon.time_buckets where bucket_id = ${moment.bucketId})`;
    await changeSubscription(moment, 3, `ended_at = ${due}, moved_to = ${elsewhere}`);
    const chunk = await take(await engine.claim(moment));
    expect(numbersOf(chunk)).toEqual([0, 4].map((index) => at(moment, index).userNumber));
    expect(await chunksOf(moment)).toMatchObject([{ codes: [0, 30, 30, 0] }]);
  });

  it("records whom the gate refuses, with the first reason that holds", async () => {
    const moment = await engine.moment({ users: 10 });
    const { destination_id: destinationId } = await engine.one<{ destination_id: number }>(
      `insert into carillon.destinations (name, url, sealed_secrets, disabled_at)
       values ($1, 'https://x.example', array['\\x00'::bytea], now()) returning destination_id`,
      [`disabled ${dense}`],
    );
    const mute = (index: number, topicId: number, until: string) =>
      engine.rows(`insert into carillon.mutes values ($1, $2, $3, carillon.clock() + ${until})`, [
        at(moment, index).hashSlot,
        at(moment, index).userNumber,
        topicId,
      ]);
    const changeEndpoint = (index: number, columns: string) =>
      engine.rows(`update carillon.endpoints set ${columns} where user_number = $1`, [at(moment, index).userNumber]);
    await mute(0, moment.topicId, "interval '1 hour'");
    await mute(1, 0, "interval '1 hour'");
    await mute(2, moment.topicId + 1000, "interval '1 hour'");
    await mute(3, moment.topicId, "interval '-1 second'");
    await changeEndpoint(4, "gone_at = now()");
    await engine.rows("delete from carillon.endpoints where user_number = $1", [at(moment, 5).userNumber]);
    await changeEndpoint(6, `channel = 'webhook', destination_id = ${destinationId}`);
    // several reasons
    await changeSubscription(moment, 7, "ended_at = carillon.clock()");
    await mute(7, 0, "interval '1 hour'");
    await mute(8, 0, "interval '1 hour'");
    await changeEndpoint(8, "gone_at = now()");
    const chunk = await take(await engine.claim(moment));
    expect(await chunksOf(moment)).toMatchObject([
      { codes: [32, 32, 0, 0, 33, 33, 34, 30, 32, 0], ordinals: [1, 1, 1, 1, 0, 0, 1, 1, 0, 1] },
    ]);
    expect(numbersOf(chunk)).toEqual([2, 3, 9].map((index) => at(moment, index).userNumber));
    expect(chunk.members.map((member) => member.index)).toEqual([2, 3, 9]);
    expect(await engine.group(moment)).toMatchObject({ intended: 10, suppressed: 7, failed: 0, in_doubts: 0 });
  });

  it("leaves out an endpoint that is gone, and goes on with the user's others", async () => {
    const moment = await engine.moment({ users: 2, endpoints: 3 });
    await engine.rows("update carillon.endpoints set gone_at = now() where user_number = $1 and ordinal = 2", [
      at(moment, 0).userNumber,
    ]);
    const chunk = await take(await engine.claim(moment));
    expect(chunk.members.map((member) => member.ordinal)).toEqual([1, 3, 1, 2, 3]);
  });

  it("hands over what sending and rendering need", async () => {
    const moment = await engine.moment({ users: 2 });
    const { destination_id: destinationId } = await engine.one<{ destination_id: number }>(
      `insert into carillon.destinations (name, url, sealed_secrets)
       values ($1, 'https://x.example', array['\\x00'::bytea]) returning destination_id`,
      [`open ${dense}`],
    );
    await engine.rows(
      `update carillon.endpoints set channel = 'webhook', destination_id = $2, address = 'Zoë, "quoted" {1,2} \\ € NULL',
         zone = 'Europe/Berlin', locale = 'de' where user_number = $1`,
      [at(moment, 1).userNumber, destinationId],
    );
    const chunk = await take(await engine.claim(moment));
    expect(chunk.members).toMatchObject([
      { channel: "memory", destinationId: null, zone: null, locale: null },
      {
        channel: "webhook",
        destinationId,
        address: 'Zoë, "quoted" {1,2} \\ € NULL',
        zone: "Europe/Berlin",
        locale: "de",
      },
    ]);
  });
});

describe("an intent is refused", () => {
  const refused = async (moment: SeededMoment, group: Parameters<typeof intentOf>[0], chunkNumber = 0) => {
    const before = await engine.group(moment);
    expect(await intend(engine.db.pool, intentOf(group, { chunkNumber }))).toBeNull();
    const { lease_left_ms: _, waits_ms: __, ...after } = await engine.group(moment);
    expect(before).toMatchObject(after);
    return whyRefused(engine.db.pool, group, chunkNumber);
  };

  it("ahead of the moment, and told how long that is", async () => {
    const moment = await engine.moment({ dueInMs: 30_000 });
    const why = await refused(moment, await engine.claim(moment));
    expect(why).toMatchObject({ kind: "not_yet_due" });
    if (why.kind === "not_yet_due") {
      expect(why.waitMs).toBeGreaterThan(0);
      expect(why.waitMs).toBeLessThanOrEqual(30_000);
    }
    expect(await chunksOf(moment)).toEqual([]);
  });

  it("after the expiry, paused then or not", async () => {
    const moment = await engine.moment({ dueInMs: -5000, expiresAfterMs: 1000 });
    const group = await engine.claim(moment);
    expect(await refused(moment, group)).toEqual({ kind: "expired", paused: false });
    await pauseSchedule(engine.db, moment.scheduleId);
    expect(await refused(moment, group)).toEqual({ kind: "expired", paused: true });
  });

  it.each(["topics", "schedules"])("while one of its %s is paused, though no group says so", async (table) => {
    const moment = await engine.moment();
    const group = await engine.claim(moment);
    await engine.rows(`update carillon.${table} set paused_at = now() where topic_id = $1`, [moment.topicId]);
    expect(await refused(moment, group)).toEqual({ kind: "halted" });
  });

  it("while the group is halted", async () => {
    const moment = await engine.moment();
    const group = await engine.claim(moment);
    await engine.rows("update carillon.groups set halted_at = now() where bucket_id = $1", [moment.bucketId]);
    expect(await refused(moment, group)).toEqual({ kind: "halted" });
  });

  it("once the bucket is cancelled", async () => {
    const moment = await engine.moment();
    const group = await engine.claim(moment);
    await changeBucket(moment, "cancelled_at = clock_timestamp()");
    expect(await refused(moment, group)).toEqual({ kind: "cancelled" });
  });

  it("under another epoch or token", async () => {
    const moment = await engine.moment();
    const group = await engine.claim(moment);
    for (const stale of [
      { ...group, epoch: group.epoch - 1 },
      { ...group, epoch: group.epoch + 1 },
      { ...group, claimToken: randomUUID() },
    ]) {
      expect(await refused(moment, stale)).toEqual({ kind: "lost" });
    }
    await engine.endLease(group);
    await engine.claim(moment);
    expect(await refused(moment, group)).toEqual({ kind: "lost" });
    expect(await chunksOf(moment)).toEqual([]);
  });

  it("from a mark that has moved", async () => {
    const moment = await engine.moment();
    const group = await engine.claim(moment);
    await intendSurely(engine.db.pool, group, { limit: 3 });
    expect(await refused(moment, group, 0)).toEqual({ kind: "moved" });
    expect(await refused(moment, group, 2)).toEqual({ kind: "moved" });
    expect(await chunksOf(moment)).toHaveLength(1);
  });

  it("but stands while its lease has run out and nobody has taken the group", async () => {
    const moment = await engine.moment();
    const group = await engine.claim(moment);
    await engine.endLease(group);
    expect(await intend(engine.db.pool, intentOf(group))).not.toBeNull();
    expect((await engine.group(moment)).lease_left_ms).toBeGreaterThan(0);
  });
});

describe("recordAs", () => {
  it.each([
    ["expired", 20, { dueInMs: -5000, expiresAfterMs: 1000 }],
    ["cancelled", 40, {}],
    ["suppressed", 31, { dueInMs: 60_000 }],
  ] as const)(
    "records all members as %s and sends to none, whatever stands in the way",
    async (counter, code, options) => {
      const moment = await engine.moment({ users: 5, ...options });
      const group = await engine.claim(moment);
      await engine.rows("update carillon.groups set halted_at = now() where bucket_id = $1", [moment.bucketId]);
      await engine.rows("update carillon.topics set paused_at = now() where topic_id = $1", [moment.topicId]);
      const chunk = await intendSurely(engine.db.pool, group, { recordAs: code, limit: 3 });
      expect(chunk).toMatchObject({ size: 3, members: [], pagedThrough: false });
      expect(await intendSurely(engine.db.pool, group, { recordAs: code, limit: 3, chunkNumber: 1 })).toMatchObject({
        size: 2,
        pagedThrough: true,
      });
      expect(await chunksOf(moment)).toMatchObject([{ codes: [code, code, code] }, { codes: [code, code] }]);
      expect(await engine.group(moment)).toMatchObject({ intended: 5, [counter]: 5 });
    },
  );

  it("is fenced all the same", async () => {
    const moment = await engine.moment();
    const group = await engine.claim(moment);
    await engine.endLease(group);
    await engine.claim(moment);
    expect(await intend(engine.db.pool, intentOf(group, { recordAs: 40 }))).toBeNull();
  });
});

describe("an intent and a cancel at the same time", () => {
  it("is refused when the cancel had the group first", async () => {
    const moment = await engine.moment();
    const group = await engine.claim(moment);
    await using cancelling = await engine.begin();
    await cancelling.client.query("select from carillon.time_buckets where bucket_id = $1 for no key update", [
      moment.bucketId,
    ]);
    await cancelling.client.query("update carillon.groups set halted_at = clock_timestamp() where bucket_id = $1", [
      moment.bucketId,
    ]);
    await using sending = await engine.begin();
    const asked = intend(sending.client, intentOf(group));
    await engine.waits(sending);
    await cancelling.commit();
    expect(await asked).toBeNull();
    await sending.commit();
    expect(await chunksOf(moment)).toEqual([]);
  });

  it("makes the cancel wait when it was first, and then it is a send that was begun before", async () => {
    const moment = await engine.moment({ users: 6 });
    const group = await engine.claim(moment);
    await using sending = await engine.begin();
    const chunk = await intendSurely(sending.client, group, { limit: 2 });
    let cancelled = false;
    const cancelling = cancelBucket(engine.db, moment.bucketId).then(() => {
      cancelled = true;
    });
    await engine.rows("select pg_sleep(0.05)");
    expect(cancelled).toBe(false);
    await sending.commit();
    await cancelling;
    expect(chunk.size).toBe(2);
    // begun: so it is not simply closed
    expect(
      await engine.rows("select closed_as from carillon.time_buckets where bucket_id = $1", [moment.bucketId]),
    ).toEqual([{ closed_as: null }]);
    expect(await intend(engine.db.pool, intentOf(group, { chunkNumber: 1 }))).toBeNull();
  });

  it("is refused when a claim had the group first", async () => {
    const moment = await engine.moment();
    const group = await engine.claim(moment);
    await engine.endLease(group);
    await using claiming = await engine.begin();
    await engine.claim(moment, 0, claiming.client);
    await using sending = await engine.begin();
    const asked = intend(sending.client, intentOf(group));
    await engine.waits(sending);
    await claiming.commit();
    expect(await asked).toBeNull();
  });

  it("from the same mark twice: one of the two stands", async () => {
    const moment = await engine.moment();
    const group = await engine.claim(moment);
    const both = await Promise.all([1, 2].map(() => intend(engine.db.pool, intentOf(group, { limit: 3 }))));
    expect(both.filter((chunk) => chunk !== null)).toHaveLength(1);
    expect(await chunksOf(moment)).toHaveLength(1);
  });

  it("an unsubscribe that was committed before is honoured, and who left meanwhile stays out when he comes back", async () => {
    const moment = await engine.moment({ users: 6 });
    const group = await engine.claim(moment);
    await intendSurely(engine.db.pool, group, { limit: 2 });
    await changeSubscription(moment, 3, "ended_at = carillon.clock()");
    // who comes back is subscribed after the moment, at the same position
    await changeSubscription(moment, 0, "ended_at = null, subscribed_at = carillon.clock()");
    const rest = await intendSurely(engine.db.pool, group, { chunkNumber: 1 });
    expect(numbersOf(rest)).toEqual([2, 4, 5].map((index) => at(moment, index).userNumber));
  });
});

describe("findIntent", () => {
  it("returns what a lost reply would have said, under the same epoch only", async () => {
    const moment = await engine.moment({ users: 6, endpoints: 2 });
    await changeSubscription(moment, 1, "ended_at = carillon.clock()");
    const group = await engine.claim(moment);
    const first = await intendSurely(engine.db.pool, group, { limit: 6 });
    const second = await intendSurely(engine.db.pool, group, { chunkNumber: 1 });
    const find = (chunkNumber: number, fence = group) => findIntent(engine.db.pool, fence, chunkNumber, group.dueDay);
    expect(await find(0)).toEqual({ ...first, pagedThrough: true });
    expect(await find(1)).toEqual(second);
    expect(await find(2)).toBeNull();
    expect(await find(0, { ...group, epoch: 2 })).toBeNull();
  });

  it("returns a chunk of refused members without anyone to send to", async () => {
    const moment = await engine.moment({ users: 3 });
    const group = await engine.claim(moment);
    const recorded = await intendSurely(engine.db.pool, group, { recordAs: 40 });
    expect(await findIntent(engine.db.pool, group, 0, group.dueDay)).toEqual(recorded);
  });

  it("keeps everybody's place in the chunk when a user was erased since", async () => {
    const moment = await engine.moment({ users: 4 });
    const group = await engine.claim(moment);
    const chunk = await intendSurely(engine.db.pool, group);
    await engine.rows("delete from carillon.users where user_number = $1", [at(moment, 1).userNumber]);
    const found = await findIntent(engine.db.pool, group, 0, group.dueDay);
    expect(found?.members.map(({ index, userNumber }) => [index, userNumber])).toEqual(
      chunk.members.map(({ index, userNumber }) => [index, userNumber]),
    );
    expect(found?.members[1]).toMatchObject({ channel: "erased", address: "" });
  });

  it("still has the address of an endpoint that went meanwhile: it was to be sent to", async () => {
    const moment = await engine.moment({ users: 1 });
    const group = await engine.claim(moment);
    const chunk = await intendSurely(engine.db.pool, group);
    await engine.rows("update carillon.endpoints set gone_at = now() where user_number = $1", [
      at(moment, 0).userNumber,
    ]);
    expect(await findIntent(engine.db.pool, group, 0, group.dueDay)).toEqual(chunk);
  });
});

it("an intent starts the count of takeovers anew, unless it had no members", async () => {
  const moment = await engine.moment({ users: 1 });
  await engine.endLease(await engine.claim(moment));
  const group = await engine.claim(moment);
  expect(group.takeovers).toBe(1);
  await intendSurely(engine.db.pool, group);
  expect(await engine.group(moment)).toMatchObject({ takeovers: 0 });
  await engine.endLease(group);
  const next = await engine.claim(moment);
  await intendSurely(engine.db.pool, next);
  expect(await engine.group(moment)).toMatchObject({ takeovers: 1, rescues: 2 });
});
