/** What planning and cutting would do at a time: the time buckets, how many people, how many groups. Nothing is written. */
import { CarillonError } from "../errors.ts";
import { type CutPolicy, groupCount } from "../reminder/group.ts";
import type { Rule } from "../reminder/rule.ts";
import { countLiveWorkers, countPopulations } from "../store/cut.ts";
import type { Database } from "../store/database.ts";
import type { Executor } from "../store/executor.ts";
import { bucketsThere, type Outlook, readOutlooks } from "../store/foresight.ts";
import { readNow, readOnly } from "../store/inspection.ts";
import { type ForeseenMoment, foreseeMoments, occurrencesOf, planAhead } from "./foreseen.ts";

export interface RehearseOptions {
  /** epoch milliseconds at which it is planned; null: now */
  readonly atMs: number | null;
  /** how far from there on; the planner's own is its horizon */
  readonly withinMs: number;
  readonly cut: Omit<CutPolicy, "liveNodes"> & { readonly aliveMs: number };
  /** schedules that are read in one go; default 500, as the planner takes them */
  readonly batch?: number;
  /** of the zone data that this process reckons with */
  readonly tzdata: string;
}

export interface RehearsedBucket {
  /** bigint */
  readonly scheduleId: string;
  readonly topic: string;
  readonly rule: Rule;
  readonly place: Outlook["place"];
  readonly occurrence: string;
  readonly round: number;
  readonly dueAt: Date;
  readonly change: ForeseenMoment["change"];
  /** null: to be made */
  readonly bucketId: string | null;
  /** it will be cut, and its groups will wait */
  readonly paused: boolean;
  /** who was subscribed when it was cut; else who is now, counted as the cut counts */
  readonly population: number;
  /** 0: it will not be cut */
  readonly groups: number;
}

export interface RehearsedPlan {
  readonly clock: Date;
  readonly at: Date;
  readonly through: Date;
  /** live workers, which decide on the number of groups */
  readonly liveNodes: number;
  /** schedules that the planner would plan */
  readonly schedules: number;
  /** by instant */
  readonly buckets: readonly RehearsedBucket[];
  /** schedules that can't be planned, and why */
  readonly faults: readonly { readonly scheduleId: string; readonly text: string }[];
}

/**
 * Rehearses planning at a time: what it would make and move, and what is there already and due within.
 *
 * Each batch is a short read-only transaction of its own, so that no old view of the data is held however many schedules
 * there are; nothing is locked. Between two batches the world may move on, as it may between two batches of the planner.
 *
 * @throws invalid_request for a time that has passed
 */
export async function rehearsePlan(db: Pick<Database, "pool">, options: RehearseOptions): Promise<RehearsedPlan> {
  const { withinMs, cut, batch = 500, tzdata } = options;
  const { clock, liveNodes } = await readOnly(db, async (executor) => ({
    clock: await readNow(executor),
    liveNodes: await countLiveWorkers(executor, cut.aliveMs),
  }));
  const nowMs = clock.getTime();
  const atMs = options.atMs ?? nowMs;
  if (atMs < nowMs) {
    throw new CarillonError("invalid_request", "Planning looks ahead: say a time that has not passed.", {
      pointer: "/at",
    });
  }
  const span = { nowMs, atMs, throughMs: atMs + withinMs, tzdata };
  const buckets: RehearsedBucket[] = [];
  const faults: { scheduleId: string; text: string }[] = [];
  let schedules = 0;
  for (let after = "0"; ; ) {
    const done = await readOnly(db, (executor) => rehearseBatch(executor, span, { ...cut, liveNodes }, after, batch));
    buckets.push(...done.buckets);
    faults.push(...done.faults);
    schedules += done.planned;
    if (done.last === null) break;
    after = done.last;
  }
  buckets.sort((a, b) => a.dueAt.getTime() - b.dueAt.getTime());
  return { clock, at: new Date(atMs), through: new Date(span.throughMs), liveNodes, schedules, buckets, faults };
}

interface Span {
  readonly nowMs: number;
  readonly atMs: number;
  readonly throughMs: number;
  readonly tzdata: string;
}

/** Those that the planner would take, and those that have a moment within that stands. */
const concerned = `
  where s.schedule_id > $1::bigint
    and (s.next_due_at <= to_timestamp($2::float8 / 1000)
         or s.schedule_id in (
           select b.schedule_id from carillon.time_buckets b
           where b.closed_at is null
             and b.due_at > to_timestamp($3::float8 / 1000) and b.due_at <= to_timestamp($2::float8 / 1000)))
  order by s.schedule_id
  limit $4`;

async function rehearseBatch(
  executor: Executor,
  span: Span,
  policy: CutPolicy,
  after: string,
  batch: number,
): Promise<Pick<RehearsedPlan, "buckets" | "faults"> & { readonly planned: number; readonly last: string | null }> {
  const { nowMs, atMs, throughMs, tzdata } = span;
  const { outlooks } = await readOutlooks(executor, concerned, [after, throughMs, atMs, batch]);
  const plans = outlooks.map((outlook) => planAhead(outlook, atMs, nowMs, throughMs));
  const scheduleIds = outlooks.map(({ schedule }) => schedule.scheduleId);
  const there = Map.groupBy(
    await bucketsThere(executor, scheduleIds, {
      fromMs: atMs,
      throughMs,
      occurrences: plans.flatMap(occurrencesOf),
    }),
    ({ scheduleId }) => scheduleId,
  );
  const populations = await countPopulations(executor, scheduleIds);
  const buckets = outlooks.flatMap((outlook, index) => {
    const { scheduleId } = outlook.schedule;
    return foreseeMoments(outlook.schedule, plans[index] ?? null, there.get(scheduleId) ?? [], tzdata)
      .filter((moment) => isWithin(moment, span))
      .map((moment) => rehearsed(outlook, moment, populations.get(scheduleId) ?? 0, policy));
  });
  const planned = plans.filter((plan) => plan !== null);
  const faults = planned.flatMap(({ schedule: { scheduleId }, fault }) =>
    fault === null ? [] : [{ scheduleId, text: fault }],
  );
  return {
    buckets,
    faults,
    planned: planned.length,
    last: outlooks.length < batch ? null : (scheduleIds.at(-1) ?? null),
  };
}

/** What is due within, and whatever else the planner would write: what is caught up with, what moves out. */
function isWithin({ dueAtMs, change, bucket }: ForeseenMoment, { atMs, throughMs }: Span): boolean {
  if (change !== "stands") return true;
  return dueAtMs > atMs && dueAtMs <= throughMs && !isClosed(bucket?.state ?? "");
}

function isClosed(state: string): boolean {
  return state === "done" || state === "cancelled" || state === "skipped";
}

function rehearsed(outlook: Outlook, moment: ForeseenMoment, subscribed: number, policy: CutPolicy): RehearsedBucket {
  const { bucket, change } = moment;
  return {
    scheduleId: outlook.schedule.scheduleId,
    topic: outlook.topic,
    rule: outlook.schedule.rule,
    place: outlook.place,
    occurrence: moment.occurrence,
    round: moment.round,
    dueAt: new Date(moment.dueAtMs),
    change,
    bucketId: bucket?.bucketId ?? null,
    paused: outlook.topicPausedAt !== null || outlook.schedulePausedAt !== null,
    ...cutOf(outlook, moment, subscribed, policy),
  };
}

/** What was cut stays so, and what moves is cut anew. */
function cutOf(
  { cutWish }: Outlook,
  { bucket, change }: ForeseenMoment,
  population: number,
  policy: CutPolicy,
): Pick<RehearsedBucket, "population" | "groups"> {
  const cut = bucket?.cut ?? null;
  if (change === "stands" && cut !== null) return cut;
  if (change === "skipped" || change === "dropped") return { population, groups: 0 };
  return { population, groups: groupCount(population, cutWish, policy) };
}
