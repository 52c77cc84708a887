import type { CarillonError } from "../errors.ts";
import type { Rule } from "../reminder/rule.ts";
import type { PlaceTimes } from "../timetable/timetable.ts";
import type { TimetableVersion } from "../timetable/versions.ts";
import type { Executor } from "./executor.ts";
import { readVersions, type VersionsRead } from "./timetable-versions.ts";

/** A schedule that is to be planned, with all that its moments depend on. */
export interface ScheduleToPlan {
  readonly scheduleId: string;
  readonly topicId: number;
  readonly rule: Rule;
  /** epoch milliseconds: moments up to here have their time buckets */
  readonly plannedThroughMs: number;
  /** time buckets that no worker has claimed yet: the only ones that can still move */
  readonly movable: readonly MovableBucket[];
  readonly expiresAfterMs: number;
  readonly catchUp: "skip" | "latest" | "all";
  readonly place: PlaceTimes | null;
  /** why its times can't be known: what its timetable says can't be read */
  readonly fault: CarillonError | null;
}

export interface MovableBucket {
  readonly bucketId: string;
  readonly occurrence: string;
  readonly dueAtMs: number;
  /** the zone data that it was planned under; null: none on record */
  readonly tzdata: string | null;
}

/**
 * Schedules as the planner reads them, in two statements however many they are. Those that share a timetable share its
 * versions, too: it is read and understood once.
 *
 * @param which of `carillon.schedules s` and `carillon.topics t`: from the WHERE on
 * @param given versions to be taken for a timetable's own: for whoever asks what would be
 */
export async function readSchedules(
  executor: Executor,
  which: string,
  values: readonly unknown[],
  given: ReadonlyMap<number, readonly TimetableVersion[]> = new Map(),
): Promise<{ schedules: ScheduleToPlan[]; nowMs: number }> {
  const { rows } = await executor.query<ScheduleRow>(
    `select s.schedule_id, s.topic_id, s.rule, (extract(epoch from s.planned_through) * 1000)::float8 as planned_through_ms,
       (
         select jsonb_agg(jsonb_build_object('bucketId', b.bucket_id::text, 'occurrence', b.occurrence,
           'dueAtMs', (extract(epoch from b.due_at) * 1000)::float8, 'tzdata', b.tzdata))
         from carillon.time_buckets b
         where b.schedule_id = s.schedule_id and s.rule ->> 'kind' <> 'instant' and b.round = 0 and b.closed_at is null
           and not exists (select from carillon.groups g where g.bucket_id = b.bucket_id and g.epoch > 0)
       ) as movable,
       t.expires_after_ms, t.catch_up,
       p.place_id, p.latitude, p.longitude, p.zone, p.country, p.timetable_id,
       (select (extract(epoch from carillon.clock()) * 1000)::float8) as now_ms
     from carillon.schedules s
     join carillon.topics t on t.topic_id = s.topic_id
     left join carillon.places p on p.place_id = s.place_id
     ${which}`,
    [...values],
  );
  const read = await readVersions(
    executor,
    rows.flatMap(({ timetable_id: id }) => (id === null || given.has(id) ? [] : [id])),
  );
  const known = new Map<number, VersionsRead | readonly TimetableVersion[]>([...read, ...given]);
  const schedules = rows.map((row) => ({
    scheduleId: row.schedule_id,
    topicId: row.topic_id,
    rule: row.rule,
    plannedThroughMs: row.planned_through_ms,
    movable: row.movable ?? [],
    expiresAfterMs: row.expires_after_ms,
    catchUp: row.catch_up,
    ...placeOf(row, known),
  }));
  return { schedules, nowMs: rows[0]?.now_ms ?? 0 };
}

interface ScheduleRow {
  readonly schedule_id: string;
  readonly topic_id: number;
  readonly rule: Rule;
  readonly planned_through_ms: number;
  /** null: none */
  readonly movable: MovableBucket[] | null;
  readonly expires_after_ms: number;
  readonly catch_up: "skip" | "latest" | "all";
  readonly place_id: number | null;
  readonly latitude: number | null;
  readonly longitude: number | null;
  readonly zone: string | null;
  readonly country: string | null;
  readonly timetable_id: number | null;
  readonly now_ms: number;
}

function placeOf(
  row: ScheduleRow,
  known: ReadonlyMap<number, VersionsRead | readonly TimetableVersion[]>,
): Pick<ScheduleToPlan, "place" | "fault"> {
  const { place_id: placeId, latitude, longitude, zone, timetable_id: timetableId } = row;
  if (placeId === null || latitude === null || longitude === null || zone === null || timetableId === null) {
    return { place: null, fault: null };
  }
  const versions = known.get(timetableId) ?? [];
  if (versions instanceof Error) return { place: null, fault: versions };
  return { place: { placeId, latitude, longitude, zone, country: row.country, versions }, fault: null };
}
