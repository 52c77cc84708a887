import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type Database, openDatabase } from "../../src/store/database.ts";
import {
  inDoubtCount,
  ledgerImbalance,
  openIntents,
  overlappingChunks,
  stuckGroups,
  unresolvedBeyondExpiry,
} from "../../src/store/invariants.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";
import {
  type CheckOptions,
  checkInvariants,
  findViolations,
  type Receipt,
  type ViolationName,
} from "../support/invariants.ts";
import { type PlayedBucket, type PlayedUser, playBucket } from "../support/played-bucket.ts";

let test: TestDatabase;
let db: Database;
let played: PlayedBucket;

beforeAll(async () => {
  test = await createTestDatabase({ max: 3 });
  db = test.database;
});
afterAll(() => test[Symbol.asyncDispose]());

// emptied rather than made anew: ten times as fast
beforeEach(async () => {
  await db.pool.query(
    ["outcomes", "chunks", "failures", "deferred", "groups", "time_buckets", "subscriptions", "schedules", "topics"]
      .concat(["endpoints", "users", "destinations", "nodes"])
      .map((table) => `delete from carillon.${table}`)
      .join(";"),
  );
  played = await playBucket(db);
});

const change = async (text: string, values: readonly unknown[] = []) => {
  const { rowCount } = await db.pool.query(text, [...values]);
  expect(rowCount, `changes nothing: ${text}`).toBeGreaterThan(0);
};
const first = (): PlayedUser => {
  const [user] = played.users;
  if (user === undefined) throw new Error("no users");
  return user;
};
const firstReceipt = (): Receipt => {
  const [receipt] = played.log;
  if (receipt === undefined) throw new Error("nothing was received");
  return receipt;
};
const firstChunk = "group_number = 0 and chunk_number = 0";

/** One more chunk of group 0, for the first user. */
const addChunk = (number: number, { attempt = 1, code = 1, epoch = 1, afterDueMs = 5000 } = {}) =>
  change(
    `with c as (
       insert into carillon.chunks (due_day, bucket_id, group_number, chunk_number, epoch, node_id, attempt, intent_at,
         first_slot, first_user, last_slot, last_user, user_numbers, ordinals)
       values ($1::date, $2, 0, $3, $4, $5, $6, $7::timestamptz + interval '4 seconds', $8, $9, $8, $9, array[$9::bigint], '{1}')
       returning *)
     insert into carillon.outcomes (due_day, bucket_id, group_number, chunk_number, epoch, part, recorded_at, codes, after_due_ms)
     select due_day, bucket_id, group_number, chunk_number, epoch, 0, intent_at + interval '10 milliseconds', $10::bytea,
       array[$11::int] from c where $10::bytea is not null`,
    [
      played.dueDay,
      played.bucketId,
      number,
      epoch,
      played.nodeId,
      attempt,
      new Date(played.dueAtMs),
      first().hashSlot,
      first().userNumber,
      Buffer.from([code]),
      afterDueMs,
    ],
  );
const setFirstCode = (code: number) =>
  change(`update carillon.outcomes set codes = set_byte(codes, 0, $1) where ${firstChunk}`, [code]);
const setFirstCodeAndRetry = async (code: number) => {
  await setFirstCode(code);
  await addChunk(50);
};

describe("ledgerImbalance", () => {
  const balance = async () => {
    const { missing, notOwed, heldTwice } = await ledgerImbalance(db);
    return { missing, notOwed, heldTwice };
  };
  const even = { missing: 0, notOwed: 0, heldTwice: 0 };

  it("is nothing where all is well", async () => {
    expect(await ledgerImbalance(db)).toEqual({ ...even, total: 0, examples: [] });
    expect(await ledgerImbalance(db, [])).toMatchObject({ total: 0 });
  });

  it("counts who was owed and has nothing, and an endpoint left out", async () => {
    await change(`delete from carillon.chunks where ${firstChunk}`);
    expect(await balance()).toEqual({ ...even, missing: 10 });
    const last = played.users.at(-1);
    await change(
      `insert into carillon.endpoints (hash_slot, user_number, ordinal, channel, address, registered_at)
       values ($1, $2, 2, 'memory', 'x', $3)`,
      [last?.hashSlot, last?.userNumber, new Date(played.dueAtMs - 60_000)],
    );
    const { missing, examples } = await ledgerImbalance(db, [played.bucketId]);
    expect(missing).toBe(11);
    expect(examples[0]).toMatchObject({ bucketId: played.bucketId, ordinal: 1, fault: "missing" });
  });

  it("counts one that is only deferred when its bucket is closed", async () => {
    await setFirstCode(50);
    expect(await balance()).toEqual({ ...even, missing: 1 });
  });

  it("counts who left before the moment and was served all the same", async () => {
    await change("update carillon.subscriptions set ended_at = $1 where user_number = $2", [
      new Date(played.dueAtMs - 60_000),
      first().userNumber,
    ]);
    expect(await balance()).toEqual({ ...even, notOwed: 1 });
  });

  it("counts who never subscribed", async () => {
    await change("delete from carillon.subscriptions where user_number = $1", [first().userNumber]);
    expect(await balance()).toEqual({ ...even, notOwed: 1 });
  });

  it("counts two final states, and a final one that was taken up again", async () => {
    await addChunk(50);
    expect(await balance()).toEqual({ ...even, heldTwice: 1 });
    await change("update carillon.outcomes set codes = '\\x32' where chunk_number = 50");
    expect(await balance()).toEqual({ ...even, heldTwice: 1 });
  });

  it("accepts a deferred one that ends later", async () => {
    await setFirstCode(51);
    await addChunk(50);
    expect(await balance()).toEqual(even);
  });

  it("does not judge what today's rows can't tell", async () => {
    const [a, b, c, d, e] = played.users;
    const at = (ms: number) => new Date(played.dueAtMs + ms);
    const subscription = "update carillon.subscriptions set subscribed_at = $1, ended_at = $2 where user_number = $3";
    // left and came back since; left just before the moment; left after it
    await change(subscription, [at(3000), null, a?.userNumber]);
    await change(subscription, [at(-60_000), at(-100), b?.userNumber]);
    await change(subscription, [at(-60_000), at(2000), c?.userNumber]);
    // an endpoint registered again since, and a user erased since
    await change("update carillon.endpoints set registered_at = $1 where user_number = $2", [at(2000), d?.userNumber]);
    await change("delete from carillon.users where user_number = $1", [e?.userNumber]);
    expect(await balance()).toEqual(even);
  });

  it("demands a delivery with none of them where all endpoints are gone", async () => {
    await change("update carillon.endpoints set gone_at = $1 where user_number = $2", [
      new Date(played.dueAtMs - 60_000),
      first().userNumber,
    ]);
    expect(await balance()).toEqual({ ...even, missing: 1, notOwed: 1 });
    await change(`update carillon.chunks set ordinals[1] = 0 where ${firstChunk}`);
    expect(await balance()).toEqual(even);
  });

  it("demands some delivery where no endpoint is certain", async () => {
    await change("update carillon.endpoints set registered_at = $1", [new Date(played.dueAtMs - 10)]);
    expect(await balance()).toEqual(even);
    await change(`delete from carillon.chunks where ${firstChunk}`);
    expect(await balance()).toEqual({ ...even, missing: 10 });
  });

  it("asks nothing of buckets that owe nothing", async () => {
    await db.pool.query("delete from carillon.chunks");
    await change("update carillon.time_buckets set closed_as = 'skipped'");
    expect(await balance()).toEqual(even);
    await change("update carillon.time_buckets set closed_as = 'cancelled'");
    expect(await balance()).toEqual(even);
  });

  it("reads 200,000 deliveries in seconds", async () => {
    await using own = await createTestDatabase();
    await using patient = openDatabase({ url: own.url, applicationName: "test", max: 1, statementTimeoutMs: 60_000 });
    const { bucketId } = await playBucket(patient, { users: 200_000, chunkSize: 500 });
    await patient.pool.query("delete from carillon.chunks where bucket_id = $1 and chunk_number = 7", [bucketId]);
    const began = performance.now();
    expect(await ledgerImbalance(own.database)).toMatchObject({ missing: 1000, total: 1000 });
    expect(await overlappingChunks(own.database)).toEqual([]);
    // a bound against a plan that goes wrong, which takes minutes; not a measurement
    expect(performance.now() - began).toBeLessThan(25_000);
  }, 120_000);
});

describe("the other invariants", () => {
  it("find nothing where all is well", async () => {
    expect(await overlappingChunks(db)).toEqual([]);
    expect(await stuckGroups(db)).toEqual([]);
    expect(await inDoubtCount(db)).toBe(0);
    expect(await openIntents(db)).toEqual([]);
    expect(await unresolvedBeyondExpiry(db)).toEqual([]);
  });

  it("find chunks that overlap or leave their group, but not retries", async () => {
    await addChunk(50, { attempt: 1 });
    expect(await overlappingChunks(db)).toEqual([]);
    await addChunk(51, { attempt: 0 });
    expect(await overlappingChunks(db)).toHaveLength(1);
    await change("delete from carillon.chunks where chunk_number = 51");
    await change("update carillon.groups set first_slot = 32000 where group_number = 0");
    expect(new Set((await overlappingChunks(db)).map(({ fault }) => fault))).toEqual(new Set(["outside its group"]));
  });

  it("find work that is due and that nobody has", async () => {
    await change("update carillon.groups set finished_at = null where group_number = 0");
    expect(await stuckGroups(db)).toMatchObject([{ bucketId: played.bucketId, groupNumber: 0, state: "overdue" }]);
    expect(await stuckGroups(db, { graceMs: 3_600_000 })).toEqual([]);
    await change(
      "update carillon.groups set claim_token = gen_random_uuid(), lease_until = clock_timestamp() + interval '8 s' where group_number = 0",
    );
    expect(await stuckGroups(db)).toEqual([]);
    await change("update carillon.time_buckets set closed_at = null, closed_as = null, cut_at = null");
    expect(await stuckGroups(db)).toMatchObject([{ groupNumber: null, state: "not cut" }]);
  });

  it("count each time that a send was in doubt", async () => {
    await setFirstCode(51);
    await addChunk(50, { code: 51 });
    await addChunk(51, { code: 13 });
    expect(await inDoubtCount(db)).toBe(3);
    expect(await inDoubtCount(db, ["0"])).toBe(0);
  });

  it("count intents without outcome by node", async () => {
    await change(`delete from carillon.outcomes where ${firstChunk}`);
    await change("update carillon.groups set finished_at = null where group_number = 0");
    expect(await openIntents(db)).toEqual([{ nodeId: played.nodeId, deliveries: 10 }]);
  });

  it("find what is unresolved after its expiry and the recovery", async () => {
    await setFirstCode(50);
    expect(await unresolvedBeyondExpiry(db)).toEqual([
      { bucketId: played.bucketId, openGroups: 0, deferred: 0, deliveries: 1 },
    ]);
    expect(await unresolvedBeyondExpiry(db, { boundMs: 3_600_000 })).toEqual([]);
  });
});

describe("the checker", () => {
  const options = (more: Partial<CheckOptions> = {}): CheckOptions => ({
    db,
    receiverLog: played.log,
    expected: {
      bucketId: played.bucketId,
      users: played.users.map(({ userId }) => ({ user: userId, result: "delivered" })),
    },
    window: 500,
    mode: "at_least_once",
    kills: 0,
    ...more,
  });
  const namesOf = async (more: Partial<CheckOptions> = {}) =>
    new Set((await findViolations(options(more))).map(({ name }) => name));
  const again = (more: Partial<Receipt> = {}): Receipt => ({ ...firstReceipt(), attempt: 1, ...more });

  it("passes a good bucket, with and without the test's own list and a log", async () => {
    await checkInvariants(options());
    await checkInvariants(options({ mode: "at_most_once" }));
    await checkInvariants({ db, receiverLog: null, window: 500, mode: "at_least_once", kills: 0 });
  });

  it("passes a kill within the window: in doubt, sent again, received twice", async () => {
    await setFirstCode(51);
    await addChunk(50);
    await checkInvariants(options({ kills: 1, receiverLog: [...played.log, again()] }));
    // the receiver never saw the first one
    await checkInvariants(options({ kills: 1 }));
    expect(await namesOf({ receiverLog: [...played.log, again()] })).toEqual(new Set(["in doubt without a cause"]));
    await checkInvariants(options({ otherFaults: true, receiverLog: [...played.log, again()] }));
  });

  it("passes what a receiver refused at first", async () => {
    await setFirstCode(50);
    await addChunk(50);
    await checkInvariants(options({ receiverLog: [again({ attempt: 0, refused: true }), ...played.log] }));
  });

  it("reads as a list of what is wrong", async () => {
    await expect(checkInvariants(options({ receiverLog: played.log.slice(1) }))).rejects.toThrow(
      /^invariants are violated:\n- delivered but not received: 1, such as .*\n- lost: 1, such as \{"user":/,
    );
  });

  const moved = (receivedAtMs: number) => () => [again({ attempt: 0, receivedAtMs }), ...played.log.slice(1)];
  const bites: readonly {
    readonly name: ViolationName;
    readonly corrupt?: () => Promise<void>;
    readonly log?: () => readonly Receipt[];
    readonly more?: Partial<CheckOptions>;
  }[] = [
    { name: "lost", log: () => played.log.slice(1) },
    { name: "delivered but not received", log: () => played.log.slice(1) },
    { name: "early", log: () => moved(played.dueAtMs - 1)() },
    {
      name: "early",
      corrupt: () => change(`update carillon.chunks set intent_at = intent_at - interval '1 s' where ${firstChunk}`),
    },
    { name: "after expiry", log: () => moved(played.dueAtMs + 31_000)() },
    {
      name: "after expiry",
      corrupt: () => change(`update carillon.chunks set intent_at = intent_at + interval '31 s' where ${firstChunk}`),
    },
    {
      name: "duplicates beyond in doubt",
      corrupt: () => setFirstCodeAndRetry(50),
      log: () => [...played.log, again()],
    },
    { name: "sent without intent", log: () => [...played.log, again()] },
    { name: "sent without intent", log: () => [...played.log, again({ user: "stranger", id: "other" })] },
    {
      name: "duplicate at most once",
      corrupt: () => setFirstCodeAndRetry(51),
      log: () => [...played.log, again()],
      more: { mode: "at_most_once", kills: 1 },
    },
    {
      name: "several ids of one delivery",
      corrupt: () => setFirstCodeAndRetry(51),
      log: () => [...played.log, again({ id: "another" })],
      more: { kills: 1 },
    },
    { name: "in doubt without a cause", corrupt: () => setFirstCodeAndRetry(51) },
    {
      name: "in doubt beyond the window",
      corrupt: () => change("update carillon.outcomes set codes = decode(repeat('33', length(codes)), 'hex')"),
      more: { kills: 1, window: 49 },
    },
    {
      name: "open intents beyond the window",
      corrupt: async () => {
        await change(`delete from carillon.outcomes where ${firstChunk}`);
        await change("update carillon.groups set finished_at = null where group_number = 0");
      },
      more: { window: 9 },
    },
    { name: "missing final state", corrupt: () => change(`delete from carillon.outcomes where ${firstChunk}`) },
    {
      name: "final state not owed",
      corrupt: () => change("delete from carillon.subscriptions where user_number = $1", [first().userNumber]),
    },
    { name: "double final state", corrupt: () => addChunk(50) },
    { name: "overlapping chunks", corrupt: () => addChunk(50, { attempt: 0 }) },
    {
      name: "groups don't cover all slots",
      corrupt: () => change("update carillon.groups set last_slot = 65534 where group_number = 1"),
    },
    { name: "unresolved beyond expiry", corrupt: () => setFirstCode(50) },
    {
      name: "stuck group",
      corrupt: () => change("update carillon.groups set finished_at = null where group_number = 0"),
    },
    {
      name: "stale write",
      corrupt: async () => {
        // what the first claim wrote in later chunks comes after what the second one wrote
        await change("update carillon.groups set epoch = 2 where group_number = 0");
        await change(`update carillon.outcomes set epoch = 2 where ${firstChunk}`);
      },
    },
    { name: "stale write", corrupt: () => change(`update carillon.chunks set epoch = 7 where ${firstChunk}`) },
    {
      name: "sent after leaving",
      corrupt: () =>
        change("update carillon.subscriptions set ended_at = $1 where user_number = $2", [
          new Date(played.dueAtMs - 5000),
          first().userNumber,
        ]),
    },
    {
      name: "sent after cancelling",
      corrupt: () => change("update carillon.time_buckets set cancelled_at = due_at - interval '5 s'"),
    },
    {
      name: "more endpoints than one",
      corrupt: async () => {
        await change("update carillon.topics set reach = 'first'");
        await addChunk(50);
        await change("update carillon.chunks set ordinals = '{2}' where chunk_number = 50");
      },
    },
    {
      name: "not needed by anybody",
      corrupt: async () => {
        await change("update carillon.topics set reach = 'first'");
        await setFirstCode(35);
      },
    },
    {
      name: "counters differ from the ledger",
      corrupt: () => change("update carillon.groups set delivered = delivered + 1"),
    },
  ];

  it.each(bites)("bites: $name", async ({ name, corrupt, log, more }) => {
    await corrupt?.();
    expect(await namesOf({ receiverLog: log?.() ?? played.log, ...more })).toContain(name);
  });

  it("holds the test's own list against ledger and log", async () => {
    const { userId: user } = first();
    const expecting = (
      result: "delivered" | "failed" | "suppressed" | "nothing",
      receiverLog: readonly Receipt[] | null,
    ) => namesOf({ receiverLog, expected: { bucketId: played.bucketId, users: [{ user, result }] } });
    expect(await expecting("delivered", null)).toEqual(new Set());
    expect(await expecting("nothing", null)).toEqual(new Set(["wrong result"]));
    expect(await expecting("suppressed", played.log)).toEqual(new Set(["wrong result"]));
    await setFirstCode(10);
    await db.pool.query("update carillon.groups set delivered = delivered - 1, failed = 1 where group_number = 0");
    expect(await expecting("failed", played.log)).toEqual(new Set());
    expect(await expecting("delivered", null)).toEqual(new Set(["lost"]));
    const absent = { bucketId: played.bucketId, users: [{ user: "never subscribed", result: "nothing" as const }] };
    expect(await namesOf({ expected: absent, receiverLog: null })).toEqual(new Set());
    expect(
      await namesOf({ expected: { ...absent, users: [{ user: "never subscribed", result: "delivered" }] } }),
    ).toEqual(new Set(["lost"]));
  });
});
