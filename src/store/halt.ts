import type pg from "pg";
import { CarillonError } from "../errors.ts";
import type { Database } from "./database.ts";
import { inTransaction } from "./executor.ts";
import { addGroupJobs, anyShare } from "./jobs.ts";

/*
 * Pause, resume, cancel. What they say stands on the topic, schedule or bucket, and beside it `halted_at` on the groups
 * that are cut already, in the same transaction: the groups' row locks put it in order with the intents.
 *
 * Locks are taken bucket first, then groups in order, as the cut does; nothing locks a group first and its bucket then
 * (closing asks for its bucket after the end mark has been committed).
 * - cut at the same time: it holds the bucket's row, so we wait for its groups; or we hold it, and it reads our pause.
 * - an intent at the same time: see intent.ts.
 */

/** Nothing more is sent for the topic until it is resumed; what expires meanwhile is recorded as suppressed. */
export function pauseTopic(db: Database, topicId: number): Promise<void> {
  return inTransaction(db, async (client) => {
    await client.query(
      "update carillon.topics set paused_at = coalesce(paused_at, clock_timestamp()), version = version + 1 where topic_id = $1",
      [topicId],
    );
    await haltGroups(client, await lockOpenBuckets(client, "topic_id", topicId));
  });
}

export function resumeTopic(db: Database, topicId: number): Promise<void> {
  return inTransaction(db, async (client) => {
    await client.query("update carillon.topics set paused_at = null, version = version + 1 where topic_id = $1", [
      topicId,
    ]);
    await resumeGroups(client, await lockOpenBuckets(client, "topic_id", topicId));
  });
}

/** Nothing more is sent for the schedule until it is resumed. */
export function pauseSchedule(db: Database, scheduleId: string): Promise<void> {
  return inTransaction(db, async (client) => {
    await client.query(
      "update carillon.schedules set paused_at = coalesce(paused_at, clock_timestamp()) where schedule_id = $1",
      [scheduleId],
    );
    await haltGroups(client, await lockOpenBuckets(client, "schedule_id", scheduleId));
  });
}

export function resumeSchedule(db: Database, scheduleId: string): Promise<void> {
  return inTransaction(db, async (client) => {
    await client.query("update carillon.schedules set paused_at = null where schedule_id = $1", [scheduleId]);
    await resumeGroups(client, await lockOpenBuckets(client, "schedule_id", scheduleId));
  });
}

/**
 * Cancels a time bucket. Before its first intent it is closed at once, without a row per user; after it, what was sent
 * stays recorded and everybody else is recorded as cancelled by whoever takes the groups up.
 * @throws CarillonError unknown_bucket, bucket_closed
 */
export function cancelBucket(db: Database, bucketId: string): Promise<void> {
  return inTransaction(db, async (client) => {
    const { rows } = await client.query<{ closed: boolean; cancelled: boolean }>(
      `select closed_at is not null as closed, cancelled_at is not null as cancelled
       from carillon.time_buckets where bucket_id = $1 for no key update`,
      [bucketId],
    );
    const [bucket] = rows;
    if (bucket === undefined) throw new CarillonError("unknown_bucket", `There is no time bucket ${bucketId}.`);
    if (bucket.cancelled) return;
    if (bucket.closed) throw new CarillonError("bucket_closed", `Time bucket ${bucketId} is closed.`);
    await client.query("update carillon.time_buckets set cancelled_at = clock_timestamp() where bucket_id = $1", [
      bucketId,
    ]);
    await haltGroups(client, [bucketId]);
    const begun = await client.query("select from carillon.groups where bucket_id = $1 and next_chunk > 0 limit 1", [
      bucketId,
    ]);
    if (begun.rowCount === 0) return closeUnsent(client, bucketId);
    // what waits for its next try has nothing to wait for any more
    await client.query(
      `update carillon.groups set not_before = clock_timestamp()
       where bucket_id = $1 and finished_at is null and not_before > clock_timestamp()`,
      [bucketId],
    );
    await wakeGroups(client, [bucketId]);
  });
}

async function closeUnsent(client: pg.PoolClient, bucketId: string): Promise<void> {
  await client.query(
    `update carillon.groups set finished_at = clock_timestamp(), claim_token = null, lease_until = null, epoch = epoch + 1
     where bucket_id = $1`,
    [bucketId],
  );
  await client.query(
    `update carillon.time_buckets set cut_at = coalesce(cut_at, clock_timestamp()), closed_at = clock_timestamp(),
       closed_as = 'cancelled' where bucket_id = $1`,
    [bucketId],
  );
}

async function lockOpenBuckets(
  client: pg.PoolClient,
  column: "topic_id" | "schedule_id",
  id: number | string,
): Promise<string[]> {
  const { rows } = await client.query<{ bucket_id: string }>(
    `select bucket_id from carillon.time_buckets where ${column} = $1 and closed_at is null
     order by bucket_id for no key update`,
    [id],
  );
  return rows.map((row) => row.bucket_id);
}

async function haltGroups(client: pg.PoolClient, bucketIds: readonly string[]): Promise<void> {
  await client.query(
    `update carillon.groups g set halted_at = clock_timestamp()
     from (
       select bucket_id, group_number from carillon.groups
       where bucket_id = any ($1) and finished_at is null and halted_at is null
       order by bucket_id, group_number for no key update
     ) h
     where g.bucket_id = h.bucket_id and g.group_number = h.group_number`,
    [bucketIds],
  );
}

async function resumeGroups(client: pg.PoolClient, bucketIds: readonly string[]): Promise<void> {
  // a bucket stays halted while anything else halts it
  const { rows } = await client.query<{ bucket_id: string }>(
    `select b.bucket_id
     from carillon.time_buckets b
     join carillon.topics t on t.topic_id = b.topic_id
     join carillon.schedules s on s.schedule_id = b.schedule_id
     where b.bucket_id = any ($1) and b.cancelled_at is null and t.paused_at is null and s.paused_at is null`,
    [bucketIds],
  );
  const free = rows.map((row) => row.bucket_id);
  await client.query(
    `update carillon.groups g set halted_at = null
     from (
       select bucket_id, group_number from carillon.groups
       where bucket_id = any ($1) and halted_at is not null
       order by bucket_id, group_number for no key update
     ) h
     where g.bucket_id = h.bucket_id and g.group_number = h.group_number`,
    [free],
  );
  await wakeGroups(client, free);
}

async function wakeGroups(client: pg.PoolClient, bucketIds: readonly string[]): Promise<void> {
  const { rows } = await client.query<{ bucket_id: string; group_number: number; due_at_ms: string }>(
    `select g.bucket_id, g.group_number, (extract(epoch from b.due_at) * 1000)::bigint as due_at_ms
     from carillon.groups g join carillon.time_buckets b on b.bucket_id = g.bucket_id
     where g.bucket_id = any ($1) and g.finished_at is null`,
    [bucketIds],
  );
  await addGroupJobs(
    client,
    rows.map((row) => ({
      bucketId: row.bucket_id,
      groupNumber: row.group_number,
      dueAtMs: Number(row.due_at_ms),
      share: anyShare,
    })),
  );
}
