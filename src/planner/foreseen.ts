/**
 * What planning would come to, without writing it: the planner's own plan (`planSchedule`), laid over the time buckets
 * that are there as `planBatch` lays it over them. test/planner/foreseen.test.ts holds the two together.
 *
 * The real `planBatch` and cut are not run and rolled back for this: they would lock the schedules, which other planners
 * then pass over (SKIP LOCKED), and make partitions of the ledger.
 */
import type { BucketThere, Outlook } from "../store/foresight.ts";
import type { SchedulePlan, ScheduleToPlan } from "../store/plan.ts";
import { planSchedule } from "./plan.ts";

export interface ForeseenMoment {
  readonly occurrence: string;
  readonly round: number;
  readonly dueAtMs: number;
  readonly expiresAtMs: number;
  /** null: not made yet */
  readonly bucket: BucketThere | null;
  /** `stands`: as its bucket has it; `moves`: its bucket will; `new`: to be planned; `skipped`: missed, by catch-up */
  readonly change: "stands" | "moves" | "new" | "skipped";
}

/**
 * The plan that the schedule's next planning gives for moments up to `throughMs`, or none where it is not to be planned
 * before then. Of a time ahead of now, it is what it will be if planners go on as they should.
 *
 * @param asOfMs epoch milliseconds: the time at which it is planned, not before `nowMs`
 * @param nowMs epoch milliseconds, carillon.clock()
 */
export function planAhead(outlook: Outlook, asOfMs: number, nowMs: number, throughMs: number): SchedulePlan | null {
  const { schedule, nextDueAtMs } = outlook;
  if (nextDueAtMs === null || nextDueAtMs > throughMs) return null;
  return planSchedule(plannedUntil(schedule, asOfMs, nowMs), asOfMs, throughMs - asOfMs);
}

/** Whoever asks about a time ahead wants to know what comes, not what would be missed if nobody planned until then. */
function plannedUntil(schedule: ScheduleToPlan, asOfMs: number, nowMs: number): ScheduleToPlan {
  if (asOfMs <= nowMs) return schedule;
  return { ...schedule, plannedThroughMs: Math.max(schedule.plannedThroughMs, asOfMs) };
}

/**
 * The schedule's moments once that plan has been carried out, by instant.
 *
 * @param there its time buckets: at least those of the plan's occurrences
 */
export function foreseeMoments(
  schedule: ScheduleToPlan,
  plan: SchedulePlan | null,
  there: readonly BucketThere[],
): ForeseenMoment[] {
  const wanted = new Map([...(plan?.buckets ?? []), ...(plan?.moves ?? [])].map((each) => [each.occurrence, each]));
  const first = there.filter(({ round }) => round === 0);
  const known = new Set(first.map(({ occurrence }) => occurrence));
  const made = (plan?.buckets ?? []).filter(({ occurrence }) => !known.has(occurrence));
  return [
    ...there.map((bucket) => afterPlanning(bucket, movesTo(bucket, schedule, wanted.get(bucket.occurrence)))),
    ...made.map(({ occurrence, dueAtMs, skipped }) => ({
      occurrence,
      round: 0,
      dueAtMs,
      expiresAtMs: dueAtMs + schedule.expiresAfterMs,
      bucket: null,
      change: skipped ? ("skipped" as const) : ("new" as const),
    })),
  ].sort((a, b) => a.dueAtMs - b.dueAtMs);
}

/** A plan moves what has not been claimed, cancelled or closed; anything else stays where it is. */
function movesTo(
  bucket: BucketThere,
  schedule: ScheduleToPlan,
  wanted: { readonly dueAtMs: number } | undefined,
): number {
  const free = bucket.round === 0 && !bucket.cancelled && schedule.movable.includes(bucket.occurrence);
  return free ? (wanted?.dueAtMs ?? bucket.dueAtMs) : bucket.dueAtMs;
}

function afterPlanning(bucket: BucketThere, dueAtMs: number): ForeseenMoment {
  const { occurrence, round, expiresAtMs } = bucket;
  const moved = dueAtMs !== bucket.dueAtMs;
  return {
    occurrence,
    round,
    dueAtMs,
    expiresAtMs: expiresAtMs + (dueAtMs - bucket.dueAtMs),
    bucket,
    change: moved ? "moves" : "stands",
  };
}
