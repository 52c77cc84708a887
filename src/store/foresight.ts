import type { CutWish } from "../reminder/group.ts";
import type { Executor } from "./executor.ts";
import { askedByGate, endpointsOf, gate, hasPart } from "./gate.ts";
import { codeInTurn, standingBy } from "./reach.ts";
import { readSchedules, type ScheduleToPlan } from "./schedule-to-plan.ts";

/*
 * What is known ahead of a moment, for those who explain it. Everything here only reads, and locks nothing: that which
 * decides is asked by its own text (the planner's columns, the gate's conditions), at a time that is given.
 */

/** A schedule as the planner reads it, and what people know it by. */
export interface Outlook {
  readonly schedule: ScheduleToPlan;
  readonly topic: string;
  readonly topicPausedAt: Date | null;
  readonly schedulePausedAt: Date | null;
  readonly place: { readonly placeId: number; readonly key: string; readonly name: string } | null;
  /** preset; null: by population */
  readonly cutWish: CutWish;
  /** epoch milliseconds: from when on the planner takes it up; null: never, unless it is changed */
  readonly nextDueAtMs: number | null;
}

/** @param which as `readSchedules` has it */
export async function readOutlooks(
  executor: Executor,
  which: string,
  values: readonly unknown[],
): Promise<{ readonly outlooks: readonly Outlook[]; readonly nowMs: number }> {
  const { schedules, nowMs } = await readSchedules(executor, which, values);
  const { rows } = await executor.query<{
    schedule_id: string;
    topic: string;
    topic_paused_at: Date | null;
    paused_at: Date | null;
    group_count: number | null;
    spread_ms: number;
    next_due_at_ms: number | null;
    place_id: number | null;
    key: string | null;
    name: string | null;
  }>(
    `select s.schedule_id, t.name as topic, t.paused_at as topic_paused_at, s.paused_at, t.group_count, t.spread_ms,
       (extract(epoch from s.next_due_at) * 1000)::float8 as next_due_at_ms, p.place_id, p.key, p.name
     from carillon.schedules s
     join carillon.topics t using (topic_id)
     left join carillon.places p using (place_id)
     where s.schedule_id = any ($1::bigint[])`,
    [schedules.map((schedule) => schedule.scheduleId)],
  );
  const byId = new Map(rows.map((row) => [row.schedule_id, row]));
  const outlooks = schedules.flatMap((schedule) => {
    const row = byId.get(schedule.scheduleId);
    if (row === undefined) return [];
    const { place_id: placeId, key, name } = row;
    return {
      schedule,
      topic: row.topic,
      topicPausedAt: row.topic_paused_at,
      schedulePausedAt: row.paused_at,
      place: placeId === null || key === null || name === null ? null : { placeId, key, name },
      cutWish: { presetCount: row.group_count, spreadMs: row.spread_ms },
      nextDueAtMs: row.next_due_at_ms,
    };
  });
  return { outlooks, nowMs };
}

/** A time bucket that is there. */
export interface BucketThere {
  /** bigint */
  readonly bucketId: string;
  readonly scheduleId: string;
  readonly occurrence: string;
  readonly round: number;
  readonly dueAtMs: number;
  readonly expiresAtMs: number;
  /** in the words of the view `bucket_progress` */
  readonly state: string;
  readonly cancelled: boolean;
  /** cut already: into so many groups, for so many people; null: not cut */
  readonly cut: { readonly groups: number; readonly population: number } | null;
}

/**
 * The time buckets of these schedules that are due in (fromMs, throughMs], or are one of these occurrences.
 *
 * @param fromMs epoch milliseconds, as `throughMs`
 */
export async function bucketsThere(
  executor: Executor,
  scheduleIds: readonly string[],
  { fromMs, throughMs, occurrences }: { fromMs: number; throughMs: number; occurrences: readonly string[] },
): Promise<BucketThere[]> {
  const { rows } = await executor.query<{
    bucket_id: string;
    schedule_id: string;
    occurrence: string;
    round: number;
    due_at_ms: number;
    expires_at_ms: number;
    state: string;
    cancelled: boolean;
    groups: number;
    population: number | null;
  }>(
    `select b.bucket_id, b.schedule_id, b.occurrence, b.round, p.state, b.cancelled_at is not null as cancelled,
       (extract(epoch from b.due_at) * 1000)::float8 as due_at_ms,
       (extract(epoch from b.expires_at) * 1000)::float8 as expires_at_ms,
       p.groups, b.population
     from carillon.time_buckets b
     -- fenced: the groups of these buckets are counted, not those of all
     cross join lateral (
       select p.state, p.groups from carillon.bucket_progress p where p.bucket_id = b.bucket_id offset 0
     ) p
     where b.schedule_id = any ($1::bigint[])
       and (b.due_at > to_timestamp($2::float8 / 1000) and b.due_at <= to_timestamp($3::float8 / 1000)
            or b.occurrence = any ($4::text[]))
     order by b.due_at, b.bucket_id`,
    [scheduleIds, fromMs, throughMs, occurrences],
  );
  return rows.map((row) => ({
    bucketId: row.bucket_id,
    scheduleId: row.schedule_id,
    occurrence: row.occurrence,
    round: row.round,
    dueAtMs: row.due_at_ms,
    expiresAtMs: row.expires_at_ms,
    state: row.state,
    cancelled: row.cancelled,
    cut: row.population === null ? null : { groups: row.groups, population: row.population },
  }));
}

/** A subscription of one user. */
export interface SubscriptionThere {
  /** bigint */
  readonly scheduleId: string;
  readonly subscribedAt: Date;
  readonly endedAt: Date | null;
}

/** @param endedAfter subscriptions that ended before this are left out */
export async function subscriptionsOf(
  executor: Executor,
  userNumber: string,
  endedAfter: Date,
): Promise<SubscriptionThere[]> {
  const { rows } = await executor.query<{ schedule_id: string; subscribed_at: Date; ended_at: Date | null }>(
    `select schedule_id, subscribed_at, ended_at from carillon.subscriptions
     where user_number = $1 and (ended_at is null or ended_at > $2) order by schedule_id`,
    [userNumber, endedAfter],
  );
  return rows.map((row) => ({
    scheduleId: row.schedule_id,
    subscribedAt: row.subscribed_at,
    endedAt: row.ended_at,
  }));
}

export interface EndpointThere {
  /** the destination's name */
  readonly destination: string | null;
  readonly address: string;
}

/** All endpoints that a user has or had, by ordinal: what the ledger's numbers stand for. */
export async function endpointsThere(
  executor: Executor,
  user: { readonly userNumber: string; readonly hashSlot: number },
): Promise<Map<number, EndpointThere>> {
  const { rows } = await executor.query<EndpointThere & { ordinal: number }>(
    `select e.ordinal, d.name as destination, e.address
     from carillon.endpoints e left join carillon.destinations d using (destination_id)
     where e.hash_slot = $1 and e.user_number = $2`,
    [user.hashSlot, user.userNumber],
  );
  return new Map(rows.map(({ ordinal, ...endpoint }) => [ordinal, endpoint]));
}

/** A moment of a user's subscription that the gate is to be asked about. */
export interface MomentAtGate {
  /** bigint */
  readonly scheduleId: string;
  readonly topicId: number;
  readonly dueAtMs: number;
  /** epoch milliseconds; what quiet hours hold must come again before */
  readonly expiresAtMs: number;
  /** when the gate will be asked, epoch milliseconds: at the moment, or now where that has passed */
  readonly askedAtMs: number;
}

/** What the gate will say of one endpoint (or, with ordinal null, of a user without any) at one moment. */
export interface GateAnswer {
  /** the moment's, in what was asked */
  readonly index: number;
  /** joined in time, and not left before: else the moment is none of the user's, and no row of theirs is made */
  readonly hasPart: boolean;
  readonly ordinal: number | null;
  readonly channel: string | null;
  /** the destination's name */
  readonly destination: string | null;
  readonly address: string | null;
  /** an outcome code (src/reminder/outcome-code.ts); 0: it lets pass */
  readonly code: number;
  /** the end of the quiet hours that hold it, or outlast it; null: none do */
  readonly quietUntil: Date | null;
  /** the channel of the endpoint that comes first, where the topic is content with one; null: this one is not kept waiting */
  readonly waitsFor: string | null;
}

/** Asks the gate about a user's moments before it is asked in earnest, each as of its own time. */
export async function askGateAhead(
  executor: Executor,
  user: { readonly userNumber: string; readonly hashSlot: number },
  moments: readonly MomentAtGate[],
): Promise<GateAnswer[]> {
  const { rows } = await executor.query<{
    index: number;
    has_part: boolean;
    ordinal: number | null;
    channel: string | null;
    destination: string | null;
    address: string | null;
    code: number;
    quiet_until: Date | null;
    waits_for: string | null;
  }>(
    `select a.index::int - 1 as index, g.has_part, g.ordinal, g.channel, d.name as destination, g.address, g.code,
       g.quiet_until, g.waits_for
     from unnest($3::bigint[], $4::int[], $5::float8[], $6::float8[], $7::float8[]) with ordinality
       as a (schedule_id, topic_id, due_at_ms, asked_at_ms, expires_at_ms, index)
     cross join lateral (
       -- the shape that an intent has: what is held, a page of it, and the gate's own conditions
       with held as materialized (
         select a.schedule_id, t.topic_id, t.ignores_quiet_hours, t.reach, t.channel_order,
           to_timestamp(a.due_at_ms / 1000) as due_at,
           to_timestamp(a.asked_at_ms / 1000) as asked_at, to_timestamp(a.expires_at_ms / 1000) as expires_at
         from carillon.topics t
         where t.topic_id = a.topic_id
       ), page as materialized (
         select s.hash_slot, s.user_number, s.ended_at is not null as has_left, ${hasPart("s", "h.due_at")} as has_part
         from held h
         join carillon.subscriptions s on s.schedule_id = a.schedule_id and s.hash_slot = $1 and s.user_number = $2
       ), ${askedByGate({ page: "page", at: "(select asked_at from held)" })}, reached as materialized (
         select p.*, e.* from page p ${endpointsOf("p")}
       ), asked as materialized (
         select r.*, ${gate("r")} as gate_code from reached r
       ), ${standingBy("asked")}
       select r.*, ${codeInTurn("r")} as code, (select until from quiet) as quiet_until,
         (select w.waits_for from standing_by w where w.ordinal = r.ordinal) as waits_for
       from asked r
     ) g
     left join carillon.destinations d on d.destination_id = g.destination_id
     order by a.index, g.ordinal`,
    [
      user.hashSlot,
      user.userNumber,
      moments.map((moment) => moment.scheduleId),
      moments.map((moment) => moment.topicId),
      moments.map((moment) => moment.dueAtMs),
      moments.map((moment) => moment.askedAtMs),
      moments.map((moment) => moment.expiresAtMs),
    ],
  );
  return rows.map(({ has_part: hasPart, quiet_until: quietUntil, waits_for: waitsFor, ...row }) => ({
    ...row,
    hasPart,
    quietUntil,
    waitsFor,
  }));
}
