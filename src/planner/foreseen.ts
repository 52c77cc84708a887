/**
 * What planning would come to, without writing it: the planner's own plan (`planSchedule`), laid over the time buckets
 * that are there as `planBatch` lays it over them. test/planner/foreseen.test.ts holds the two together.
 *
 * The real `planBatch` and cut are not run and rolled back for this: they would lock the schedules, which other planners
 * then pass over (SKIP LOCKED), and make partitions of the ledger.
 */
import type { BucketThere, Outlook } from "../store/foresight.ts";
import { changesTo, type SchedulePlan, type ScheduleToPlan } from "../store/plan.ts";
import { planOrSayWhyNot } from "./plan.ts";

export interface ForeseenMoment {
  readonly occurrence: string;
  readonly round: number;
  readonly dueAtMs: number;
  readonly expiresAtMs: number;
  /** null: not made yet */
  readonly bucket: BucketThere | null;
  /**
   * `stands`: as its bucket has it; `moves`: its bucket will; `dropped`: its bucket goes, since the rule no longer has this
   * moment; `new`: to be planned; `skipped`: missed, by catch-up
   */
  readonly change: "stands" | "moves" | "dropped" | "new" | "skipped";
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
  return planOrSayWhyNot(plannedUntil(schedule, asOfMs, nowMs), asOfMs, throughMs - asOfMs);
}

/** Whoever asks about a time ahead wants to know what comes, not what would be missed if nobody planned until then. */
function plannedUntil(schedule: ScheduleToPlan, asOfMs: number, nowMs: number): ScheduleToPlan {
  if (asOfMs <= nowMs) return schedule;
  return { ...schedule, plannedThroughMs: Math.max(schedule.plannedThroughMs, asOfMs) };
}

/** All that a plan may have a time bucket of: what to look for among those that are there. */
export function occurrencesOf(plan: SchedulePlan | null): string[] {
  return [...(plan?.buckets ?? []), ...(plan?.moves ?? [])].map(({ occurrence }) => occurrence);
}

/**
 * The schedule's moments once that plan has been carried out, by instant.
 *
 * @param there its time buckets: at least those of the plan's occurrences
 * @param tzdata the version of this process' zone data
 */
export function foreseeMoments(
  schedule: ScheduleToPlan,
  plan: SchedulePlan | null,
  there: readonly BucketThere[],
  tzdata: string,
): ForeseenMoment[] {
  const { moved, dropped } = plan === null ? nothingChanges : changesTo(plan, tzdata);
  const movedTo = new Map(moved.map(({ bucketId, dueAtMs }) => [bucketId, dueAtMs]));
  const known = new Set(there.flatMap(({ occurrence, round }) => (round === 0 ? [occurrence] : [])));
  const made = (plan?.buckets ?? []).filter(({ occurrence }) => !known.has(occurrence));
  return [
    ...there.map((bucket) => {
      // as a plan is carried out: what was cancelled meanwhile stays
      const free = !bucket.cancelled;
      if (free && dropped.includes(bucket.bucketId)) return asPlanned(bucket, bucket.dueAtMs, "dropped");
      const toMs = free ? movedTo.get(bucket.bucketId) : undefined;
      return toMs === undefined ? asPlanned(bucket, bucket.dueAtMs, "stands") : asPlanned(bucket, toMs, "moves");
    }),
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

const nothingChanges: Pick<ReturnType<typeof changesTo>, "moved" | "dropped"> = { moved: [], dropped: [] };

function asPlanned(bucket: BucketThere, dueAtMs: number, change: ForeseenMoment["change"]): ForeseenMoment {
  const { occurrence, round } = bucket;
  const expiresAtMs = bucket.expiresAtMs + (dueAtMs - bucket.dueAtMs);
  return { occurrence, round, dueAtMs, expiresAtMs, bucket, change };
}
