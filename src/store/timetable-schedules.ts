import type { TimetableVersion } from "../timetable/versions.ts";
import { countPopulations } from "./cut.ts";
import type { Executor } from "./executor.ts";
import { readSchedules, type ScheduleToPlan } from "./schedule-to-plan.ts";

/**
 * The schedules at the places of a timetable, as the planner reads them, a page at a time and without locks.
 *
 * @param versions to be taken for the timetable's own
 * @param page in the order of their ids, beginning behind `after`
 */
export function schedulesWithTimetable(
  executor: Executor,
  timetableId: number,
  versions: readonly TimetableVersion[],
  page: { readonly after: string; readonly limit: number },
): Promise<{ schedules: ScheduleToPlan[]; nowMs: number }> {
  return readSchedules(
    executor,
    "where p.timetable_id = $1 and s.schedule_id > $2::bigint order by s.schedule_id limit $3",
    [timetableId, page.after, page.limit],
    new Map([[timetableId, versions]]),
  );
}

/** A moment whose time no correction changes any more. */
export interface SettledMoment {
  readonly scheduleId: string;
  readonly occurrence: string;
  readonly dueAtMs: number;
  /** a worker has claimed it, or had; else it was cancelled or skipped */
  readonly claimed: boolean;
}

/** Settled moments of these schedules, back to two days ago: no correction reaches farther. */
export async function settledMoments(executor: Executor, scheduleIds: readonly string[]): Promise<SettledMoment[]> {
  const { rows } = await executor.query<{
    schedule_id: string;
    occurrence: string;
    due_at_ms: number;
    claimed: boolean;
  }>(
    `select b.schedule_id, b.occurrence, (extract(epoch from b.due_at) * 1000)::float8 as due_at_ms, g.claimed
     from carillon.time_buckets b
     cross join lateral (
       select exists (select from carillon.groups g where g.bucket_id = b.bucket_id and g.epoch > 0) as claimed
     ) g
     where b.schedule_id = any ($1::bigint[]) and b.round = 0 and b.due_at > carillon.clock() - interval '2 days'
       and (g.claimed or b.closed_at is not null)`,
    [scheduleIds],
  );
  return rows.map((row) => ({
    scheduleId: row.schedule_id,
    occurrence: row.occurrence,
    dueAtMs: row.due_at_ms,
    claimed: row.claimed,
  }));
}

/** What people call a schedule by. */
export interface ScheduleLabel {
  readonly topic: string;
  readonly place: { readonly placeId: number; readonly key: string; readonly name: string };
  /** live subscriptions: exact to 20,000, then estimated, as the cut has it */
  readonly people: number;
}

/** Of schedules that have a place. */
export async function labelSchedules(
  executor: Executor,
  scheduleIds: readonly string[],
): Promise<Map<string, ScheduleLabel>> {
  const { rows } = await executor.query<{
    schedule_id: string;
    topic: string;
    place_id: number;
    key: string;
    name: string;
  }>(
    `select s.schedule_id, t.name as topic, p.place_id, p.key, p.name
     from carillon.schedules s
     join carillon.topics t using (topic_id)
     join carillon.places p using (place_id)
     where s.schedule_id = any ($1::bigint[])`,
    [scheduleIds],
  );
  const people = await countPopulations(executor, scheduleIds);
  return new Map(
    rows.map(({ schedule_id: id, topic, place_id: placeId, key, name }) => [
      id,
      { topic, place: { placeId, key, name }, people: people.get(id) ?? 0 },
    ]),
  );
}
