import { CarillonError } from "../errors.ts";
import type { Rule } from "../reminder/rule.ts";
import { nextOccurrenceAfter } from "../timetable/occurrences.ts";
import type { Database } from "./database.ts";
import type { Executor } from "./executor.ts";
import { type FoundPlace, foundPlaceOrNone, type PlaceTimesRow, placeTimesColumns } from "./place-times.ts";

/** One shared rule of when, under a topic. */
export interface Schedule {
  /** bigint */
  readonly scheduleId: string;
  readonly topic: string;
  readonly rule: Rule;
  readonly place: FoundPlace | null;
  /** the next moment that is promised; null when there is none, or while schedule or topic are paused */
  readonly nextDueAt: Date | null;
  readonly pausedAt: Date | null;
  readonly createdAt: Date;
}

export interface WantedSchedule {
  readonly topicId: number;
  readonly rule: Rule;
}

export interface ScheduleRef {
  readonly scheduleId: string;
  /** as it is stored: canonical */
  readonly rule: Rule;
  readonly paused: boolean;
  readonly created: boolean;
}

/** Moments nearer than this to the commit may be missed, so they are not promised. */
export const promiseAfterMs = 1000;

/**
 * Finds or creates the schedules, each the one of its topic and rule. A new one is handed to the planner by its
 * `next_due_at`; waking the planner is left to the caller, as the last thing in the transaction.
 *
 * @param wanted may ask for the same one many times
 * @returns one for each wanted, in order
 */
export async function findOrCreateSchedules(
  executor: Executor,
  wanted: readonly WantedSchedule[],
): Promise<ScheduleRef[]> {
  const keys = wanted.map(({ topicId, rule }) => JSON.stringify([topicId, rule]));
  const distinct = new Map(wanted.map((schedule, index) => [keys[index], schedule]));
  const stored = await storeDistinct(executor, [...distinct.values()]);
  const byKey = new Map([...distinct.keys()].map((key, index) => [key, stored[index]]));
  return keys.flatMap((key) => byKey.get(key) ?? []);
}

async function storeDistinct(executor: Executor, wanted: readonly WantedSchedule[]): Promise<ScheduleRef[]> {
  const found = await findSchedules(executor, wanted);
  const missing = wanted.filter((_, index) => !found.has(index));
  const createdIds = await createSchedules(executor, missing);
  if (missing.length > 0) {
    const added = await findSchedules(executor, missing);
    for (const [index, ref] of added) {
      const schedule = missing[index];
      if (schedule !== undefined) found.set(wanted.indexOf(schedule), ref);
    }
  }
  return wanted.map((_, index) => {
    const ref = found.get(index);
    if (ref === undefined) throw new CarillonError("internal", "A schedule was not stored.");
    return { ...ref, created: createdIds.has(ref.scheduleId) };
  });
}

async function findSchedules(
  executor: Executor,
  wanted: readonly WantedSchedule[],
): Promise<Map<number, Omit<ScheduleRef, "created">>> {
  const { rows } = await executor.query<{ index: number; schedule_id: string; rule: Rule; paused: boolean }>(
    `select w.index::int - 1 as index, s.schedule_id, s.rule, s.paused_at is not null as paused
     from unnest($1::int[], $2::jsonb[]) with ordinality as w (topic_id, rule, index)
     join carillon.schedules s
       on s.topic_id = w.topic_id and s.rule_hash = carillon.rule_hash(carillon.canonical_rule(w.rule))`,
    [wanted.map((schedule) => schedule.topicId), wanted.map((schedule) => JSON.stringify(schedule.rule))],
  );
  return new Map(rows.map((row) => [row.index, { scheduleId: row.schedule_id, rule: row.rule, paused: row.paused }]));
}

/** In the order of topic and rule, so that two transactions that make the same ones don't wait for each other both. */
async function createSchedules(executor: Executor, wanted: readonly WantedSchedule[]): Promise<Set<string>> {
  if (wanted.length === 0) return new Set();
  const { rows } = await executor.query<{ schedule_id: string }>(
    `insert into carillon.schedules (topic_id, rule, place_id, next_due_at, planned_through)
     select w.topic_id, w.rule, w.place_id, now.at, now.at
     from (
       select topic_id, carillon.canonical_rule(rule) as rule, place_id
       from unnest($1::int[], $2::jsonb[], $3::int[]) as u (topic_id, rule, place_id)
       offset 0
     ) as w
     cross join (select carillon.clock() as at offset 0) as now
     order by w.topic_id, w.rule
     on conflict (topic_id, rule_hash) do nothing
     returning schedule_id`,
    [
      wanted.map((schedule) => schedule.topicId),
      wanted.map((schedule) => JSON.stringify(schedule.rule)),
      wanted.map(({ rule }) => (rule.kind === "timetable" ? rule.placeId : null)),
    ],
  );
  return new Set(rows.map((row) => row.schedule_id));
}

/** @throws unknown_schedule */
export async function readSchedule(db: Database, scheduleId: string): Promise<Schedule> {
  const { rows } = await db.pool.query<ScheduleRow>(
    `select s.schedule_id, o.name as topic, s.rule, s.paused_at, s.created_at, o.paused_at is not null as topic_paused,
            extract(epoch from carillon.clock())::float8 * 1000 as now_ms, ${placeTimesColumns}
     from carillon.schedules s
     join carillon.topics o using (topic_id)
     left join carillon.places p using (place_id)
     where s.schedule_id = $1`,
    [scheduleId],
  );
  const [row] = rows;
  if (row === undefined) throw new CarillonError("unknown_schedule", `There is no schedule ${scheduleId}.`);
  const place = await foundPlaceOrNone(db.pool, row);
  const paused = row.paused_at !== null || row.topic_paused;
  return {
    scheduleId: row.schedule_id,
    topic: row.topic,
    rule: row.rule,
    place,
    nextDueAt: paused ? null : nextPromised(row.rule, place, row.now_ms),
    pausedAt: row.paused_at,
    createdAt: row.created_at,
  };
}

/**
 * The first moment of a rule that lies far enough ahead of `nowMs` to be promised, and not before `countsFromMs` (both
 * epoch milliseconds).
 */
export function nextPromised(rule: Rule, place: FoundPlace | null, nowMs: number, countsFromMs = 0): Date | null {
  const next = nextOccurrenceAfter(rule, place, Math.max(Math.ceil(nowMs + promiseAfterMs), countsFromMs) - 1);
  return next === null ? null : new Date(next.dueAtMs);
}

interface ScheduleRow extends PlaceTimesRow {
  readonly schedule_id: string;
  readonly topic: string;
  readonly rule: Rule;
  readonly paused_at: Date | null;
  readonly created_at: Date;
  readonly topic_paused: boolean;
  readonly now_ms: number;
}
