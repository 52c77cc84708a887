import type pg from "pg";

/*
 * What is planned changes before the first claim only: a corrected timetable, new zone data, an admin.
 *
 * Interleavings: buckets are locked first and then their groups, in order, before the epochs are looked at. A claim that
 * came first has raised the epoch, and the bucket stays; one that comes later finds no row. A cancel may have come before
 * us, and is read under the lock.
 */

/**
 * Moves time buckets to other instants. Groups that were cut already are dropped, to be cut anew for the new moment; the
 * ledger gets the new day's partitions. Part of the caller's transaction, which also has them cut.
 *
 * @param tzdata the zone data that the new instants come from; null: not known, or of no matter
 * @returns the new due instants of the buckets that could be moved, epoch milliseconds
 */
export async function moveBuckets(
  client: pg.PoolClient,
  moves: readonly { readonly bucketId: string; readonly dueAtMs: number }[],
  tzdata: string | null = null,
): Promise<number[]> {
  if (moves.length === 0) return [];
  const unclaimed = await takeUnclaimed(
    client,
    moves.map((move) => move.bucketId),
  );
  const free = moves.filter((move) => unclaimed.has(move.bucketId));
  if (free.length === 0) return [];
  await client.query("select carillon.make_ledger_day(day::date) from unnest($1::text[]) as d (day)", [
    [...new Set(free.map((move) => new Date(move.dueAtMs).toISOString().slice(0, 10)))],
  ]);
  const { rows } = await client.query<{ due_at_ms: number }>(
    `update carillon.time_buckets b
     set due_at = to_timestamp(m.due_at_ms / 1000.0),
         expires_at = to_timestamp(m.due_at_ms / 1000.0) + (b.expires_at - b.due_at),
         cut_at = null, population = null, tzdata = coalesce($3, b.tzdata)
     from unnest($1::bigint[], $2::bigint[]) as m (bucket_id, due_at_ms)
     where b.bucket_id = m.bucket_id
     returning (extract(epoch from b.due_at) * 1000)::float8 as due_at_ms`,
    [free.map((move) => move.bucketId), free.map((move) => Math.round(move.dueAtMs)), tzdata],
  );
  return rows.map((row) => row.due_at_ms);
}

/**
 * Takes time buckets away whose moment no longer comes. They leave nothing behind, so that a second correction which
 * brings the moment back has it planned like any other. Part of the caller's transaction.
 */
export async function dropBuckets(client: pg.PoolClient, bucketIds: readonly string[]): Promise<void> {
  if (bucketIds.length === 0) return;
  const unclaimed = await takeUnclaimed(client, bucketIds);
  await client.query("delete from carillon.time_buckets where bucket_id = any ($1)", [[...unclaimed]]);
}

/** Newer zone data was asked and says the same of these moments. */
export async function confirmZoneData(
  client: pg.PoolClient,
  bucketIds: readonly string[],
  tzdata: string | null,
): Promise<void> {
  if (bucketIds.length === 0 || tzdata === null) return;
  await client.query(
    `with unchanged as materialized (
       select bucket_id from carillon.time_buckets where bucket_id = any ($1) order by bucket_id for no key update
     )
     update carillon.time_buckets b set tzdata = $2 from unchanged u where b.bucket_id = u.bucket_id`,
    [bucketIds, tzdata],
  );
}

/** Locks those that nobody has claimed, and takes their groups away. @returns their ids */
async function takeUnclaimed(client: pg.PoolClient, bucketIds: readonly string[]): Promise<Set<string>> {
  const { rows: open } = await client.query<{ bucket_id: string }>(
    `select bucket_id from carillon.time_buckets
     where bucket_id = any ($1) and closed_at is null and cancelled_at is null
     order by bucket_id for no key update`,
    [bucketIds],
  );
  const { rows: groups } = await client.query<{ bucket_id: string; epoch: number }>(
    `select bucket_id, epoch from carillon.groups where bucket_id = any ($1) order by bucket_id, group_number for update`,
    [bucketIds],
  );
  const unclaimed = new Set(open.map((bucket) => bucket.bucket_id));
  for (const group of groups) if (group.epoch > 0) unclaimed.delete(group.bucket_id);
  if (unclaimed.size > 0) {
    await client.query("delete from carillon.groups where bucket_id = any ($1)", [[...unclaimed]]);
  }
  return unclaimed;
}
