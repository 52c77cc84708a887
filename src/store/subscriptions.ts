import type pg from "pg";
import { type Monotonic, monotonicMs } from "../clock.ts";
import { CarillonError } from "../errors.ts";
import type { Rule } from "../reminder/rule.ts";
import type { Database } from "./database.ts";
import { registerEndpoints, wantedEndpoint } from "./endpoints.ts";
import { type Executor, inTransaction } from "./executor.ts";
import { wakePlanner } from "./jobs.ts";
import { assertZonesHold, ZoneChanged } from "./own-zone.ts";
import { type FoundPlace, foundPlaceOrNone, type PlaceTimesRow, placeTimesColumns } from "./place-times.ts";
import { findOrCreateSchedules, nextPromised, type ScheduleRef } from "./schedules.ts";
import {
  type ResolvedRequest,
  type ResolvedRequests,
  resolveRequests,
  type SubscriptionRequest,
} from "./subscription-request.ts";
import { findOrCreateUsers, lockUsers, setZones, type UserRef, type WantedUser } from "./users.ts";

/** One user's standing request for one schedule of a topic. */
export interface Subscription {
  /** `<scheduleId>-<userNumber>`: its position, which survives leaving and coming back */
  readonly id: string;
  readonly userId: string;
  readonly topic: string;
  readonly scheduleId: string;
  readonly rule: Rule;
  readonly place: FoundPlace | null;
  readonly subscribedAt: Date;
  readonly endedAt: Date | null;
  /** the next moment that is promised: at least 1 s after the commit; null when it has ended or is paused */
  readonly nextDueAt: Date | null;
}

export type SavedSubscription = Subscription & { readonly created: boolean };

export interface SubscribeOptions {
  /** the planner is woken for a new schedule whose first moment is nearer than this */
  readonly planHorizonMs: number;
  readonly now?: Monotonic;
}

/**
 * Subscribes users, who are created where they are missing, with their endpoints: one transaction and a constant number
 * of statements, however many requests. The same request again gives the same answer and the same row; who had left
 * comes back to where they stood.
 *
 * @throws what `resolveRequests` throws, and too_many_endpoints; then nothing is written
 */
export async function subscribe(
  db: Database,
  requests: readonly SubscriptionRequest[],
  options: SubscribeOptions,
): Promise<SavedSubscription[]> {
  const now = options.now ?? monotonicMs;
  let resolvedAtMs = 0;
  const { resolved, stored } = await inOneZone(db, async (client) => {
    const resolved = await resolveRequests(client, requests);
    resolvedAtMs = now();
    const users = await storeUsers(client, resolved);
    const schedules = await storeSchedules(client, resolved.items);
    const stored = await storeSubscriptions(client, resolved.items, users, schedules);
    if (needsPlanner(resolved, schedules, options.planHorizonMs)) await wakePlanner(client);
    return { resolved, stored };
  });
  // what is promised counts from the commit, so Postgres' clock is carried on to here
  const committedMs = resolved.nowMs + (now() - resolvedAtMs);
  const promisedOf = rememberedPromises(committedMs);
  return resolved.items.map((item, index) => {
    const row = stored[index];
    if (row === undefined) throw new CarillonError("internal", "A subscription was not stored.");
    const { schedule, user, subscribedAt, created } = row;
    return {
      id: `${schedule.scheduleId}-${user.userNumber}`,
      userId: item.request.userId,
      topic: item.topic.name,
      scheduleId: schedule.scheduleId,
      rule: schedule.rule,
      place: item.place,
      subscribedAt,
      endedAt: null,
      nextDueAt: item.topic.paused || schedule.paused ? null : promisedOf(item, schedule),
      created,
    };
  });
}

/**
 * One transaction, and again where a user's zone, of which a rule was made, was changed before the user's row was
 * locked: to lock it before reading it would take locks out of their order (see findOrCreateUsers).
 */
async function inOneZone<T>(db: Database, run: (client: pg.PoolClient) => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await inTransaction(db, run);
    } catch (error) {
      if (!(error instanceof ZoneChanged)) throw error;
    }
  }
}

async function storeUsers(executor: Executor, resolved: ResolvedRequests): Promise<Map<string, UserRef>> {
  const wanted = new Map<string, WantedUser>();
  for (const { request } of resolved.items) {
    const { userId, zone, locale } = request;
    const before = wanted.get(userId);
    wanted.set(userId, { userId, zone: zone ?? before?.zone, locale: locale ?? before?.locale });
  }
  const users = await findOrCreateUsers(executor, [...wanted.values()]);

  const zoned = [...wanted.values()].filter(({ zone, locale }) => zone !== undefined || locale !== undefined);
  const reached = resolved.items.filter(({ request }) => request.endpoints.length > 0);
  const toLock = new Set([
    ...[...zoned, ...reached.map((item) => item.request)].map((user) => user.userId),
    ...resolved.ownZones.keys(),
  ]);
  if (toLock.size > 0)
    await lockUsers(
      executor,
      [...toLock].map((userId) => refOf(users, userId)),
    );
  await assertZonesHold(executor, resolved.ownZones);
  if (zoned.length > 0) {
    await setZones(
      executor,
      zoned.map(({ userId, zone, locale }) => ({ ...refOf(users, userId), zone, locale })),
    );
  }
  if (reached.length > 0) {
    const endpoints = reached.flatMap(({ request }) =>
      request.endpoints.map((endpoint, index) =>
        wantedEndpoint(
          { ...endpoint, userId: request.userId },
          refOf(users, request.userId),
          resolved.destinations,
          `${request.pointer}/endpoints/${index}`,
        ),
      ),
    );
    await registerEndpoints(executor, endpoints);
  }
  return users;
}

/** One schedule for each distinct topic and rule, given back for each item. */
async function storeSchedules(executor: Executor, items: readonly ResolvedRequest[]): Promise<ScheduleRef[]> {
  const keys = items.map((item) => JSON.stringify([item.topic.topicId, item.rule]));
  const distinct = [...new Map(keys.map((key, index) => [key, items[index]]))].flatMap(([key, item]) =>
    item === undefined ? [] : [{ key, topicId: item.topic.topicId, rule: item.rule }],
  );
  const stored = await findOrCreateSchedules(executor, distinct);
  const byKey = new Map(distinct.map(({ key }, index) => [key, stored[index]]));
  return keys.map((key) => {
    const schedule = byKey.get(key);
    if (schedule === undefined) throw new CarillonError("internal", "A schedule was not stored.");
    return schedule;
  });
}

interface StoredSubscription {
  readonly schedule: ScheduleRef;
  readonly user: UserRef;
  readonly subscribedAt: Date;
  readonly created: boolean;
}

/**
 * Rows are taken in the order of their positions. `xmax = 0` tells an inserted row from one that was there: Postgres
 * has a word for it only from version 18 on.
 */
async function storeSubscriptions(
  executor: Executor,
  items: readonly ResolvedRequest[],
  users: ReadonlyMap<string, UserRef>,
  schedules: readonly ScheduleRef[],
): Promise<StoredSubscription[]> {
  const positions = items.flatMap((item, index) => {
    const schedule = schedules[index];
    return schedule === undefined ? [] : [{ schedule, user: refOf(users, item.request.userId) }];
  });
  const distinct = [...new Map(positions.map((position) => [idOf(position), position])).values()];
  const { rows } = await executor.query<{ id: string; subscribed_at: Date; created: boolean }>(
    `insert into carillon.subscriptions as s (schedule_id, hash_slot, user_number, subscribed_at)
     select w.schedule_id, w.hash_slot, w.user_number, now.at
     from unnest($1::bigint[], $2::int[], $3::bigint[]) as w (schedule_id, hash_slot, user_number)
     cross join (select carillon.clock() as at offset 0) as now
     order by w.schedule_id, w.hash_slot, w.user_number
     on conflict (schedule_id, hash_slot, user_number) do update set
       ended_at = null,
       subscribed_at = case when s.ended_at is null then s.subscribed_at else carillon.clock() end
     returning s.schedule_id || '-' || s.user_number as id, s.subscribed_at, s.xmax = 0 as created`,
    [
      distinct.map(({ schedule }) => schedule.scheduleId),
      distinct.map(({ user }) => user.hashSlot),
      distinct.map(({ user }) => user.userNumber),
    ],
  );
  const stored = new Map(rows.map((row) => [row.id, row]));
  const seen = new Set<string>();
  return positions.map((position) => {
    const id = idOf(position);
    const row = stored.get(id);
    if (row === undefined) throw new CarillonError("internal", "A subscription was not stored.");
    const created = row.created && !seen.has(id);
    seen.add(id);
    return { ...position, subscribedAt: row.subscribed_at, created };
  });
}

function needsPlanner(resolved: ResolvedRequests, schedules: readonly ScheduleRef[], planHorizonMs: number): boolean {
  return resolved.items.some(
    (item, index) => schedules[index]?.created === true && item.nextDueAtMs <= resolved.nowMs + planHorizonMs,
  );
}

function rememberedPromises(committedMs: number): (item: ResolvedRequest, schedule: ScheduleRef) => Date | null {
  const known = new Map<string, Date | null>();
  return (item, schedule) => {
    const { scheduleId } = schedule;
    if (!known.has(scheduleId)) known.set(scheduleId, nextPromised(schedule.rule, item.place, committedMs));
    return known.get(scheduleId) ?? null;
  };
}

/** @throws unknown_subscription */
export async function readSubscription(db: Database, id: string): Promise<Subscription> {
  const [scheduleId, userNumber] = positionOf(id);
  const { rows } = await db.pool.query<SubscriptionRow>(
    `select s.schedule_id, s.user_number, u.user_id, o.name as topic, c.rule, s.subscribed_at, s.ended_at,
            o.paused_at is not null or c.paused_at is not null as paused,
            extract(epoch from carillon.clock())::float8 * 1000 as now_ms, ${placeTimesColumns}
     from carillon.users u
     join carillon.subscriptions s on s.user_number = u.user_number and s.hash_slot = u.hash_slot
     join carillon.schedules c on c.schedule_id = s.schedule_id
     join carillon.topics o on o.topic_id = c.topic_id
     left join carillon.places p on p.place_id = c.place_id
     where s.schedule_id = $1 and u.user_number = $2`,
    [scheduleId, userNumber],
  );
  const [row] = rows;
  if (row === undefined) throw noSubscription(id);
  const place = await foundPlaceOrNone(db.pool, row);
  return {
    id,
    userId: row.user_id,
    topic: row.topic,
    scheduleId: row.schedule_id,
    rule: row.rule,
    place,
    subscribedAt: row.subscribed_at,
    endedAt: row.ended_at,
    nextDueAt: row.ended_at !== null || row.paused ? null : nextPromised(row.rule, place, row.now_ms),
  };
}

/**
 * Ends a subscription by a tombstone. Ending twice keeps the first time.
 *
 * @throws unknown_subscription
 */
export async function endSubscription(db: Database, id: string): Promise<Subscription> {
  const [scheduleId, userNumber] = positionOf(id);
  await db.pool.query(
    `update carillon.subscriptions s set ended_at = carillon.clock()
     from carillon.users u
     where u.user_number = $2 and s.schedule_id = $1 and s.hash_slot = u.hash_slot and s.user_number = u.user_number
       and s.ended_at is null`,
    [scheduleId, userNumber],
  );
  return readSubscription(db, id);
}

interface SubscriptionRow extends PlaceTimesRow {
  readonly schedule_id: string;
  readonly user_number: string;
  readonly user_id: string;
  readonly topic: string;
  readonly rule: Rule;
  readonly subscribed_at: Date;
  readonly ended_at: Date | null;
  readonly paused: boolean;
  readonly now_ms: number;
}

/** Eighteen digits fit a bigint whatever they are. */
const idForm = /^([1-9]\d{0,17})-([1-9]\d{0,17})$/;

function positionOf(id: string): readonly [scheduleId: string, userNumber: string] {
  const [, scheduleId, userNumber] = idForm.exec(id) ?? [];
  if (scheduleId === undefined || userNumber === undefined) throw noSubscription(id);
  return [scheduleId, userNumber];
}

function idOf({ schedule, user }: { readonly schedule: ScheduleRef; readonly user: UserRef }): string {
  return `${schedule.scheduleId}-${user.userNumber}`;
}

function refOf(users: ReadonlyMap<string, UserRef>, userId: string): UserRef {
  const user = users.get(userId);
  if (user === undefined) throw new CarillonError("internal", `User ${JSON.stringify(userId)} was not stored.`);
  return user;
}

function noSubscription(id: string): CarillonError {
  return new CarillonError("unknown_subscription", `There is no subscription ${JSON.stringify(id)}.`);
}
