import type pg from "pg";
import type { Rule } from "../reminder/rule.ts";
import type { Database } from "./database.ts";
import { type Executor, inTransaction } from "./executor.ts";
import { addCutJobs } from "./jobs.ts";
import { moveBuckets } from "./time-buckets.ts";

/** A schedule that is to be planned, with all that its moments depend on. */
export interface ScheduleToPlan {
  readonly scheduleId: string;
  readonly topicId: number;
  readonly rule: Rule;
  /** epoch milliseconds: moments up to here have their time buckets */
  readonly plannedThroughMs: number;
  /** occurrences with a time bucket that no worker has claimed yet: the only ones that can still move */
  readonly movable: readonly string[];
  readonly expiresAfterMs: number;
  readonly catchUp: "skip" | "latest" | "all";
  readonly place: {
    readonly placeId: number;
    readonly latitude: number;
    readonly longitude: number;
    readonly zone: string;
    readonly country?: string | null;
    readonly timetable: { readonly kind: string; readonly parameters: unknown };
  } | null;
}

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
  readonly plannedThroughMs: number;
  /** the next moment after that; null: the rule has ended */
  readonly nextDueAtMs: number | null;
}

export interface PlanOptions {
  readonly horizonMs: number;
  readonly leadMs: number;
  /** schedules a transaction */
  readonly batch: number;
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
 * - an edit at the same time: it sets next_due_at, so it waits for us or we for it, and the schedule is planned again.
 *
 * @returns how many schedules were planned; fewer than `batch`: no more are waiting
 */
export function planBatch(
  db: Database,
  options: PlanOptions,
  plan: (schedules: readonly ScheduleToPlan[], nowMs: number) => readonly SchedulePlan[],
): Promise<{ schedules: number; buckets: number }> {
  return inTransaction(db, async (client) => {
    const { schedules, nowMs } = await takeSchedules(client, options);
    if (schedules.length === 0) return { schedules: 0, buckets: 0 };
    const plans = plan(schedules, nowMs);
    const dueAtMs = await makeBuckets(client, plans);
    await advance(client, plans);
    await addCutJobs(client, dueAtMs, options.leadMs);
    return { schedules: schedules.length, buckets: dueAtMs.length };
  });
}

function takeSchedules(
  client: pg.PoolClient,
  options: PlanOptions,
): Promise<{ schedules: ScheduleToPlan[]; nowMs: number }> {
  return readSchedules(
    client,
    `where s.next_due_at <= carillon.clock() + $1::int * interval '1 millisecond'
     order by s.next_due_at, s.schedule_id
     limit $2
     for no key update of s skip locked`,
    [options.horizonMs, options.batch],
  );
}

/**
 * Schedules with all that their moments depend on, as the planner reads them; whoever only looks ahead leaves the locks
 * out.
 *
 * @param which of `carillon.schedules s` and `carillon.topics t`: from the WHERE on
 */
export async function readSchedules(
  executor: Executor,
  which: string,
  values: readonly unknown[],
): Promise<{ schedules: ScheduleToPlan[]; nowMs: number }> {
  const { rows } = await executor.query<{
    schedule_id: string;
    topic_id: number;
    rule: Rule;
    planned_through_ms: number;
    movable: string[];
    expires_after_ms: number;
    catch_up: "skip" | "latest" | "all";
    place_id: number | null;
    latitude: number | null;
    longitude: number | null;
    zone: string | null;
    country: string | null;
    kind: string | null;
    parameters: unknown;
    now_ms: number;
  }>(
    `select s.schedule_id, s.topic_id, s.rule, (extract(epoch from s.planned_through) * 1000)::float8 as planned_through_ms,
       array(
         select b.occurrence from carillon.time_buckets b
         where b.schedule_id = s.schedule_id and s.rule ->> 'kind' <> 'instant' and b.round = 0 and b.closed_at is null
           and not exists (select from carillon.groups g where g.bucket_id = b.bucket_id and g.epoch > 0)
       ) as movable,
       t.expires_after_ms, t.catch_up,
       p.place_id, p.latitude, p.longitude, p.zone, p.country, tt.kind, tt.parameters,
       (extract(epoch from carillon.clock()) * 1000)::float8 as now_ms
     from carillon.schedules s
     join carillon.topics t on t.topic_id = s.topic_id
     left join carillon.places p on p.place_id = s.place_id
     left join carillon.timetables tt on tt.timetable_id = p.timetable_id
     ${which}`,
    [...values],
  );
  const schedules = rows.map((row) => ({
    scheduleId: row.schedule_id,
    topicId: row.topic_id,
    rule: row.rule,
    plannedThroughMs: row.planned_through_ms,
    movable: row.movable,
    expiresAfterMs: row.expires_after_ms,
    catchUp: row.catch_up,
    place:
      row.place_id === null || row.latitude === null || row.longitude === null || row.zone === null || row.kind === null
        ? null
        : {
            placeId: row.place_id,
            latitude: row.latitude,
            longitude: row.longitude,
            zone: row.zone,
            country: row.country,
            timetable: { kind: row.kind, parameters: row.parameters },
          },
  }));
  return { schedules, nowMs: rows[0]?.now_ms ?? 0 };
}

/** @returns the due instants of the buckets that are new or were moved and will be cut */
async function makeBuckets(client: pg.PoolClient, plans: readonly SchedulePlan[]): Promise<number[]> {
  const wanted = plans.flatMap(({ schedule, buckets }) => buckets.map((bucket) => ({ schedule, bucket })));
  const moves = plans.flatMap(({ schedule, moves }) => moves.map((bucket) => ({ schedule, bucket })));
  const moved = await moveWanted(client, [...wanted, ...moves]);
  if (wanted.length === 0) return moved;
  await client.query("select carillon.make_ledger_day(day::date) from unnest($1::text[]) as d (day)", [
    [...new Set(wanted.map(({ bucket }) => new Date(bucket.dueAtMs).toISOString().slice(0, 10)))],
  ]);
  const { rows: made } = await client.query<{ due_at_ms: number; skipped: boolean }>(
    `insert into carillon.time_buckets (schedule_id, topic_id, occurrence, due_at, expires_at, closed_at, closed_as)
     select schedule_id, topic_id, occurrence, to_timestamp(due_at_ms / 1000.0),
       to_timestamp((due_at_ms + expires_after_ms) / 1000.0),
       case when skipped then clock_timestamp() end, case when skipped then 'skipped' end
     from unnest($1::bigint[], $2::int[], $3::text[], $4::bigint[], $5::int[], $6::boolean[])
       as w (schedule_id, topic_id, occurrence, due_at_ms, expires_after_ms, skipped)
     on conflict (schedule_id, occurrence, round) do nothing
     returning (extract(epoch from due_at) * 1000)::float8 as due_at_ms, closed_at is not null as skipped`,
    [
      wanted.map(({ schedule }) => schedule.scheduleId),
      wanted.map(({ schedule }) => schedule.topicId),
      wanted.map(({ bucket }) => bucket.occurrence),
      wanted.map(({ bucket }) => bucket.dueAtMs),
      wanted.map(({ schedule }) => schedule.expiresAfterMs),
      wanted.map(({ bucket }) => bucket.skipped),
    ],
  );
  return [...made.filter((bucket) => !bucket.skipped).map((bucket) => bucket.due_at_ms), ...moved];
}

interface WantedBucket {
  readonly schedule: ScheduleToPlan;
  readonly bucket: Pick<PlannedBucket, "occurrence" | "dueAtMs">;
}

async function moveWanted(client: pg.PoolClient, wanted: readonly WantedBucket[]): Promise<number[]> {
  const known = wanted.filter(({ schedule, bucket }) => schedule.movable.includes(bucket.occurrence));
  if (known.length === 0) return [];
  const { rows } = await client.query<{ bucket_id: string; due_at_ms: number }>(
    `select b.bucket_id, w.due_at_ms::float8
     from unnest($1::bigint[], $2::text[], $3::bigint[]) as w (schedule_id, occurrence, due_at_ms)
     join carillon.time_buckets b on b.schedule_id = w.schedule_id and b.occurrence = w.occurrence and b.round = 0
     where b.closed_at is null and b.due_at <> to_timestamp(w.due_at_ms / 1000.0)`,
    [
      known.map(({ schedule }) => schedule.scheduleId),
      known.map(({ bucket }) => bucket.occurrence),
      known.map(({ bucket }) => bucket.dueAtMs),
    ],
  );
  return moveBuckets(
    client,
    rows.map((bucket) => ({ bucketId: bucket.bucket_id, dueAtMs: bucket.due_at_ms })),
  );
}

async function advance(client: pg.PoolClient, plans: readonly SchedulePlan[]): Promise<void> {
  await client.query(
    `update carillon.schedules s
     set next_due_at = to_timestamp(p.next_due_at_ms / 1000.0),
         planned_through = to_timestamp(p.planned_through_ms / 1000.0)
     from unnest($1::bigint[], $2::bigint[], $3::bigint[]) as p (schedule_id, next_due_at_ms, planned_through_ms)
     where s.schedule_id = p.schedule_id`,
    [
      plans.map(({ schedule }) => schedule.scheduleId),
      plans.map(({ nextDueAtMs }) => (nextDueAtMs === null ? null : Math.round(nextDueAtMs))),
      plans.map(({ plannedThroughMs }) => Math.round(plannedThroughMs)),
    ],
  );
}
