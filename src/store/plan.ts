import type pg from "pg";
import type { Database } from "./database.ts";
import { byKey, inTransaction, numbers } from "./executor.ts";
import { addCutJobs } from "./jobs.ts";
import { readSchedules, type ScheduleToPlan } from "./schedule-to-plan.ts";
import { confirmZoneData, dropBuckets, moveBuckets } from "./time-buckets.ts";

export type { MovableBucket, ScheduleToPlan } from "./schedule-to-plan.ts";

export interface PlannedBucket {
  readonly occurrence: string;
  readonly dueAtMs: number;
  /** missed while nobody planned, and not to be caught up with: recorded as skipped */
  readonly skipped: boolean;
}

export interface SchedulePlan {
  readonly schedule: ScheduleToPlan;
  readonly buckets: readonly PlannedBucket[];
  /** planned occurrences whose instant now lies outside what is planned for; they move, and are never made here */
  readonly moves: readonly Pick<PlannedBucket, "occurrence" | "dueAtMs">[];
  /** planned occurrences, still ahead, that the rule no longer yields: their buckets go */
  readonly gone: readonly string[];
  readonly plannedThroughMs: number;
  /** the next moment after that; null: the rule has ended */
  readonly nextDueAtMs: number | null;
  /** why it could not be planned, for people; null: it could */
  readonly fault: string | null;
}

export interface PlanOptions {
  readonly horizonMs: number;
  readonly leadMs: number;
  /** schedules a transaction */
  readonly batch: number;
  /** what is due so soon (of carillon.clock()) the caller cuts by itself when nothing is left to plan; default 0 */
  readonly cutAheadMs?: number;
  /** the version of the zone data that `plan` uses, to be kept with what it plans */
  readonly tzdata?: string | undefined;
}

export interface PlannedBatch {
  readonly schedules: number;
  /** new or moved, and to be cut */
  readonly buckets: number;
  /** carillon.clock() when it was planned, epoch milliseconds; 0 where there was nothing to plan */
  readonly nowMs: number;
}

/**
 * Plans one batch of schedules in one short transaction and a constant number of statements: locks those whose next
 * moment is within the horizon, lets `plan` (pure) say their moments, makes the time buckets and advances the schedules.
 *
 * Interleavings:
 * - planners at once: SKIP LOCKED deals the schedules out; the key (schedule, occurrence, round) keeps a moment from
 *   being planned twice even where a schedule is planned again.
 * - a schedule that is committed late has its own next_due_at; there is no global watermark that could pass it by.
 * - subscribers do not touch the schedule's row, so a busy schedule is never skipped (NO KEY UPDATE: foreign keys of
 *   time_buckets may be checked meanwhile).
 * - an edit at the same time: it sets next_due_at, so it waits for us or we pass the schedule over, and it is planned
 *   again. What a plan depends on is read by statements of their own, after the schedules are locked: such an edit
 *   (of a place, a timetable) takes these locks before it commits, so all of it is read, or it comes after us. Read along
 *   with the locking, it could be stale: a row that is locked is read anew, rows that are joined to it are not.
 *
 * @returns how many schedules were planned; fewer than `batch`: no more are waiting
 */
export function planBatch(
  db: Database,
  options: PlanOptions,
  plan: (schedules: readonly ScheduleToPlan[], nowMs: number) => readonly SchedulePlan[],
): Promise<PlannedBatch> {
  return inTransaction(db, async (client) => {
    const { schedules, nowMs } = await takeSchedules(client, options);
    if (schedules.length === 0) return { schedules: 0, buckets: 0, nowMs };
    const plans = plan(schedules, nowMs);
    const { buckets, dueAtMs } = await makeBuckets(client, plans, options.tzdata ?? null);
    await advance(client, plans, options.tzdata ?? null);
    // of the last batch, what the caller cuts right away needs no job; should it die before, the sweep finds it
    const cutByMs = schedules.length < options.batch ? nowMs + (options.cutAheadMs ?? 0) : 0;
    await addCutJobs(
      client,
      dueAtMs.filter((ms) => ms > cutByMs),
      options.leadMs,
    );
    return { schedules: schedules.length, buckets, nowMs };
  });
}

async function takeSchedules(
  client: pg.PoolClient,
  options: PlanOptions,
): Promise<{ schedules: ScheduleToPlan[]; nowMs: number }> {
  const { rows } = await client.query<{ ids: string | null }>(
    `select array_agg(schedule_id)::text as ids
     from (
       select s.schedule_id
       from carillon.schedules s
       where s.next_due_at <= carillon.clock() + $1::int * interval '1 millisecond'
       order by s.next_due_at, s.schedule_id
       limit $2
       for no key update of s skip locked
     ) taken`,
    [options.horizonMs, options.batch],
  );
  const ids = rows[0]?.ids ?? null;
  if (ids === null) return { schedules: [], nowMs: 0 };
  return readSchedules(client, "where s.schedule_id = any ($1::bigint[]) order by s.next_due_at, s.schedule_id", [ids]);
}

interface Made {
  /** new or moved, and to be cut */
  readonly buckets: number;
  /** the instants at which they are due; of new ones only the second, each once */
  readonly dueAtMs: readonly number[];
}

async function makeBuckets(
  client: pg.PoolClient,
  plans: readonly SchedulePlan[],
  tzdata: string | null,
): Promise<Made> {
  const changes = plans.flatMap((plan) => (plan.schedule.movable.length === 0 ? [] : [changesTo(plan, tzdata)]));
  await dropBuckets(
    client,
    changes.flatMap(({ dropped }) => dropped),
  );
  await confirmZoneData(
    client,
    changes.flatMap(({ confirmed }) => confirmed),
    tzdata,
  );
  const moved = await moveBuckets(
    client,
    changes.flatMap(({ moved }) => moved),
    tzdata,
  );
  const wanted = plans.flatMap(({ schedule, buckets }) => buckets.map((bucket) => ({ schedule, bucket })));
  if (wanted.length === 0) return { buckets: moved.length, dueAtMs: moved };
  await client.query("select carillon.make_ledger_day(day::date) from unnest($1::text[]) as d (day)", [
    [...new Set(wanted.map(({ bucket }) => new Date(bucket.dueAtMs).toISOString().slice(0, 10)))],
  ]);
  const { rows: made } = await client.query<{ second: number; buckets: number }>(
    `with made as (
       insert into carillon.time_buckets (schedule_id, topic_id, occurrence, due_at, expires_at, closed_at, closed_as, tzdata)
       select schedule_id, topic_id, occurrence, to_timestamp(due_at_ms / 1000),
         to_timestamp((due_at_ms + expires_after_ms) / 1000),
         case when skipped then clock_timestamp() end, case when skipped then 'skipped' end, $7
       from unnest($1::bigint[], $2::int[], $3::text[], $4::float8[], $5::int[], $6::boolean[])
         as w (schedule_id, topic_id, occurrence, due_at_ms, expires_after_ms, skipped)
       on conflict (schedule_id, occurrence, round) do nothing
       returning due_at, closed_at
     )
     select extract(epoch from date_trunc('second', due_at))::float8 as second, count(*)::int as buckets
     from made
     where closed_at is null
     group by date_trunc('second', due_at)`,
    [
      numbers(wanted.map(({ schedule }) => schedule.scheduleId)),
      numbers(wanted.map(({ schedule }) => schedule.topicId)),
      wanted.map(({ bucket }) => bucket.occurrence),
      numbers(wanted.map(({ bucket }) => bucket.dueAtMs)),
      numbers(wanted.map(({ schedule }) => schedule.expiresAfterMs)),
      wanted.map(({ bucket }) => bucket.skipped),
      tzdata,
    ],
  );
  return {
    buckets: made.reduce((sum, { buckets }) => sum + buckets, moved.length),
    dueAtMs: [...made.map(({ second }) => second * 1000), ...moved],
  };
}

/**
 * What a plan changes of buckets that are there. What was planned under newer zone data than ours stays as it is: while
 * nodes are updated one after another, the same moment must not go back and forth. (Pure: whoever looks ahead asks it, too.)
 */
export function changesTo({ schedule, buckets, moves, gone }: SchedulePlan, tzdata: string | null) {
  const ours = schedule.movable.filter(({ tzdata: theirs }) => theirs === null || tzdata === null || theirs <= tzdata);
  const due = new Map([...buckets, ...moves].map(({ occurrence, dueAtMs }) => [occurrence, Math.round(dueAtMs)]));
  const moved = ours.flatMap(({ bucketId, occurrence, dueAtMs }) => {
    const toMs = due.get(occurrence);
    return toMs === undefined || toMs === Math.round(dueAtMs) ? [] : [{ bucketId, dueAtMs: toMs }];
  });
  const dropped = ours.filter(({ occurrence }) => gone.includes(occurrence)).map(({ bucketId }) => bucketId);
  const others = new Set([...moved.map(({ bucketId }) => bucketId), ...dropped]);
  const confirmed = ours
    .filter(({ bucketId, tzdata: theirs }) => theirs !== tzdata && !others.has(bucketId))
    .map(({ bucketId }) => bucketId);
  return { moved, dropped, confirmed };
}

async function advance(client: pg.PoolClient, plans: readonly SchedulePlan[], tzdata: string | null): Promise<void> {
  await client.query(
    `update carillon.schedules s
     set next_due_at = to_timestamp(p.next_due_at_ms / 1000),
         planned_through = to_timestamp(p.planned_through_ms / 1000),
         plan_fault = p.fault,
         tzdata = coalesce($5, s.tzdata)
     from unnest($1::bigint[], $2::float8[], $3::float8[], $4::text[])
       as p (schedule_id, next_due_at_ms, planned_through_ms, fault)
     where ${byKey("s.schedule_id", "p.schedule_id")}`,
    [
      numbers(plans.map(({ schedule }) => schedule.scheduleId)),
      numbers(plans.map(({ nextDueAtMs }) => (nextDueAtMs === null ? null : Math.round(nextDueAtMs)))),
      numbers(plans.map(({ plannedThroughMs }) => Math.round(plannedThroughMs))),
      plans.map(({ fault }) => fault),
      tzdata,
    ],
  );
}
