import type { Executor } from "./executor.ts";
import { followZones } from "./moves.ts";
import { lastOfEach, type Merged, type Numbered, stage } from "./staging.ts";
import { setZones, type WantedUser } from "./users.ts";

/**
 * Makes the users who are missing, and sets zone and locale of the others where they are given and differ. Locks are
 * taken in the order that `findOrCreateUsers` states: new users by outside id, then the rows that change by number. What
 * follows a user moves along with their zone.
 */
export async function mergeUsers(
  client: Executor,
  rows: readonly Numbered<WantedUser>[],
  planHorizonMs: number,
): Promise<Merged> {
  const { last, repeated } = lastOfEach(together(rows), (user) => user.userId);
  await stage(
    client,
    "import_users",
    { user_id: "text", zone: "text", locale: "text" },
    last.map(({ row: { userId, zone, locale } }) => [userId, zone ?? null, locale ?? null]),
  );
  const { rowCount: inserted } = await client.query(
    `insert into carillon.users (user_id, zone, locale)
     select user_id, zone, locale from pg_temp.import_users s
     where not exists (select from carillon.users u where u.user_id = s.user_id)
     order by user_id
     on conflict (user_id) do nothing`,
  );
  // Whoever changes such a row at the same moment is waited for, and the comparison is made again with what they left.
  const { rows: differing } = await client.query<DifferingRow>(
    `select u.user_number, u.hash_slot, s.zone, s.locale
     from pg_temp.import_users s join carillon.users u using (user_id)
     where (u.zone, u.locale) is distinct from (coalesce(s.zone, u.zone), coalesce(s.locale, u.locale))
     order by u.user_number for no key update of u`,
  );
  const settings = differing.map(({ user_number: userNumber, hash_slot: hashSlot, zone, locale }) => ({
    userNumber,
    hashSlot,
    zone: zone ?? undefined,
    locale: locale ?? undefined,
  }));
  if (settings.length > 0) await setZones(client, settings);
  const zoned = settings.filter(({ zone }) => zone !== undefined);
  if (zoned.length > 0) await followZones(client, zoned, planHorizonMs);
  const [made, changed] = [inserted ?? 0, differing.length];
  return { inserted: made, changed, unchanged: last.length - made - changed + repeated, refused: [] };
}

/** A user's later line adds to an earlier one what that one left out. */
function together(rows: readonly Numbered<WantedUser>[]): Numbered<WantedUser>[] {
  const before = new Map<string, WantedUser>();
  return rows.map(({ line, row: { userId, zone, locale } }) => {
    const earlier = before.get(userId);
    const row = { userId, zone: zone ?? earlier?.zone, locale: locale ?? earlier?.locale };
    before.set(userId, row);
    return { line, row };
  });
}

interface DifferingRow {
  readonly user_number: string;
  readonly hash_slot: number;
  readonly zone: string | null;
  readonly locale: string | null;
}
