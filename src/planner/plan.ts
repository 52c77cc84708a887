import { readClocks } from "../store/clock.ts";
import type { Database } from "../store/database.ts";
import { planBatch, type SchedulePlan, type ScheduleToPlan } from "../store/plan.ts";
import { catchUp, missedAt } from "../timetable/catch-up.ts";
import { nextOccurrenceAfter, occurrencesBetween } from "../timetable/occurrences.ts";
import { parsePrayerTimetable } from "../timetable/prayer.ts";
import type { PlaceTimes } from "../timetable/timetable.ts";

export interface PlannerOptions {
  readonly horizonMs: number;
  readonly leadMs: number;
}

/** Beyond this a moment counts as missed: nobody planned when they should have, and the topic's catch-up decides. Real. */
export const missedAfterMs = 15_000;
/** A timetable that yields nothing for so long (a polar night) is asked again a day later. */
const askAgainMs = 86_400_000;
/** A corrected place or timetable may move a moment by hours, beyond what is planned for or to before now. */
const moveSearchMs = 86_400_000;
const batch = 500;

/** What is planned must last until the next cron minute, though one is lost, and that takes real time. */
const planEveryMs = 120_000;

/**
 * How far ahead of carillon.clock() to plan: as configured, but with a development clock at least for as long as it takes
 * until the planner surely comes again, and the lead.
 * @param speed seconds of carillon.clock() in a real second
 * @returns milliseconds of carillon.clock()
 */
export function horizonAt(speed: number, { horizonMs, leadMs }: PlannerOptions): number {
  return speed === 1 ? horizonMs : Math.max(horizonMs, Math.ceil((planEveryMs + leadMs) * speed));
}

/** Plans every schedule whose next moment is within the horizon. */
export async function planDue(
  db: Database,
  options: PlannerOptions,
  signal: AbortSignal,
): Promise<{ schedules: number; buckets: number }> {
  const { speed } = await readClocks(db.pool);
  const horizonMs = horizonAt(speed, options);
  let schedules = 0;
  let buckets = 0;
  while (!signal.aborted) {
    const done = await planBatch(db, { ...options, horizonMs, batch }, (taken, nowMs) =>
      taken.map((schedule) => planSchedule(schedule, nowMs, horizonMs, missedAfterMs * speed)),
    );
    schedules += done.schedules;
    buckets += done.buckets;
    if (done.schedules < batch) break;
  }
  return { schedules, buckets };
}

/**
 * The moments of one schedule up to the horizon. Pure: the same inputs give the same plan, on any node, at any time.
 * Moments that are planned already come again from here; their keys keep them from being made twice, and that is how a
 * corrected timetable moves them.
 * @param nowMs epoch milliseconds, carillon.clock()
 * @param horizonMs how far ahead of that
 * @param toleranceMs how long ago a moment may be that is not missed
 */
export function planSchedule(
  schedule: ScheduleToPlan,
  nowMs: number,
  horizonMs: number,
  toleranceMs = missedAfterMs,
): SchedulePlan {
  const place = placeTimes(schedule);
  const fromMs = Math.min(schedule.plannedThroughMs, nowMs);
  const throughMs = nowMs + horizonMs;
  const { missed, current } = missedAt(occurrencesBetween(schedule.rule, place, fromMs, throughMs), nowMs, toleranceMs);
  const { fire, skip } = catchUp(schedule.catchUp, missed);
  const next = nextOccurrenceAfter(schedule.rule, place, throughMs);
  return {
    schedule,
    buckets: [
      ...skip.map(({ key, dueAtMs }) => ({ occurrence: key, dueAtMs, skipped: true })),
      ...[...fire, ...current].map(({ key, dueAtMs }) => ({ occurrence: key, dueAtMs, skipped: false })),
    ],
    moves: movedBeyond(schedule, place, fromMs, throughMs),
    plannedThroughMs: throughMs,
    nextDueAtMs: next?.dueAtMs ?? (schedule.rule.kind === "timetable" ? throughMs + askAgainMs : null),
  };
}

/** What has a time bucket and is now due outside (from, through]: found by its key. An instant is its own key. */
function movedBeyond(
  { rule, movable }: ScheduleToPlan,
  place: PlaceTimes | null,
  fromMs: number,
  throughMs: number,
): SchedulePlan["moves"] {
  if (movable.length === 0 || rule.kind === "instant") return [];
  return occurrencesBetween(rule, place, fromMs - moveSearchMs, throughMs + moveSearchMs)
    .filter(({ key, dueAtMs }) => movable.includes(key) && (dueAtMs <= fromMs || dueAtMs > throughMs))
    .map(({ key, dueAtMs }) => ({ occurrence: key, dueAtMs }));
}

function placeTimes({ place }: ScheduleToPlan): PlaceTimes | null {
  if (place === null) return null;
  return { ...place, timetable: parsePrayerTimetable(place.timetable.parameters) };
}
