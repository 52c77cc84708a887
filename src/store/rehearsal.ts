import type { Database } from "./database.ts";

/** What a rehearsal (the demo, a test, a bench) asks of the database about one run. */

/** The time bucket of a schedule with one moment. @returns null until it is planned */
export async function bucketOf(
  db: Pick<Database, "pool">,
  scheduleId: string,
): Promise<{ readonly bucketId: string; readonly closed: boolean } | null> {
  const { rows } = await db.pool.query<{ bucket_id: string; closed: boolean }>(
    `select bucket_id, closed_at is not null as closed from carillon.time_buckets
     where schedule_id = $1 order by bucket_id desc limit 1`,
    [scheduleId],
  );
  const [row] = rows;
  return row === undefined ? null : { bucketId: row.bucket_id, closed: row.closed };
}

/** The time buckets of schedules that are due up to an instant of carillon.clock(), epoch milliseconds. */
export async function bucketsThrough(
  db: Pick<Database, "pool">,
  scheduleIds: readonly string[],
  throughMs: number,
): Promise<readonly { readonly bucketId: string; readonly closed: boolean }[]> {
  const { rows } = await db.pool.query<{ bucket_id: string; closed: boolean }>(
    `select bucket_id, closed_at is not null as closed from carillon.time_buckets
     where schedule_id = any ($1::bigint[]) and due_at <= to_timestamp($2::float8 / 1000) order by bucket_id`,
    [scheduleIds, throughMs],
  );
  return rows.map((row) => ({ bucketId: row.bucket_id, closed: row.closed }));
}

/** Groups that were taken back from an owner that was lost, as "bucket:group". */
export async function rescuedGroups(db: Pick<Database, "pool">, bucketIds: readonly string[]): Promise<string[]> {
  const { rows } = await db.pool.query<{ name: string }>(
    "select bucket_id || ':' || group_number as name from carillon.groups where bucket_id = any ($1::bigint[]) and rescues > 0",
    [bucketIds],
  );
  return rows.map((row) => row.name);
}

/** The numbers under which a process has registered as a node. */
export async function nodesOf(db: Pick<Database, "pool">, pid: number): Promise<number[]> {
  const { rows } = await db.pool.query<{ node_id: number }>("select node_id from carillon.nodes where pid = $1", [pid]);
  return rows.map((row) => row.node_id);
}
