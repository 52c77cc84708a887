import type { Rule } from "../reminder/rule.ts";
import type { Database } from "../store/database.ts";
import { timetableOf } from "../store/place-times.ts";
import { planBatch, type SchedulePlan, type ScheduleToPlan } from "../store/plan.ts";
import { catchUp, missedAt } from "../timetable/catch-up.ts";
import { hasEnded, nextOccurrenceAfter, occurrencesBetween } from "../timetable/occurrences.ts";
import type { PlaceTimes } from "../timetable/timetable.ts";

export interface PlannerOptions {
  readonly horizonMs: number;
  readonly leadMs: number;
}

/** Beyond this a moment counts as missed: nobody planned when they should have, and the topic's catch-up decides. */
export const missedAfterMs = 15_000;
/** A timetable that yields nothing for so long (a polar night) is asked again a day later. */
const askAgainMs = 86_400_000;
/** A corrected place or timetable may move a moment by hours, beyond what is planned for or to before now. */
const moveSearchMs = 86_400_000;
const batch = 500;

/** Plans every schedule whose next moment is within the horizon. */
export async function planDue(
  db: Database,
  options: PlannerOptions,
  signal: AbortSignal,
): Promise<{ schedules: number; buckets: number }> {
  let schedules = 0;
  let buckets = 0;
  while (!signal.aborted) {
    const done = await planBatch(db, { ...options, batch }, (taken, nowMs) =>
      taken.map((schedule) => planSchedule(schedule, nowMs, options.horizonMs)),
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
 * @param nowMs epoch milliseconds, Postgres' clock
 */
export function planSchedule(schedule: ScheduleToPlan, nowMs: number, horizonMs: number): SchedulePlan {
  const place = placeTimes(schedule);
  const fromMs = Math.min(schedule.plannedThroughMs, nowMs);
  const throughMs = nowMs + horizonMs;
  const { missed, current } = missedAt(
    occurrencesBetween(schedule.rule, place, fromMs, throughMs),
    nowMs,
    missedAfterMs,
  );
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
    nextDueAtMs: next?.dueAtMs ?? (mayComeAgain(schedule.rule, throughMs) ? throughMs + askAgainMs : null),
  };
}

/** A timetable may have times again that it has none of now; other rules have said all that they say. */
function mayComeAgain(rule: Rule, atMs: number): boolean {
  return rule.kind === "timetable" && !hasEnded(rule, atMs);
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

/** What a schedule's times depend on; null where its rule has no place. */
export function placeTimes({ place }: ScheduleToPlan): PlaceTimes | null {
  if (place === null) return null;
  return { ...place, timetable: timetableOf(place.timetable.kind, place.timetable.parameters) };
}
