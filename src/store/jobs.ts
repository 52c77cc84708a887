import type { Executor } from "./executor.ts";

/**
 * graphile-worker's jobs only wake somebody: what is to be done stands in our own rows, and a sweep finds it there when
 * a job is lost. So a job that comes too early, twice or for nothing does no harm.
 *
 * What is asked for again keeps its `run_at` (`preserve_run_at`), or has it pulled forward: if it were pushed on, each
 * sweep would starve the job.
 */
export const taskNames = {
  plan: "carillon.plan",
  cut: "carillon.cut",
  group: "carillon.group",
  tidy: "carillon.tidy",
} as const;

export interface GroupJobPayload {
  readonly bucketId: string;
  readonly groupNumber: number;
  /** epoch milliseconds */
  readonly dueAtMs: number;
  /** how many of this moment's jobs a node may hold ahead of it */
  readonly share: number;
  /** a bundle: other small groups of the same moment, which are claimed with it */
  readonly more?: readonly { readonly bucketId: string; readonly groupNumber: number }[];
}

/** The share of a group that was dealt out before and came back: whoever has a free slot may hold it. */
export const anyShare = 1_000_000;

const jobAttempts = 5;

/** Has a planner run now, once, however many ask for it. Part of the caller's transaction. */
export async function wakePlanner(executor: Executor): Promise<void> {
  await executor.query("select carillon.wake_planner()");
}

/**
 * One job per second in which buckets are due, at the time when they are to be cut into groups. For all whose time has
 * come already one is enough: it cuts whatever is due by then. The lead is real time, as all that a job waits for. In the
 * order of the seconds, so that planners that ask for the same ones wait for each other and don't deadlock.
 */
export async function addCutJobs(executor: Executor, dueAtMs: readonly number[], leadMs: number): Promise<void> {
  const seconds = [...new Set(dueAtMs.map((ms) => Math.floor(ms / 1000)))];
  if (seconds.length === 0) return;
  await executor.query(
    `select from graphile_worker.add_jobs((
       select array_agg((
         $1, json_build_object('second', second), null,
         carillon.real_time(to_timestamp(second)) - $3::int * interval '1 millisecond',
         $4, $1 || ':' || case when second > by_now then second::text else 'due' end, -1, null
       )::graphile_worker.job_spec order by second)
       from (
         select distinct greatest(second, by_now) as second, by_now
         from unnest($2::bigint[]) as s (second),
           floor(extract(epoch from carillon.clock()) + $3::int / 1000.0 * carillon.clock_speed()) as by_now
       ) s), true)`,
    [taskNames.cut, seconds, leadMs, jobAttempts],
  );
}

/**
 * One job per group, to run at once, or at `runAtMs` (epoch milliseconds, real time). One that waits already is pulled forward (it waits for a next try, say, and the
 * bucket was cancelled) and never pushed on.
 */
export async function addGroupJobs(
  executor: Executor,
  jobs: readonly (GroupJobPayload & { readonly runAtMs?: number | undefined })[],
): Promise<void> {
  if (jobs.length === 0) return;
  await executor.query(
    `select from graphile_worker.add_jobs((
       select array_agg((
         $1, json_build_object('bucketId', bucket_id::text, 'groupNumber', group_number, 'dueAtMs', due_at_ms, 'share', share,
           'more', more::json),
         null, least(coalesce(to_timestamp(run_at_ms / 1000), now()), (select j.run_at from graphile_worker.jobs j where j.key = g.key)), $6, g.key, 0, null
       )::graphile_worker.job_spec)
       from unnest($2::bigint[], $3::int[], $4::bigint[], $5::int[], $7::text[], $8::text[], $9::float8[])
         as g (bucket_id, group_number, due_at_ms, share, more, key, run_at_ms)), false)`,
    [
      taskNames.group,
      jobs.map((job) => job.bucketId),
      jobs.map((job) => job.groupNumber),
      jobs.map((job) => job.dueAtMs),
      jobs.map((job) => job.share),
      jobAttempts,
      jobs.map((job) => JSON.stringify(job.more ?? [])),
      jobs.map(keyOf),
      jobs.map(({ runAtMs }) => runAtMs ?? null),
    ],
  );
}

/**
 * A group's job at a known later time. `replace` here: the caller holds the group's fence and knows that nothing is to
 * be done before.
 */
export async function addGroupJobAt(executor: Executor, job: GroupJobPayload, runAt: Date): Promise<void> {
  await executor.query(
    `select from graphile_worker.add_job($1, $2::json, job_key := $3, job_key_mode := 'replace', run_at := $4, max_attempts := $5)`,
    [taskNames.group, JSON.stringify(job), keyOf(job), runAt, jobAttempts],
  );
}

/** A bundle has a key of its own: whoever wakes its first group alone must not take the others' job away. */
function keyOf({ bucketId, groupNumber, more = [] }: GroupJobPayload): string {
  return `${taskNames.group}:${bucketId}:${groupNumber}${more.length === 0 ? "" : "+"}`;
}

/**
 * Adding the key of a job that is just running leaves that row behind for good when its worker dies then; such rows, and
 * those of workers that died, are removed once graphile-worker counts them as abandoned (four hours).
 */
export async function removeDeadJobs(executor: Executor): Promise<number> {
  const result = await executor.query(
    `select from graphile_worker.complete_jobs(array(
       select id from graphile_worker.jobs
       where task_identifier like 'carillon.%' and attempts >= max_attempts
         and (locked_at is null or locked_at < now() - interval '4 hours')))`,
  );
  return result.rowCount ?? 0;
}
