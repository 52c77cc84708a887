import { asError } from "../errors.ts";
import type { Rule } from "../reminder/rule.ts";
import { readClocks } from "../store/clock.ts";
import type { Database } from "../store/database.ts";
import { planBatch, type SchedulePlan, type ScheduleToPlan } from "../store/plan.ts";
import { handOverOlder } from "../store/zone-data.ts";
import { catchUp, missedAt } from "../timetable/catch-up.ts";
import { hasEnded, occurrencesAndNext, occurrencesBetween } from "../timetable/occurrences.ts";

export interface PlannerOptions {
  readonly horizonMs: number;
  readonly leadMs: number;
  /** the version of this process' zone data (`process.versions.tz`), to be kept with what is planned under it */
  readonly tzdata?: string | undefined;
}

/** Beyond this a moment counts as missed: nobody planned when they should have, and the topic's catch-up decides. Real. */
export const missedAfterMs = 15_000;
/** A timetable that yields nothing for so long (a polar night) is asked again a day later. */
const askAgainMs = 86_400_000;
/** A corrected place or timetable may move a moment by hours, beyond what is planned for or to before now. */
const moveSearchMs = 86_400_000;
/** A schedule that can't be planned is tried again after this: somebody may have set right what is wrong. */
const faultRetryMs = 60_000;
/** As many as are written in less than 100 ms: whoever pauses one of them or corrects its place waits for so long. */
const batch = 1000;
/** Batches at once, where there is more than one: Node lays the moments of one out while Postgres writes another. */
const atOnce = 3;

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

export interface Planned {
  readonly schedules: number;
  /** new or moved, and to be cut */
  readonly buckets: number;
  /** what is due by then is to be cut now: carillon.clock(), epoch milliseconds */
  readonly cutByMs: number;
}

/**
 * Plans every schedule whose next moment is within the horizon, and those that were planned last by a node with older zone
 * data than ours.
 */
export async function planDue(db: Database, options: PlannerOptions, signal: AbortSignal): Promise<Planned> {
  const { speed } = await readClocks(db.pool);
  const horizonMs = horizonAt(speed, options);
  const cutAheadMs = options.leadMs * speed;
  let schedules = 0;
  let buckets = 0;
  let nowMs = 0;
  if (options.tzdata !== undefined && !signal.aborted) await handOverOlder(db, options.tzdata, horizonMs);

  const lanes: Promise<Error | null>[] = [];
  function beginLane(): void {
    if (lanes.length < atOnce) lanes.push(planOn().then(() => null, asError));
  }
  async function planOn(): Promise<void> {
    for (let full = true; full && !signal.aborted; ) {
      const done = await planBatch(db, { ...options, horizonMs, batch, cutAheadMs }, (taken, nowMs) => {
        if (taken.length === batch) beginLane();
        return taken.map((schedule) => planOrSayWhyNot(schedule, nowMs, horizonMs, missedAfterMs * speed));
      });
      schedules += done.schedules;
      buckets += done.buckets;
      nowMs = Math.max(nowMs, done.nowMs);
      full = done.schedules === batch;
    }
  }

  beginLane();
  const failures: (Error | null)[] = [];
  // also where one has failed: none goes on behind its caller's back
  for (const lane of lanes) failures.push(await lane);
  for (const failure of failures) if (failure !== null) throw failure;
  return { schedules, buckets, cutByMs: nowMs + cutAheadMs };
}

/** One schedule that can't be planned must not keep the rest of its batch from being planned; `attention` shows it. */
export function planOrSayWhyNot(
  schedule: ScheduleToPlan,
  nowMs: number,
  horizonMs: number,
  toleranceMs = missedAfterMs,
): SchedulePlan {
  try {
    return planSchedule(schedule, nowMs, horizonMs, toleranceMs);
  } catch (error) {
    const fault = error instanceof Error ? error.message : String(error);
    const { plannedThroughMs } = schedule;
    const nextDueAtMs = nowMs + horizonMs + faultRetryMs;
    return { schedule, buckets: [], moves: [], gone: [], plannedThroughMs, nextDueAtMs, fault };
  }
}

/**
 * The moments of one schedule up to the horizon. Pure: the same inputs give the same plan, on any node, at any time.
 * Moments that are planned already come again from here; their keys keep them from being made twice, and that is how a
 * corrected timetable moves them.
 *
 * @param nowMs epoch milliseconds, carillon.clock()
 * @param horizonMs how far ahead of that
 * @param toleranceMs how long ago a moment may be that is not missed
 * @throws what its place's timetable can't be read for; unknown_place; unknown_zone
 */
export function planSchedule(
  schedule: ScheduleToPlan,
  nowMs: number,
  horizonMs: number,
  toleranceMs = missedAfterMs,
): SchedulePlan {
  if (schedule.fault !== null) throw schedule.fault;
  const { place } = schedule;
  const fromMs = Math.min(schedule.plannedThroughMs, nowMs);
  const throughMs = nowMs + horizonMs;
  const { due, next } = occurrencesAndNext(schedule.rule, place, fromMs, throughMs);
  const { missed, current } = missedAt(due, nowMs, toleranceMs);
  const { fire, skip } = catchUp(schedule.catchUp, missed);
  return {
    schedule,
    buckets: [
      ...skip.map(({ key, dueAtMs }) => ({ occurrence: key, dueAtMs, skipped: true })),
      ...[...fire, ...current].map(({ key, dueAtMs }) => ({ occurrence: key, dueAtMs, skipped: false })),
    ],
    ...movedOrGone(schedule, nowMs, fromMs, throughMs),
    plannedThroughMs: throughMs,
    nextDueAtMs: next?.dueAtMs ?? (mayComeAgain(schedule.rule, throughMs) ? throughMs + askAgainMs : null),
    fault: null,
  };
}

/** A timetable may have times again that it has none of now; other rules have said all that they say. */
function mayComeAgain(rule: Rule, atMs: number): boolean {
  return rule.kind === "timetable" && !hasEnded(rule, atMs);
}

/**
 * What has a time bucket and is now due outside (from, through], found by its key; and what was still to come and has no
 * time any more. An instant is its own key.
 */
function movedOrGone(
  { rule, place, movable }: ScheduleToPlan,
  nowMs: number,
  fromMs: number,
  throughMs: number,
): Pick<SchedulePlan, "moves" | "gone"> {
  if (movable.length === 0 || rule.kind === "instant") return { moves: [], gone: [] };
  const dues = movable.map(({ dueAtMs }) => dueAtMs);
  const searchFromMs = Math.min(fromMs, ...dues) - moveSearchMs;
  const searchThroughMs = Math.max(throughMs, ...dues) + moveSearchMs;
  const found = new Map(
    occurrencesBetween(rule, place, searchFromMs, searchThroughMs).map(({ key, dueAtMs }) => [key, dueAtMs]),
  );
  return {
    moves: movable.flatMap(({ occurrence }) => {
      const dueAtMs = found.get(occurrence);
      return dueAtMs === undefined || (dueAtMs > fromMs && dueAtMs <= throughMs) ? [] : [{ occurrence, dueAtMs }];
    }),
    gone: movable
      .filter(({ occurrence, dueAtMs }) => dueAtMs > nowMs && !found.has(occurrence))
      .map(({ occurrence }) => occurrence),
  };
}
