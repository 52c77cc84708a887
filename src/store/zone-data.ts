import type { Database } from "./database.ts";
import { type Executor, inTransaction } from "./executor.ts";
import { wakePlanner } from "./jobs.ts";

/** Schedules a statement: each is a short transaction that holds their locks. */
const batch = 5000;

/** How a node's zone data compares with the newest that any node has brought so far. */
export type ZoneDataStanding =
  | { readonly standing: "newer" | "same"; readonly replanned: number }
  | { readonly standing: "older"; readonly newest: string };

/**
 * A planning node starts: newer zone data than the database has known is recorded, and every schedule whose rule has a zone
 * is handed to the planner again. Data that is known hands over what was planned under older one meanwhile.
 *
 * Interleavings: nodes that start together compare under the row's lock, so the newest of them is what stays. A node that
 * dies before all is handed over leaves the rest to the next planner with this data, which finds it by `schedules.tzdata`.
 *
 * @param tzdata such as "2026b"
 * @param horizonMs as the planner has it
 */
export async function adoptZoneData(db: Database, tzdata: string, horizonMs: number): Promise<ZoneDataStanding> {
  const newest = await inTransaction(db, async (client) => {
    const { rows } = await client.query<{ tzdata: string | null }>(
      "select tzdata from carillon.deployment for no key update",
    );
    const known = rows[0]?.tzdata ?? null;
    if (known === null || known < tzdata) await client.query("update carillon.deployment set tzdata = $1", [tzdata]);
    return known;
  });
  if (newest !== null && newest > tzdata) return { standing: "older", newest };
  const replanned = await handOverOlder(db, tzdata, horizonMs);
  if (replanned > 0) await wakePlanner(db.pool);
  return { standing: newest === tzdata ? "same" : "newer", replanned };
}

/** The newest zone data that any node has brought so far; null: no node has planned here yet. */
export async function newestZoneData(executor: Executor): Promise<string | null> {
  const { rows } = await executor.query<{ tzdata: string | null }>("select tzdata from carillon.deployment");
  return rows[0]?.tzdata ?? null;
}

/**
 * Hands schedules to the planner that were planned last under older zone data than this. They take their turn behind what
 * is due within the horizon, which would be late if it waited for all of them.
 *
 * One that a planner has just now is passed over, and found the next time.
 *
 * @returns how many there were
 */
export async function handOverOlder(db: Database, tzdata: string, horizonMs: number): Promise<number> {
  for (let handed = 0; ; ) {
    const { rowCount } = await db.pool.query(
      `with older as materialized (
         select schedule_id from carillon.schedules
         where tzdata < $1 and next_due_at is not null and rule ->> 'kind' <> 'instant'
           and next_due_at > carillon.clock() + $2::float8 * interval '1 millisecond'
         order by schedule_id
         limit $3
         for no key update skip locked
       )
       update carillon.schedules s set next_due_at = carillon.clock() + $2::float8 * interval '1 millisecond'
       from older o where s.schedule_id = o.schedule_id`,
      [tzdata, horizonMs, batch],
    );
    handed += rowCount ?? 0;
    if ((rowCount ?? 0) < batch) return handed;
  }
}
