import { randomUUID } from "node:crypto";
import type pg from "pg";
import { groupRanges } from "../../src/reminder/group.ts";
import { type OutcomeCode, outcomeMeanings } from "../../src/reminder/outcome-code.ts";
import type { Chunk } from "../../src/store/chunk.ts";
import { type ClaimedGroup, claimGroup } from "../../src/store/claim.ts";
import type { Database } from "../../src/store/database.ts";
import type { Executor } from "../../src/store/executor.ts";
import { type IntentRequest, intend, intendDeferred } from "../../src/store/intent.ts";
import { registerNode } from "../../src/store/nodes.ts";
import { type OutcomeExceptions, type OutcomeRecord, recordOutcomes } from "../../src/store/outcome.ts";
import { createTestDatabase } from "./database.ts";
import { until } from "./world.ts";

/** Leases in tests of single statements don't run out by themselves; `endLease` ends them. */
export const testLeaseMs = 60_000;

export interface SeededUser {
  readonly userId: string;
  readonly userNumber: string;
  readonly hashSlot: number;
}

/** One moment of one schedule of a topic of its own, with its subscribers. */
export interface SeededMoment {
  readonly topicId: number;
  readonly scheduleId: string;
  readonly bucketId: string;
  readonly dueDay: string;
  readonly dueAtMs: number;
  /** in firing order */
  readonly users: readonly SeededUser[];
}

export interface MomentOptions {
  /** how many; default 10 */
  readonly users?: number;
  /** each user's endpoints on the memory channel; default 1 */
  readonly endpoints?: number;
  /** groups that it is cut into; 0: not cut; default 1 */
  readonly groups?: number;
  /** from now, negative: past; default -1000 */
  readonly dueInMs?: number;
  readonly expiresAfterMs?: number;
  readonly mode?: "at_least_once" | "at_most_once";
}

/** A migrated database and shorthands for what tests of the engine's statements begin with. */
export interface Engine extends AsyncDisposable {
  readonly db: Database;
  readonly url: string;
  readonly nodeId: number;
  rows<T extends object>(text: string, values?: readonly unknown[]): Promise<T[]>;
  one<T extends object>(text: string, values?: readonly unknown[]): Promise<T>;
  /** Everything is committed, with plain SQL; no jobs are added. */
  moment(options?: MomentOptions): Promise<SeededMoment>;
  /** @throws where there is nothing to claim */
  claim(moment: Pick<SeededMoment, "bucketId">, groupNumber?: number, executor?: Executor): Promise<ClaimedGroup>;
  /** The group's lease has run out, as it does when its owner is gone. */
  endLease(group: Pick<ClaimedGroup, "bucketId" | "groupNumber">): Promise<void>;
  /** The whole row of a group. */
  group(which: Pick<SeededMoment, "bucketId">, groupNumber?: number): Promise<GroupRow>;
  /** A connection of its own with a transaction begun on it; rolled back when disposed of, if it was not committed. */
  begin(): Promise<OpenTransaction>;
  /** Resolves when that session waits for a lock. */
  waits(session: OpenTransaction): Promise<void>;
}

export interface OpenTransaction extends AsyncDisposable {
  readonly client: pg.PoolClient;
  readonly pid: number;
  commit(): Promise<void>;
}

export interface GroupRow {
  readonly epoch: number;
  readonly claim_token: string | null;
  readonly lease_until: Date | null;
  /** of Postgres' real time */
  readonly lease_left_ms: number | null;
  readonly waits_ms: number;
  readonly takeovers: number;
  readonly rescues: number;
  readonly next_chunk: number;
  readonly mark_slot: number;
  readonly mark_user: string;
  readonly started_at: Date | null;
  readonly paged_at: Date | null;
  readonly finished_at: Date | null;
  readonly halted_at: Date | null;
  readonly intended: number;
  readonly delivered: number;
  readonly failed: number;
  readonly suppressed: number;
  readonly expired: number;
  readonly cancelled: number;
  readonly in_doubts: number;
  readonly last_fault: string | null;
}

export async function createEngine({ max = 10 }: { max?: number } = {}): Promise<Engine> {
  const test = await createTestDatabase({ max });
  const { database: db, url } = test;
  const nodeId = await registerNode(db.pool, { name: "node", role: "worker", pid: 1, version: "test", slots: 4 });
  let moments = 0;

  const rows = async <T extends object>(text: string, values: readonly unknown[] = []): Promise<T[]> =>
    (await db.pool.query<T>(text, [...values])).rows;

  async function one<T extends object>(text: string, values: readonly unknown[] = []): Promise<T> {
    const [row] = await rows<T>(text, values);
    if (row === undefined) throw new Error(`no row from ${text}`);
    return row;
  }

  async function moment(options: MomentOptions = {}): Promise<SeededMoment> {
    const { users = 10, endpoints = 1, groups = 1, dueInMs = -1000 } = options;
    const { expiresAfterMs = 600_000, mode = "at_least_once" } = options;
    moments += 1;
    const name = `topic-${moments}`;
    const seeded = await one<{
      topic_id: number;
      schedule_id: string;
      bucket_id: string;
      due_day: string;
      due_at_ms: number;
    }>(
      `with topic as (
         insert into carillon.topics (name, delivery_mode, expires_after_ms) values ($1, $2, $4) returning topic_id
       ), schedule as (
         insert into carillon.schedules (topic_id, rule)
         select topic_id, carillon.canonical_rule('{"kind": "instant", "at": "2026-01-01T00:00:00Z"}') from topic
         returning schedule_id, topic_id
       ), instant as (
         select date_trunc('milliseconds', carillon.clock() + $3::float8 * interval '1 millisecond') as due_at
       )
       insert into carillon.time_buckets (schedule_id, topic_id, occurrence, due_at, expires_at, cut_at)
       select schedule_id, topic_id, 'once', due_at, due_at + $4::int * interval '1 millisecond',
         case when $5 then clock_timestamp() end
       from schedule, instant
       returning topic_id, schedule_id, bucket_id, due_day::text, (extract(epoch from due_at) * 1000)::float8 as due_at_ms`,
      [name, mode, dueInMs, expiresAfterMs, groups > 0],
    );
    await db.pool.query("select carillon.make_ledger_day($1)", [seeded.due_day]);
    await db.pool.query(
      `with made as (
         insert into carillon.users (user_id) select $2 || '-user-' || i from generate_series(1, $3::int) i
         returning user_number, hash_slot, user_id
       ), reachable as (
         insert into carillon.endpoints (hash_slot, user_number, ordinal, channel, address)
         select hash_slot, user_number, n, 'memory', user_id || '#' || n from made, generate_series(1, $4::int) n
       )
       insert into carillon.subscriptions (schedule_id, user_number, hash_slot, subscribed_at)
       select $1, user_number, hash_slot, $5::timestamptz - interval '1 day' from made`,
      [seeded.schedule_id, name, users, endpoints, new Date(seeded.due_at_ms)],
    );
    const ranges = groups === 0 ? [] : groupRanges(groups);
    await db.pool.query(
      `insert into carillon.groups (bucket_id, group_number, first_slot, last_slot, mark_slot, not_before)
       select $1, number - 1, first_slot, last_slot, first_slot, clock_timestamp()
       from unnest($2::int[], $3::int[]) with ordinality as r (first_slot, last_slot, number)`,
      [seeded.bucket_id, ranges.map((range) => range.firstSlot), ranges.map((range) => range.lastSlot)],
    );
    return {
      topicId: seeded.topic_id,
      scheduleId: seeded.schedule_id,
      bucketId: seeded.bucket_id,
      dueDay: seeded.due_day,
      dueAtMs: seeded.due_at_ms,
      users: await rows<SeededUser>(
        `select u.user_id as "userId", u.user_number as "userNumber", u.hash_slot as "hashSlot"
         from carillon.subscriptions s join carillon.users u using (user_number)
         where s.schedule_id = $1 order by s.hash_slot, s.user_number`,
        [seeded.schedule_id],
      ),
    };
  }

  async function claim(
    { bucketId }: Pick<SeededMoment, "bucketId">,
    groupNumber = 0,
    executor: Executor = db.pool,
  ): Promise<ClaimedGroup> {
    const claimant = { nodeId, claimToken: randomUUID(), leaseMs: testLeaseMs };
    const group = await claimGroup(executor, claimant, bucketId, groupNumber);
    if (group === null) throw new Error(`group ${bucketId}:${groupNumber} could not be claimed`);
    return group;
  }

  async function begin(): Promise<OpenTransaction> {
    const client = await db.pool.connect();
    const { rows: begun } = await client.query<{ pid: number }>("select pg_backend_pid() as pid");
    await client.query("begin");
    let open = true;
    const end = async (how: "commit" | "rollback") => {
      if (!open) return;
      open = false;
      try {
        await client.query(how);
      } finally {
        client.release();
      }
    };
    return {
      client,
      pid: begun[0]?.pid ?? 0,
      commit: () => end("commit"),
      [Symbol.asyncDispose]: () => end("rollback"),
    };
  }

  return {
    db,
    url,
    nodeId,
    rows,
    one,
    moment,
    claim,
    async endLease({ bucketId, groupNumber }) {
      await db.pool.query(
        `update carillon.groups set lease_until = clock_timestamp() - interval '1 millisecond'
         where bucket_id = $1 and group_number = $2`,
        [bucketId, groupNumber],
      );
    },
    group: ({ bucketId }, groupNumber = 0) =>
      one<GroupRow>(
        `select *, (extract(epoch from lease_until - clock_timestamp()) * 1000)::float8 as lease_left_ms,
           (extract(epoch from not_before - clock_timestamp()) * 1000)::float8 as waits_ms
         from carillon.groups where bucket_id = $1 and group_number = $2`,
        [bucketId, groupNumber],
      ),
    begin,
    async waits({ pid }) {
      await until(
        async () =>
          (await rows("select from pg_stat_activity where pid = $1 and wait_event_type = 'Lock'", [pid])).length === 1,
        `session ${pid} waits for a lock`,
      );
    },
    [Symbol.asyncDispose]: () => test[Symbol.asyncDispose](),
  };
}

/** An intent for the next members, or for deferred ones, as the group's owner asks for it. */
export function intentOf(group: ClaimedGroup, request: Partial<IntentRequest> = {}): IntentRequest {
  return { fence: group, chunkNumber: group.nextChunk, limit: 500, leaseMs: testLeaseMs, recordAs: null, ...request };
}

/** @throws where it is refused */
export async function intendSurely(
  executor: Executor,
  group: ClaimedGroup,
  request: Partial<IntentRequest> = {},
): Promise<Chunk> {
  return granted(await intend(executor, intentOf(group, request)));
}

/** @throws where it is refused */
export async function intendDeferredSurely(
  executor: Executor,
  group: ClaimedGroup,
  request: Partial<IntentRequest> = {},
): Promise<Chunk> {
  return granted(await intendDeferred(executor, intentOf(group, request)));
}

function granted(chunk: Chunk | null): Chunk {
  if (chunk === null) throw new Error("the intent was refused");
  return chunk;
}

/** A record of what became of a chunk: by default of all its members, in order, and each with the same code. */
export function recordOf(
  group: ClaimedGroup,
  chunk: Chunk,
  {
    code = 1,
    indexes = null,
    part = 0,
    exceptions = null,
  }: {
    readonly code?: OutcomeCode;
    readonly indexes?: readonly number[] | null;
    readonly part?: number;
    readonly exceptions?: Partial<OutcomeExceptions> | null;
  } = {},
): OutcomeRecord {
  const count = indexes?.length ?? chunk.members.length;
  const { state, inDoubt } = outcomeMeanings[code];
  const countOf = (counted: string) => (state === counted ? count : 0);
  return {
    fence: group,
    dueDay: group.dueDay,
    chunkNumber: chunk.chunkNumber,
    part,
    indexes,
    codes: new Uint8Array(count).fill(code),
    afterDueMs: new Array<number>(count).fill(5),
    tally: {
      delivered: countOf("delivered"),
      failed: countOf("failed"),
      suppressed: countOf("suppressed"),
      expired: countOf("expired"),
      inDoubts: inDoubt ? count : 0,
    },
    leaseMs: testLeaseMs,
    exceptions:
      exceptions === null ? null : { failures: [], deferred: [], finished: [], gone: [], ended: [], ...exceptions },
  };
}

/** Records every member of the chunk as to be tried again, at once. */
export function deferAll(
  executor: Executor,
  group: ClaimedGroup,
  chunk: Chunk,
  {
    waitMs = 0,
    attempt = chunk.attempt + 1,
    inDoubt = false,
    takenOver = false,
  }: { waitMs?: number; attempt?: number; inDoubt?: boolean; takenOver?: boolean } = {},
): Promise<boolean> {
  return recordOutcomes(
    executor,
    recordOf(group, chunk, {
      code: inDoubt ? 51 : 50,
      exceptions: {
        deferred: chunk.members.map(({ hashSlot, userNumber, ordinal }) => ({
          hashSlot,
          userNumber,
          ordinal,
          attempt,
          waitMs,
          inDoubt,
          takenOver,
          reason: "try again",
        })),
      },
    }),
  );
}
