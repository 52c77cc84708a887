import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { outcomeCodes } from "../../src/reminder/outcome-code.ts";
import type { ClaimedGroup } from "../../src/store/claim.ts";
import { createDestination, patchDestination } from "../../src/store/destinations.ts";
import { intendMany } from "../../src/store/intent-many.ts";
import { savePreferences } from "../../src/store/preferences.ts";
import { addSuppressions, removeSuppression } from "../../src/store/suppressions.ts";
import {
  createEngine,
  deferAll,
  type Engine,
  intendDeferredSurely,
  intendSurely,
  type SeededMoment,
  type SeededUser,
} from "../support/engine.ts";

let engine: Engine;
beforeAll(async () => {
  engine = await createEngine();
});
afterAll(() => engine[Symbol.asyncDispose]());

const kathmandu = "Asia/Kathmandu";
const minuteMs = 60_000;

function userAt({ users }: SeededMoment, index: number): SeededUser {
  const user = users[index];
  if (user === undefined) throw new Error(`no user ${index}`);
  return user;
}

/** A wall time in Kathmandu, where clocks are never changed, so many minutes from now. */
const wall = (minutes: number) =>
  `((carillon.clock() + interval '${minutes} minutes') at time zone '${kathmandu}')::time(0)`;

const live = ({ userNumber }: SeededUser, zone: string | null) =>
  engine.rows(
    "with u as (update carillon.users set zone = $2 where user_number = $1) update carillon.endpoints set zone = $2 where user_number = $1",
    [userNumber, zone],
  );

async function quietHours(user: SeededUser, from: string, to: string, topicId = 0): Promise<void> {
  await engine.rows(
    `insert into carillon.quiet_hours (hash_slot, user_number, topic_id, starts_at, ends_at) values ($1, $2, $3, ${from}, ${to})`,
    [user.hashSlot, user.userNumber, topicId],
  );
}

async function prefers(user: SeededUser, topicId: number, channel: string, allowed: boolean): Promise<void> {
  await engine.rows("insert into carillon.preferences values ($1, $2, $3, $4, $5)", [
    user.hashSlot,
    user.userNumber,
    topicId,
    channel,
    allowed,
  ]);
}

const forget = () =>
  engine.rows(
    `with a as (delete from carillon.preferences), b as (delete from carillon.quiet_hours)
     delete from carillon.suppressions`,
  );

/** Of each member, in firing order. */
async function codesOf({ bucketId }: SeededMoment, chunkNumber = 0): Promise<number[]> {
  const rows = await engine.rows<{ code: number }>(
    `select coalesce(get_byte(c.refused, place::int - 1), 0) as code
     from carillon.chunks c, unnest(c.user_numbers) with ordinality as m (user_number, place)
     where c.bucket_id = $1 and c.chunk_number = $2 order by place`,
    [bucketId, chunkNumber],
  );
  return rows.map(({ code }) => code);
}

const deferredOf = ({ bucketId }: SeededMoment) =>
  engine.rows<{ user_number: string; attempt: number; in_doubt: boolean; reason: string; waits_ms: number }>(
    `select user_number, attempt, in_doubt, reason,
       (extract(epoch from next_try_at - clock_timestamp()) * 1000)::float8 as waits_ms
     from carillon.deferred where bucket_id = $1 order by hash_slot, user_number, ordinal`,
    [bucketId],
  );

const ways: Record<string, (group: ClaimedGroup) => Promise<unknown>> = {
  "read as a range": (group) => intendSurely(engine.db.pool, group, { dense: true }),
  "looked up": (group) => intendSurely(engine.db.pool, group, { dense: false }),
  "of many groups": (group) =>
    intendMany(engine.db.pool, [{ fence: group, chunkNumber: 0, limit: 100, leaseMs: 60_000 }]),
};

describe.each(Object.entries(ways))("what users want, %s", (_, ask) => {
  it("is heeded, with the first reason that holds", async () => {
    const moment = await engine.moment({ users: 26 });
    const { topicId } = moment;
    const other = topicId + 1000;
    const off = `off-${topicId}`;
    await createDestination(engine.db, { name: off, url: "http://192.0.2.1/", batchSize: 1 }, new Uint8Array(32));
    const { destinationId } = (await patchDestination(engine.db, off, { disabled: true }, new Uint8Array(32)))
      .destination;
    const change = (table: string, user: SeededUser, columns: string) =>
      engine.rows(`update carillon.${table} set ${columns} where user_number = $1`, [user.userNumber]);
    const webhook = `channel = 'webhook', destination_id = ${destinationId}`;
    const listed = (user: SeededUser, until: Date | null) =>
      addSuppressions(engine.db, [{ userId: user.userId, reason: "bounced", until }]);
    const { optedOut, onSuppressionList, quietHours: outlasted, heldByQuietHours } = outcomeCodes;
    const asleep = async (user: SeededUser, minutes = 5, topic = 0) => {
      await live(user, kathmandu);
      await quietHours(user, wall(-5), wall(minutes), topic);
    };
    const cases: readonly (readonly [number, (user: SeededUser) => Promise<unknown>])[] = [
      [0, async () => undefined],
      // preferences: the most specific one holds
      [optedOut, (user) => prefers(user, topicId, "", false)],
      [optedOut, (user) => prefers(user, 0, "", false)],
      [optedOut, (user) => prefers(user, topicId, "memory", false)],
      [optedOut, (user) => prefers(user, 0, "memory", false)],
      [0, (user) => prefers(user, other, "", false)],
      [0, (user) => prefers(user, topicId, "webhook", false)],
      [0, (user) => Promise.all([prefers(user, 0, "", false), prefers(user, topicId, "", true)])],
      [0, (user) => Promise.all([prefers(user, topicId, "", false), prefers(user, topicId, "memory", true)])],
      [0, (user) => Promise.all([prefers(user, 0, "memory", false), prefers(user, topicId, "", true)])],
      [optedOut, (user) => Promise.all([prefers(user, topicId, "", false), prefers(user, 0, "memory", true)])],
      [optedOut, (user) => Promise.all([prefers(user, topicId, "", false), prefers(user, topicId, "webhook", true)])],
      // the list
      [onSuppressionList, (user) => listed(user, null)],
      [onSuppressionList, (user) => listed(user, new Date(Date.now() + minuteMs))],
      [0, (user) => listed(user, new Date(Date.now() - minuteMs))],
      // quiet hours
      [heldByQuietHours, (user) => asleep(user)],
      [outlasted, (user) => asleep(user, 60)],
      [heldByQuietHours, (user) => asleep(user, 5, topicId)],
      [0, (user) => asleep(user, 5, other)],
      [0, (user) => live(user, kathmandu).then(() => quietHours(user, wall(5), wall(-5)))],
      // of two, the later end
      [outlasted, (user) => asleep(user).then(() => quietHours(user, wall(-5), wall(60), topicId))],
      // several reasons
      [onSuppressionList, (user) => Promise.all([listed(user, null), prefers(user, 0, "", false), asleep(user)])],
      [
        outcomeCodes.ended,
        (user) => Promise.all([listed(user, null), change("subscriptions", user, "ended_at = carillon.clock()")]),
      ],
      [optedOut, (user) => Promise.all([prefers(user, 0, "", false), change("endpoints", user, "gone_at = now()")])],
      [outcomeCodes.noEndpoint, (user) => Promise.all([asleep(user), change("endpoints", user, "gone_at = now()")])],
      [outcomeCodes.destinationDisabled, (user) => asleep(user).then(() => change("endpoints", user, webhook))],
    ];
    expect(cases).toHaveLength(moment.users.length);
    for (const [index, [, set]] of cases.entries()) await set(userAt(moment, index));

    await ask(await engine.claim(moment));
    const codes = cases.map(([code]) => code);
    expect(await codesOf(moment)).toEqual(codes);
    const held = moment.users.filter((__, index) => codes[index] === heldByQuietHours);
    const rows = await deferredOf(moment);
    expect(rows.map(({ user_number: user }) => user)).toEqual(held.map(({ userNumber }) => userNumber));
    for (const row of rows) {
      expect(row).toMatchObject({ attempt: 1, in_doubt: false, reason: "quiet hours" });
      expect(row.waits_ms).toBeGreaterThan(4 * minuteMs);
      expect(row.waits_ms).toBeLessThanOrEqual(5 * minuteMs + 1000);
    }
    // who is held has no final state yet
    const suppressed = codes.filter((code) => code >= 30 && code < 40).length;
    expect(await engine.group(moment)).toMatchObject({ intended: codes.length, suppressed, failed: 0 });
    await forget();
  });

  it("is of no account where the topic ignores quiet hours", async () => {
    const moment = await engine.moment({ users: 1 });
    await engine.rows("update carillon.topics set ignores_quiet_hours = true where topic_id = $1", [moment.topicId]);
    await live(userAt(moment, 0), kathmandu);
    await quietHours(userAt(moment, 0), wall(-5), wall(5));
    await ask(await engine.claim(moment));
    expect(await codesOf(moment)).toEqual([0]);
    await forget();
  });

  it.each([
    ["the schedule's", "Asia/Tokyo"],
    ["UTC", "UTC"],
  ])("is in the user's zone, else (none, or one that Postgres does not know) in %s", async (_which, elsewhere) => {
    const moment = await engine.moment({ users: 4 });
    if (elsewhere !== "UTC") {
      await engine.rows(
        `update carillon.schedules set rule = carillon.canonical_rule($2)
         where schedule_id = $1`,
        [moment.scheduleId, { kind: "wall", time: "07:00:00", zone: elsewhere }],
      );
    }
    const wallIn = (zone: string, minutes: number) => wall(minutes).replace(kathmandu, zone);
    const zones = [
      [kathmandu, kathmandu],
      [null, elsewhere],
      ["Mars/Base", elsewhere],
      [null, kathmandu],
    ] as const;
    for (const [index, [stored, meant]] of zones.entries()) {
      await live(userAt(moment, index), stored);
      await quietHours(userAt(moment, index), wallIn(meant, -5), wallIn(meant, 5));
    }
    await ask(await engine.claim(moment));
    expect(await codesOf(moment)).toEqual([52, 52, 52, 0]);
    await forget();
  });

  it("holds each of a user's endpoints", async () => {
    const moment = await engine.moment({ users: 2, endpoints: 3 });
    await live(userAt(moment, 1), kathmandu);
    await quietHours(userAt(moment, 1), wall(-5), wall(5));
    await prefers(userAt(moment, 1), 0, "memory", true);
    await ask(await engine.claim(moment));
    expect(await codesOf(moment)).toEqual([0, 0, 0, 52, 52, 52]);
    expect(await deferredOf(moment)).toHaveLength(3);
    await forget();
  });
});

describe("what is held", () => {
  /** One chunk has been written: everybody is held for five more minutes. */
  async function heldMoment(users: number) {
    const moment = await engine.moment({ users });
    for (const user of moment.users) {
      await live(user, kathmandu);
      await quietHours(user, wall(-5), wall(5));
    }
    const group = await engine.claim(moment);
    expect(await intendSurely(engine.db.pool, group)).toMatchObject({ size: users, members: [], pagedThrough: true });
    return { moment, group };
  }
  /** As if the end of the quiet hours had come. */
  const end = async ({ bucketId }: SeededMoment) => {
    await engine.rows("delete from carillon.quiet_hours");
    await engine.rows("update carillon.deferred set next_try_at = clock_timestamp() where bucket_id = $1", [bucketId]);
  };

  it("is not sent before its end, and then it is, and the gate is asked anew", async () => {
    const { moment, group } = await heldMoment(5);
    expect(await intendDeferredSurely(engine.db.pool, group, { chunkNumber: 1 })).toMatchObject({ size: 0 });
    await end(moment);
    const [, left, muted, gone, listed] = moment.users;
    await engine.rows("update carillon.subscriptions set ended_at = carillon.clock() where user_number = $1", [
      left?.userNumber,
    ]);
    await engine.rows("insert into carillon.mutes values ($1, $2, 0, 'infinity')", [
      muted?.hashSlot,
      muted?.userNumber,
    ]);
    await engine.rows("update carillon.endpoints set gone_at = now() where user_number = $1", [gone?.userNumber]);
    await addSuppressions(engine.db, [{ userId: listed?.userId ?? "", reason: "legal", until: null }]);
    const chunk = await intendDeferredSurely(engine.db.pool, group, { chunkNumber: 1 });
    expect(await codesOf(moment, 1)).toEqual([0, 30, 32, 33, 37]);
    expect(chunk).toMatchObject({ attempt: 1, size: 5 });
    expect(chunk.members.map(({ userNumber }) => userNumber)).toEqual([userAt(moment, 0).userNumber]);
    expect(await deferredOf(moment)).toHaveLength(1);
    expect(await engine.group(moment)).toMatchObject({ intended: 5, suppressed: 4 });
    await forget();
  });

  it("is held on where the user has put off the end, unless that is beyond the expiry", async () => {
    const { moment, group } = await heldMoment(2);
    await end(moment);
    await quietHours(userAt(moment, 0), wall(-5), wall(7));
    await quietHours(userAt(moment, 1), wall(-5), wall(60));
    await intendDeferredSurely(engine.db.pool, group, { chunkNumber: 1 });
    expect(await codesOf(moment, 1)).toEqual([52, 38]);
    const [row, ...others] = await deferredOf(moment);
    expect(others).toEqual([]);
    expect(row?.waits_ms).toBeGreaterThan(6 * minuteMs);
    // it waits, and is not asked again at once
    expect(await intendDeferredSurely(engine.db.pool, group, { chunkNumber: 2 })).toMatchObject({ size: 0 });
    await forget();
  });

  it("is recorded as cancelled, without waiting for its end", async () => {
    const { moment, group } = await heldMoment(3);
    const chunk = await intendDeferredSurely(engine.db.pool, group, {
      chunkNumber: 1,
      recordAs: outcomeCodes.cancelled,
    });
    expect(chunk).toMatchObject({ size: 3, members: [] });
    expect(await codesOf(moment, 1)).toEqual([40, 40, 40]);
    expect(await deferredOf(moment)).toEqual([]);
    await forget();
  });

  it("has its row by the same statement as its chunk: both stand or neither does", async () => {
    const moment = await engine.moment({ users: 1 });
    await live(userAt(moment, 0), kathmandu);
    await quietHours(userAt(moment, 0), wall(-5), wall(5));
    const group = await engine.claim(moment);
    {
      await using lost = await engine.begin();
      await intendSurely(lost.client, group);
    }
    expect([await codesOf(moment), await deferredOf(moment)]).toEqual([[], []]);
    await intendSurely(engine.db.pool, group);
    expect([(await codesOf(moment)).length, (await deferredOf(moment)).length]).toEqual([1, 1]);
    await forget();
  });
});

describe("deferred deliveries whose user has quiet hours by now", () => {
  it.each([false, true])(
    "wait for their end; in doubt (%s) they stay so, and beyond the expiry they are given up",
    async (inDoubt) => {
      const moment = await engine.moment({ users: 3 });
      const group = await engine.claim(moment);
      await deferAll(engine.db.pool, group, await intendSurely(engine.db.pool, group), { inDoubt, attempt: 3 });
      for (const index of [0, 1]) await live(userAt(moment, index), kathmandu);
      await quietHours(userAt(moment, 0), wall(-5), wall(5));
      await quietHours(userAt(moment, 1), wall(-5), wall(60));
      const chunk = await intendDeferredSurely(engine.db.pool, group, { chunkNumber: 1 });
      expect(await codesOf(moment, 1)).toEqual([52, inDoubt ? 14 : 38, 0]);
      expect(chunk.members.map(({ userNumber }) => userNumber)).toEqual([userAt(moment, 2).userNumber]);
      const [held] = await deferredOf(moment);
      // a wait burns no attempt
      expect(held).toMatchObject({ attempt: 3, in_doubt: inDoubt, reason: "quiet hours" });
      expect(held?.waits_ms).toBeGreaterThan(4 * minuteMs);
      await forget();
    },
  );
});

describe("what users want and an intent at the same time", () => {
  const want = { preferences: [{ topic: null, channel: null, allowed: false }], quietHours: [] };
  const nothing = { preferences: [], quietHours: [] };

  it("is not heeded where it was not committed when the intent began, and waits for nothing", async () => {
    const moment = await engine.moment({ users: 2 });
    const group = await engine.claim(moment);
    await using saving = await engine.begin();
    await saving.client.query("insert into carillon.preferences values ($1, $2, 0, '', false)", [
      userAt(moment, 0).hashSlot,
      userAt(moment, 0).userNumber,
    ]);
    await using intending = await engine.begin();
    await intendSurely(intending.client, group, { limit: 1 });
    await saving.commit();
    // an intent that is under way keeps nobody from saying what they want
    await savePreferences(engine.db, userAt(moment, 1).userId, want);
    await intending.commit();
    await intendSurely(engine.db.pool, group, { chunkNumber: 1 });
    expect([await codesOf(moment), await codesOf(moment, 1)]).toEqual([[0], [36]]);
    await forget();
  });

  it("is heeded until its taking back is committed", async () => {
    const moment = await engine.moment({ users: 2 });
    const group = await engine.claim(moment);
    for (const { userId } of moment.users) await savePreferences(engine.db, userId, want);
    await using removing = await engine.begin();
    await removing.client.query("delete from carillon.preferences");
    await intendSurely(engine.db.pool, group, { limit: 1 });
    await removing.commit();
    await intendSurely(engine.db.pool, group, { chunkNumber: 1 });
    expect([await codesOf(moment), await codesOf(moment, 1)]).toEqual([[36], [0]]);
  });

  it("is told from what nobody wants: the text without wishes is refused as soon as anybody has one", async () => {
    const moment = await engine.moment({ users: 3 });
    const group = await engine.claim(moment);
    // a session that has not seen any wishes, though there are some
    await using session = await engine.begin();
    await intendSurely(session.client, group, { limit: 1 });
    await session.commit();
    await savePreferences(engine.db, userAt(moment, 1).userId, want);
    await intendSurely(engine.db.pool, group, { chunkNumber: 1, limit: 1 });
    await savePreferences(engine.db, userAt(moment, 1).userId, nothing);
    await addSuppressions(engine.db, [{ userId: userAt(moment, 2).userId, reason: "abuse", until: null }]);
    await intendSurely(engine.db.pool, group, { chunkNumber: 2 });
    expect([await codesOf(moment), await codesOf(moment, 1), await codesOf(moment, 2)]).toEqual([[0], [36], [37]]);
    expect(await removeSuppression(engine.db, userAt(moment, 2).userId)).toBe(true);
  });
});

describe("the suppression list", () => {
  it("knows outside ids before and after they are users", async () => {
    const moment = await engine.moment({ users: 1 });
    const { userId } = userAt(moment, 0);
    await addSuppressions(engine.db, [{ userId: "never seen", reason: "legal", until: null }]);
    await engine.rows("delete from carillon.users where user_id = $1", [userId]);
    await addSuppressions(engine.db, [{ userId, reason: "legal", until: null }]);
    const { user_number: again, hash_slot: slot } = await engine.one<{ user_number: string; hash_slot: number }>(
      "insert into carillon.users (user_id) values ($1) returning user_number, hash_slot",
      [userId],
    );
    await engine.rows(
      "insert into carillon.endpoints (hash_slot, user_number, ordinal, channel, address) values ($1, $2, 1, 'memory', 'x')",
      [slot, again],
    );
    await engine.rows("update carillon.subscriptions set user_number = $2 where schedule_id = $1", [
      moment.scheduleId,
      again,
    ]);
    await intendSurely(engine.db.pool, await engine.claim(moment));
    expect(await codesOf(moment)).toEqual([37]);
    await forget();
  });
});
