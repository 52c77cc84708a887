import type { Executor } from "./executor.ts";

/*
 * What some messages mention and the fire loop does not carry along, since most don't: read for those that do.
 */

/** The outside ids of users, by user number; who was erased is missing. */
export async function userIdsOf(executor: Executor, userNumbers: readonly string[]): Promise<Map<string, string>> {
  const { rows } = await executor.query<{ user_number: string; user_id: string }>({
    name: "user_ids",
    text: "select user_number, user_id from carillon.users where user_number = any($1::bigint[])",
    values: [[...new Set(userNumbers)]],
  });
  return new Map(rows.map((row) => [row.user_number, row.user_id]));
}

/** The name of the place that a schedule depends on; null: it depends on none. */
export async function placeNameOf(executor: Executor, scheduleId: string): Promise<string | null> {
  const { rows } = await executor.query<{ name: string }>(
    `select p.name from carillon.schedules s join carillon.places p on p.place_id = s.place_id where s.schedule_id = $1`,
    [scheduleId],
  );
  return rows[0]?.name ?? null;
}
