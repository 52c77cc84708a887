import type { Executor } from "./executor.ts";

/** What an operator has to know of the Postgres that a database is on. */
export interface ServerFacts {
  /** as it says it: "18.1" */
  readonly version: string;
  /** 18 */
  readonly major: number;
  /** for roles without special rights, on the whole server */
  readonly connections: number;
  /** connections of other programs, on the whole server, now */
  readonly othersConnected: number;
  /** APIs that are connected now, one for each process */
  readonly apis: number;
}

/** Connections of ours are known by their name, see `openDatabase`. */
export async function readServerFacts(executor: Executor): Promise<ServerFacts> {
  const { rows } = await executor.query<ServerFacts>(
    `select split_part(current_setting('server_version'), ' ', 1) as version,
       current_setting('server_version_num')::int / 10000 as major,
       least(
         current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
           - coalesce(current_setting('reserved_connections', true)::int, 0),
         (select nullif(rolconnlimit, -1) from pg_roles where rolname = current_user),
         (select nullif(datconnlimit, -1) from pg_database where datname = current_database())
       ) as connections,
       (select count(*)::int from pg_stat_activity
        where backend_type = 'client backend' and application_name not like 'carillon %') as "othersConnected",
       (select count(distinct application_name)::int from pg_stat_activity
        where datname = current_database() and application_name like 'carillon api %') as apis`,
  );
  const [facts] = rows;
  if (facts === undefined) throw new Error("Postgres told nothing of itself");
  return facts;
}

/**
 * Postgres' wall clock against another one.
 *
 * @param nowMs epoch milliseconds
 * @returns the other one's minus Postgres', in milliseconds, by the quickest of a few questions
 */
export async function readClockSkewMs(executor: Executor, nowMs: () => number = Date.now): Promise<number> {
  let quickest = { tookMs: Number.POSITIVE_INFINITY, skewMs: 0 };
  for (let question = 0; question < 5; question += 1) {
    const askedMs = nowMs();
    const { rows } = await executor.query<{ at_ms: number }>(
      "select (extract(epoch from clock_timestamp()) * 1000)::float8 as at_ms",
    );
    const heardMs = nowMs();
    const tookMs = heardMs - askedMs;
    if (tookMs < quickest.tookMs) quickest = { tookMs, skewMs: (askedMs + heardMs) / 2 - (rows[0]?.at_ms ?? 0) };
  }
  return quickest.skewMs;
}

/** The slots of each worker that is live, one number a worker. */
export async function readLiveSlots(executor: Executor): Promise<readonly number[]> {
  const { rows } = await executor.query<{ slots: number }>(
    "select slots from carillon.node_load where role = 'worker' and state = 'live'",
  );
  return rows.map(({ slots }) => slots);
}
