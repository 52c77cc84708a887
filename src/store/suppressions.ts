import type { Database } from "./database.ts";

/** An outside id that gets nothing at all, whether it is known here (yet, or still) or not. */
export interface Suppression {
  /** the outside id */
  readonly userId: string;
  /** in the operator's words: "legal", "bounced", "abuse" */
  readonly reason: string;
  /** by carillon.clock(); null: for good */
  readonly until: Date | null;
}

export interface ListedSuppression extends Suppression {
  readonly createdAt: Date;
}

/**
 * Puts outside ids on the suppression list; who is on it gets the new reason and end. Chunks whose intent begins after
 * this honour it.
 *
 * @param suppressions the last one of an id holds
 * @returns how many ids were not on it before
 */
export async function addSuppressions(db: Database, suppressions: readonly Suppression[]): Promise<number> {
  const last = [...new Map(suppressions.map((each) => [each.userId, each])).values()];
  const { rows } = await db.pool.query<{ added: number }>(
    `with saved as (
       insert into carillon.suppressions (user_id, reason, ends_at)
       select * from unnest($1::text[], $2::text[], $3::timestamptz[]) as s (user_id, reason, ends_at)
       order by s.user_id
       on conflict (user_id) do update set reason = excluded.reason, ends_at = excluded.ends_at
       returning xmax = 0 as added
     )
     select (count(*) filter (where added))::int as added from saved`,
    [
      last.map(({ userId }) => userId),
      last.map(({ reason }) => reason),
      last.map(({ until }) => until?.toISOString() ?? null),
    ],
  );
  return rows[0]?.added ?? 0;
}

/** Takes an outside id off the list; one that is not on it stays so. @returns whether it was on it */
export async function removeSuppression(db: Database, userId: string): Promise<boolean> {
  const { rowCount } = await db.pool.query("delete from carillon.suppressions where user_id = $1", [userId]);
  return rowCount === 1;
}

/** The list in the order of the ids, beginning behind `after`; ends that have passed included. */
export async function listSuppressions(
  db: Database,
  { after, limit }: { readonly after: string | null; readonly limit: number },
): Promise<ListedSuppression[]> {
  const { rows } = await db.pool.query<ListedSuppression>(
    `select user_id as "userId", reason, ends_at as until, created_at as "createdAt"
     from carillon.suppressions where $1::text is null or user_id > $1 order by user_id limit $2`,
    [after, limit],
  );
  return rows;
}
