import { byKey, type Executor } from "./executor.ts";
import { addCutJobs, addGroupJobs, anyShare, taskNames, wakePlanner } from "./jobs.ts";

export interface SweepResult {
  /** schedules with a near moment that no planner has looked at */
  readonly unplanned: boolean;
  /** seconds (epoch) whose buckets are past their cut time without groups */
  readonly uncutSeconds: number;
  /** groups that were woken */
  readonly wokenGroups: number;
  /** buckets whose groups were all finished */
  readonly closedBuckets: number;
}

/**
 * Rescue. Jobs only wake, so work is found by its rows, whatever became of its job: near schedules without buckets,
 * buckets past their cut time without groups, unfinished groups past `not_before` without a live lease, ever claimed or
 * not. A group gets a fresh job unless one is waiting that can still run; the job of a worker that died is locked, and
 * graphile-worker would give it out again after four hours only.
 *
 * Every node runs it every few seconds; running it twice, or at the same time, changes nothing.
 */
export async function sweep(
  executor: Executor,
  options: { readonly leadMs: number; readonly limit: number },
): Promise<SweepResult> {
  const unplanned = await executor.query({
    name: "sweep_schedules",
    text: `
      select from carillon.schedules
      where carillon.real_time(next_due_at) <= clock_timestamp() + $1::int * interval '1 millisecond'
      limit 1`,
    values: [options.leadMs],
  });
  if (unplanned.rowCount === 1) await wakePlanner(executor);

  const uncut = await executor.query<{ second: string }>({
    name: "sweep_uncut",
    text: `
      select distinct floor(extract(epoch from due_at))::bigint as second
      from carillon.time_buckets
      where closed_at is null and cut_at is null and cancelled_at is null
        and carillon.real_time(due_at) <= clock_timestamp() + ($1::int - 1000) * interval '1 millisecond'
      limit $2`,
    values: [options.leadMs, options.limit],
  });
  await addCutJobs(
    executor,
    uncut.rows.map((row) => Number(row.second) * 1000),
    options.leadMs,
  );

  const idle = await executor.query<{ bucket_id: string; group_number: number; due_at_ms: string }>({
    name: "sweep_groups",
    text: `
      select g.bucket_id, g.group_number, (extract(epoch from b.due_at) * 1000)::bigint as due_at_ms
      from carillon.time_buckets b
      join carillon.groups g on g.bucket_id = b.bucket_id
      where b.closed_at is null
        and b.due_at <= carillon.clock()
        and g.finished_at is null
        and g.not_before <= clock_timestamp()
        and (g.lease_until is null or g.lease_until < clock_timestamp())
        and (g.halted_at is null or b.cancelled_at is not null or b.expires_at <= carillon.clock())
        and not exists (
          select from graphile_worker.jobs j
          where j.key = '${taskNames.group}:' || g.bucket_id || ':' || g.group_number
            and j.locked_at is null and j.attempts < j.max_attempts and j.run_at <= now() + interval '1 second')
      order by b.due_at, g.bucket_id, g.group_number
      limit $1`,
    values: [options.limit],
  });
  await addGroupJobs(
    executor,
    idle.rows.map((row) => ({
      bucketId: row.bucket_id,
      groupNumber: row.group_number,
      dueAtMs: Number(row.due_at_ms),
      share: anyShare,
    })),
  );

  // one that is locked is just being closed by its last group's owner: to wait for it, in another order, was a deadlock
  const closed = await executor.query({
    name: "sweep_buckets",
    text: `
      with done as materialized (
        select b.bucket_id
        from carillon.time_buckets b
        where b.closed_at is null and b.cut_at is not null and b.due_at <= carillon.clock()
          and not exists (
            select from carillon.groups g where g.bucket_id = b.bucket_id and g.finished_at is null offset 0)
        for no key update of b skip locked
      )
      update carillon.time_buckets b
      set closed_at = clock_timestamp(),
          closed_as = case when b.cancelled_at is not null then 'cancelled' else 'done' end
      from done d
      where ${byKey("b.bucket_id", "d.bucket_id")}`,
  });
  return {
    unplanned: unplanned.rowCount === 1,
    uncutSeconds: uncut.rows.length,
    wokenGroups: idle.rows.length,
    closedBuckets: closed.rowCount ?? 0,
  };
}

/** Marks nodes stopped that have not been heard of for long; they are no longer counted or watched. */
export async function retireSilentNodes(executor: Executor, silentMs: number): Promise<void> {
  await executor.query({
    name: "retire_nodes",
    text: `
      update carillon.nodes set stopped_at = heartbeat_at
      where stopped_at is null and heartbeat_at < clock_timestamp() - $1::int * interval '1 millisecond'`,
    values: [silentMs],
  });
}
