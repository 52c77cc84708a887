import { CarillonError } from "../errors.ts";
import type { Beginning } from "../timetable/local-day.ts";
import type { Executor } from "./executor.ts";
import type { UserRef } from "./users.ts";

/** Who is to stand under which schedule, and from when its moments are theirs. */
export interface Standing {
  readonly scheduleId: string;
  readonly user: UserRef;
  /** null: from now on */
  readonly beginning: Beginning | null;
}

export interface Stood {
  readonly subscribedAt: Date;
  readonly created: boolean;
}

/** `<scheduleId>-<userNumber>`: a subscription's id is its position. */
export function subscriptionIdOf(scheduleId: string, userNumber: string): string {
  return `${scheduleId}-${userNumber}`;
}

/**
 * Has users stand under schedules: a new row, or the old one stands again. Rows are taken in the order of their
 * positions. `xmax = 0` tells an inserted row from one that was there: Postgres has a word for it only from version 18 on.
 *
 * Who stood there is left as they stood. Who had moved away and is back before that took effect (`ended_at` is ahead) has
 * missed nothing, and goes on as before; unless what has rung elsewhere meanwhile says that they count from later.
 *
 * @returns one for each, in order; `created` for the first of those that are the same
 */
export async function stand(executor: Executor, standings: readonly Standing[]): Promise<Stood[]> {
  if (standings.length === 0) return [];
  const ids = standings.map(({ scheduleId, user }) => subscriptionIdOf(scheduleId, user.userNumber));
  const distinct = [...new Map(standings.map((standing, index) => [ids[index], standing])).values()];
  const { rows } = await executor.query<{ id: string; subscribed_at: Date; created: boolean }>(
    `insert into carillon.subscriptions as s (schedule_id, hash_slot, user_number, subscribed_at, rung_through)
     select w.schedule_id, w.hash_slot, w.user_number,
       greatest(now.at, to_timestamp(w.counts_from_ms / 1000)), w.rung_through
     from unnest($1::bigint[], $2::int[], $3::bigint[], $4::float8[], $5::jsonb[])
       as w (schedule_id, hash_slot, user_number, counts_from_ms, rung_through)
     cross join (select carillon.clock() as at offset 0) as now
     order by w.schedule_id, w.hash_slot, w.user_number
     on conflict (schedule_id, hash_slot, user_number) do update set
       ended_at = null,
       moved_to = null,
       subscribed_at = case
         when s.ended_at is null then s.subscribed_at
         when s.ended_at > carillon.clock() and excluded.subscribed_at <= carillon.clock() then s.subscribed_at
         else greatest(s.subscribed_at, excluded.subscribed_at)
       end,
       rung_through = case when s.ended_at is null then s.rung_through else excluded.rung_through end
     returning s.schedule_id || '-' || s.user_number as id, s.subscribed_at, s.xmax = 0 as created`,
    [
      distinct.map(({ scheduleId }) => scheduleId),
      distinct.map(({ user }) => user.hashSlot),
      distinct.map(({ user }) => user.userNumber),
      distinct.map(({ beginning }) => beginning?.countsFromMs ?? null),
      distinct.map(({ beginning }) => storedRung(beginning)),
    ],
  );
  const stood = new Map(rows.map((row) => [row.id, row]));
  const seen = new Set<string>();
  return ids.map((id) => {
    const row = stood.get(id);
    if (row === undefined) throw new CarillonError("internal", "A subscription was not stored.");
    const created = row.created && !seen.has(id);
    seen.add(id);
    return { subscribedAt: row.subscribed_at, created };
  });
}

function storedRung(beginning: Beginning | null): string | null {
  if (beginning === null || beginning.rungThrough.size === 0) return null;
  return JSON.stringify(Object.fromEntries(beginning.rungThrough));
}
