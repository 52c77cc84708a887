/** What one user gets in the hours to come, or got, and what not, and why: asked of the planner's and the gate's own code. */
import type { Rule } from "../reminder/rule.ts";
import type { Database } from "../store/database.ts";
import { type DeliveryRecord, deliveriesBetween } from "../store/delivery-history.ts";
import type { Executor } from "../store/executor.ts";
import {
  askGateAhead,
  bucketsThere,
  type EndpointThere,
  endpointsThere,
  type GateAnswer,
  type Outlook,
  readOutlooks,
  type SubscriptionThere,
  subscriptionsOf,
} from "../store/foresight.ts";
import { readNow, readOnly } from "../store/inspection.ts";
import type { ScheduleToPlan } from "../store/plan.ts";
import { findUser, readUser } from "../store/users.ts";
import { formatDate, formatLocal, localDate } from "../timetable/civil-time.ts";
import { occurrencesBetween } from "../timetable/occurrences.ts";
import { type MissingDays, missingDays, type Note, tellOccurrence } from "../timetable/preview.ts";
import { type ForeseenMoment, foreseeMoments, occurrencesOf, planAhead } from "./foreseen.ts";
import { type Verdict, verdictOf } from "./why-not.ts";

export interface ExplainOptions {
  /** epoch milliseconds from which on; null: from now */
  readonly atMs: number | null;
  /** default: 24 hours */
  readonly windowMs?: number;
  /** of the zone data that this process reckons with */
  readonly tzdata: string;
}

/** One moment of one of the user's subscriptions. */
export interface ExplainedMoment extends Verdict {
  readonly dueAt: Date;
  /** as clocks show it in the user's zone, or in the rule's where the user has none */
  readonly local: string;
  readonly subscriptionId: string;
  /** bigint */
  readonly scheduleId: string;
  readonly topic: string;
  readonly rule: Rule;
  readonly place: Outlook["place"];
  readonly occurrence: string;
  readonly round: number;
  /** null: not planned yet */
  readonly bucketId: string | null;
  readonly notes: readonly Note[];
}

/** Days on which one of the user's subscriptions has no moment. */
export interface ExplainedAbsence extends MissingDays {
  readonly subscriptionId: string;
  readonly topic: string;
  readonly rule: Rule;
  readonly place: Outlook["place"];
}

export interface UserExplanation {
  readonly userId: string;
  /** IANA zone; null: the user has none */
  readonly zone: string | null;
  /** moments after this ... */
  readonly from: Date;
  /** ... up to this, inclusive */
  readonly through: Date;
  /** carillon.clock() when it was asked */
  readonly clock: Date;
  readonly tzdata: string;
  /** by instant */
  readonly moments: readonly ExplainedMoment[];
  /** moments that are left out here, so as not to be too many */
  readonly more: number;
  readonly absences: readonly ExplainedAbsence[];
}

const dayMs = 86_400_000;
/** Who wonders why nothing comes may have left; who left long ago knows. */
const endedLatelyMs = 7 * dayMs;
const momentsMax = 1000;

/**
 * Explains a user's moments in (at, at + 24 hours]: those ahead by what the planner would plan and the gate would say as
 * of each moment, if nothing is changed until then; those past by the ledger. One short read-only transaction, a constant
 * number of statements.
 *
 * @throws unknown_user
 */
export async function explainUser(db: Database, userId: string, options: ExplainOptions): Promise<UserExplanation> {
  const { zone } = await readUser(db, userId);
  return readOnly(db, async (executor) => {
    const clock = await readNow(executor);
    const fromMs = options.atMs ?? clock.getTime();
    const span = { fromMs, throughMs: fromMs + (options.windowMs ?? dayMs), nowMs: clock.getTime() };
    const ref = await findUser(executor, userId);
    const user = { userId, zone, ...ref, endpoints: await endpointsThere(executor, ref) };
    const standings = await standingsOf(executor, user.userNumber, span, options.tzdata);
    const all = standings.flatMap(({ moments, ...standing }) => moments.map((moment) => ({ ...standing, moment })));
    all.sort((a, b) => a.moment.dueAtMs - b.moment.dueAtMs);
    const asked = all.slice(0, momentsMax);
    const answers = await answersOf(executor, user, asked, span.nowMs);
    const recorded = Map.groupBy(
      await deliveriesBetween(executor, userId, span.fromMs, span.throughMs),
      ({ bucketId }) => bucketId,
    );
    return {
      userId,
      zone,
      from: new Date(span.fromMs),
      through: new Date(span.throughMs),
      clock,
      tzdata: options.tzdata,
      moments: asked.map((each, index) =>
        explained(each, user, answers.get(index) ?? [], recorded.get(each.moment.bucket?.bucketId ?? "") ?? [], span),
      ),
      more: all.length - asked.length,
      absences: standings.flatMap((standing) => absencesOf(standing, user.userNumber, span)),
    };
  });
}

interface Span {
  readonly fromMs: number;
  readonly throughMs: number;
  readonly nowMs: number;
}

interface ExplainedUser {
  readonly userId: string;
  readonly zone: string | null;
  readonly userNumber: string;
  readonly hashSlot: number;
  /** by ordinal */
  readonly endpoints: ReadonlyMap<number, EndpointThere>;
}

/** A subscription with its schedule. */
interface Standing {
  readonly subscription: SubscriptionThere;
  readonly outlook: Outlook;
}

async function standingsOf(
  executor: Executor,
  userNumber: string,
  span: Span,
  tzdata: string,
): Promise<(Standing & { readonly moments: readonly ForeseenMoment[] })[]> {
  const subscriptions = await subscriptionsOf(executor, userNumber, new Date(span.fromMs - endedLatelyMs));
  const scheduleIds = subscriptions.map(({ scheduleId }) => scheduleId);
  const { outlooks } = await readOutlooks(executor, "where s.schedule_id = any ($1::bigint[])", [scheduleIds]);
  const asOfMs = Math.max(span.fromMs, span.nowMs);
  const plans = outlooks.map((outlook) => planAhead(outlook, asOfMs, span.nowMs, span.throughMs));
  const there = Map.groupBy(
    await bucketsThere(executor, scheduleIds, { ...span, occurrences: plans.flatMap(occurrencesOf) }),
    ({ scheduleId }) => scheduleId,
  );
  const standingOf = new Map(subscriptions.map((subscription) => [subscription.scheduleId, subscription]));
  return outlooks.flatMap((outlook, index) => {
    const { scheduleId } = outlook.schedule;
    const subscription = standingOf.get(scheduleId);
    if (subscription === undefined) return [];
    const buckets = there.get(scheduleId) ?? [];
    const foreseen = foreseeMoments(outlook.schedule, plans[index] ?? null, buckets, tzdata);
    const moments = [...foreseen, ...neverPlanned(outlook, foreseen, span)].filter(
      ({ dueAtMs }) => dueAtMs > span.fromMs && dueAtMs <= span.throughMs,
    );
    return [{ subscription, outlook, moments }];
  });
}

/** Moments that have passed without ever having had a time bucket: the schedule, or what gives it its times, is newer. */
function neverPlanned(
  { schedule }: Outlook,
  foreseen: readonly ForeseenMoment[],
  { fromMs, throughMs, nowMs }: Span,
): ForeseenMoment[] {
  if (schedule.fault !== null) return [];
  const known = new Set(foreseen.map(({ occurrence }) => occurrence));
  const passedMs = Math.min(nowMs, throughMs);
  return occurrencesBetween(schedule.rule, schedule.place, fromMs, passedMs)
    .filter(({ key }) => !known.has(key))
    .map(({ key, dueAtMs }) => ({
      occurrence: key,
      round: 0,
      dueAtMs,
      expiresAtMs: dueAtMs + schedule.expiresAfterMs,
      bucket: null,
      change: "stands",
    }));
}

/** The gate's answers by the place of the moment in `asked`. */
async function answersOf(
  executor: Executor,
  user: ExplainedUser,
  asked: readonly (Standing & { readonly moment: ForeseenMoment })[],
  nowMs: number,
): Promise<Map<number, GateAnswer[]>> {
  const answers = await askGateAhead(
    executor,
    user,
    asked.map(({ outlook: { schedule }, moment: { dueAtMs, expiresAtMs } }) => ({
      scheduleId: schedule.scheduleId,
      topicId: schedule.topicId,
      dueAtMs,
      expiresAtMs,
      askedAtMs: Math.max(dueAtMs, nowMs),
    })),
  );
  return Map.groupBy(answers, ({ index }) => index);
}

function explained(
  { subscription, outlook, moment }: Standing & { readonly moment: ForeseenMoment },
  user: ExplainedUser,
  answers: readonly GateAnswer[],
  recorded: readonly DeliveryRecord[],
  { nowMs }: Span,
): ExplainedMoment {
  const { schedule } = outlook;
  const told = tellOccurrence(schedule.rule, schedule.place, { key: moment.occurrence, dueAtMs: moment.dueAtMs });
  return {
    dueAt: new Date(moment.dueAtMs),
    local: user.zone === null ? told.local : formatLocal(moment.dueAtMs, user.zone),
    ...verdictOf({ moment, subscription, outlook, answers, recorded, endpoints: user.endpoints, nowMs }),
    subscriptionId: `${schedule.scheduleId}-${user.userNumber}`,
    scheduleId: schedule.scheduleId,
    topic: outlook.topic,
    rule: schedule.rule,
    place: outlook.place,
    occurrence: moment.occurrence,
    round: moment.round,
    bucketId: moment.bucket?.bucketId ?? null,
    notes: told.notes,
  };
}

function absencesOf(
  { subscription, outlook }: Standing,
  userNumber: string,
  { fromMs, throughMs }: Span,
): ExplainedAbsence[] {
  if (subscription.endedAt !== null) return [];
  const { schedule, topic } = outlook;
  return daysWithout(schedule, fromMs, throughMs).map((days) => ({
    ...days,
    subscriptionId: `${schedule.scheduleId}-${userNumber}`,
    topic,
    rule: schedule.rule,
    place: outlook.place,
  }));
}

function daysWithout({ rule, place, fault }: ScheduleToPlan, fromMs: number, throughMs: number): MissingDays[] {
  if (fault === null) return missingDays(rule, place, fromMs, throughMs);
  const [first, last] = [formatDate(localDate(fromMs, "UTC")), formatDate(localDate(throughMs, "UTC"))];
  return [{ first, last, days: first === last ? 1 : 2, code: "unreadable", text: fault.message }];
}
