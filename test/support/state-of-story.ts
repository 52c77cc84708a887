import { onTestFailed } from "vitest";
import type { Database } from "../../src/store/database.ts";

const questions = {
  "open buckets":
    "select bucket_id, due_at, cut_at, closed_at from carillon.time_buckets where closed_at is null limit 5",
  "open groups": "select * from carillon.groups where finished_at is null order by bucket_id limit 5",
  counts: `select (select count(*) from carillon.time_buckets where closed_at is null) as open_buckets,
    (select count(*) from carillon.groups where finished_at is null) as open_groups,
    (select count(*) from carillon.deferred) as deferred, (select count(*) from graphile_worker.jobs) as jobs, clock_timestamp()`,
  deferred: "select * from carillon.deferred limit 5",
  jobs: `select task_identifier, key, run_at, attempts, locked_at, locked_by, last_error
    from graphile_worker.jobs order by run_at limit 10`,
  sessions: `select pid, datname, application_name, state, wait_event_type, wait_event, pg_blocking_pids(pid) as blocked_by,
      clock_timestamp() - state_change as since, left(query, 200) as query
    from pg_stat_activity where backend_type = 'client backend' and (datname = current_database() or state <> 'idle')`,
};

/**
 * A story that ran out of time is told with the state that it hangs in, since it seldom does so again: what is open, who
 * waits for whom. One that failed otherwise has dropped its database by then.
 */
export function tellStateOnTimeout(story: { readonly db?: Database }): void {
  onTestFailed(async () => {
    const { db } = story;
    if (db === undefined) return;
    for (const [what, text] of Object.entries(questions)) {
      const answer = await db.pool.query(text).catch((error: unknown) => ({ rows: String(error) }));
      console.error(`${what}: ${JSON.stringify(answer.rows, null, 1)}`);
      if (typeof answer.rows === "string") return;
    }
  });
}
