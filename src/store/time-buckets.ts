import type pg from "pg";

/**
 * Moves time buckets to other instants, before the first claim only: a corrected timetable, new zone data, an admin.
 * Groups that were cut already are dropped, to be cut anew for the new moment; the ledger gets the new day's partitions.
 * Part of the caller's transaction, which also has them cut.
 *
 * Interleavings: the groups' rows are locked before their epochs are looked at. A claim that came first has raised the
 * epoch, and the bucket stays; one that comes later finds no row.
 *
 * @returns the new due instants of the buckets that could be moved, epoch milliseconds
 */
export async function moveBuckets(
  client: pg.PoolClient,
  moves: readonly { readonly bucketId: string; readonly dueAtMs: number }[],
): Promise<number[]> {
  if (moves.length === 0) return [];
  const bucketIds = moves.map((move) => move.bucketId);
  // read under the lock: a cancel may have come before us
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
  const movable = new Set(open.map((bucket) => bucket.bucket_id));
  for (const group of groups) if (group.epoch > 0) movable.delete(group.bucket_id);
  const free = moves.filter((move) => movable.has(move.bucketId));
  if (free.length === 0) return [];
  await client.query("delete from carillon.groups where bucket_id = any ($1)", [free.map((move) => move.bucketId)]);
  await client.query("select carillon.make_ledger_day(day::date) from unnest($1::text[]) as d (day)", [
    [...new Set(free.map((move) => new Date(move.dueAtMs).toISOString().slice(0, 10)))],
  ]);
  const { rows } = await client.query<{ due_at_ms: number }>(
    `update carillon.time_buckets b
     set due_at = to_timestamp(m.due_at_ms / 1000.0),
         expires_at = to_timestamp(m.due_at_ms / 1000.0) + (b.expires_at - b.due_at),
         cut_at = null, population = null
     from unnest($1::bigint[], $2::bigint[]) as m (bucket_id, due_at_ms)
     where b.bucket_id = m.bucket_id
     returning (extract(epoch from b.due_at) * 1000)::float8 as due_at_ms`,
    [free.map((move) => move.bucketId), free.map((move) => Math.round(move.dueAtMs))],
  );
  return rows.map((row) => row.due_at_ms);
}
