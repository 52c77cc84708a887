import type pg from "pg";
import { type Monotonic, monotonicMs } from "../clock.ts";
import { CarillonError } from "../errors.ts";
import type { Rule } from "../reminder/rule.ts";
import type { Database } from "./database.ts";
import { registerEndpoints, wantedEndpoint } from "./endpoints.ts";
import { type Executor, inTransaction } from "./executor.ts";
import { wakePlanner } from "./jobs.ts";
import { beginningsOf, countsOncePerLocalDay } from "./local-days.ts";
import { dependsOnUser, followZones } from "./moves.ts";
import { assertZonesHold, ZoneChanged } from "./own-zone.ts";
import { type FoundPlace, foundPlaces, type PlaceTimesRow, placeTimesColumns } from "./place-times.ts";
import { findOrCreateSchedules, nextPromised, type ScheduleRef } from "./schedules.ts";
import { stand, subscriptionIdOf } from "./standing.ts";
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
  /** ahead of now for who moved here: their moments begin behind what has rung elsewhere for this local day */
  readonly subscribedAt: Date;
  readonly endedAt: Date | null;
  /** who moved to another place or zone did not leave: the id of where they are now */
  readonly movedTo?: string;
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
    const stored = await storeSubscriptions(client, resolved, users, schedules);
    await followZones(client, followed(resolved.items, users), options.planHorizonMs, now);
    if (needsPlanner(resolved, schedules, options.planHorizonMs)) await wakePlanner(client);
    return { resolved, stored };
  });
  // what is promised counts from the commit, so Postgres' clock is carried on to here
  const committedMs = resolved.nowMs + (now() - resolvedAtMs) * resolved.clockSpeed;
  const promisedOf = rememberedPromises(committedMs);
  return resolved.items.map((item, index) => {
    const row = stored[index];
    if (row === undefined) throw new CarillonError("internal", "A subscription was not stored.");
    const { schedule, user, subscribedAt, created } = row;
    return {
      id: subscriptionIdOf(schedule.scheduleId, user.userNumber),
      userId: item.request.userId,
      topic: item.topic.name,
      scheduleId: schedule.scheduleId,
      rule: schedule.rule,
      place: item.place,
      subscribedAt,
      endedAt: null,
      nextDueAt: item.topic.paused || schedule.paused ? null : promisedOf(item, schedule, subscribedAt),
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
  // and whoever might be moving just now, or have moved
  const movable = resolved.items.filter(
    ({ topic, rule }) => dependsOnUser(rule) || countsOncePerLocalDay(topic.oncePerLocalDay, rule),
  );
  const toLock = new Set(
    [...zoned, ...[...reached, ...movable].map((item) => item.request)].map((user) => user.userId),
  );
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

async function storeSubscriptions(
  executor: Executor,
  { items, nowMs }: ResolvedRequests,
  users: ReadonlyMap<string, UserRef>,
  schedules: readonly ScheduleRef[],
): Promise<StoredSubscription[]> {
  const joining = items.flatMap((item, index) => {
    const schedule = schedules[index];
    if (schedule === undefined) return [];
    const { scheduleId, rule } = schedule;
    return [
      { user: refOf(users, item.request.userId), topic: item.topic, schedule, scheduleId, rule, place: item.place },
    ];
  });
  const beginnings = await beginningsOf(executor, joining, nowMs);
  const stood = await stand(
    executor,
    joining.map(({ user, scheduleId }, index) => ({ user, scheduleId, beginning: beginnings[index] ?? null })),
  );
  return stood.flatMap((row, index) => {
    const each = joining[index];
    return each === undefined ? [] : [{ schedule: each.schedule, user: each.user, ...row }];
  });
}

/** Users whose subscriptions may have to follow them: their zone was given. */
function followed(items: readonly ResolvedRequest[], users: ReadonlyMap<string, UserRef>): UserRef[] {
  const moving = items.filter(({ request }) => request.zone !== undefined);
  return [...new Set(moving.map(({ request }) => request.userId))].map((userId) => refOf(users, userId));
}

/** With a clock that goes faster the planner's minute is longer on it, and what it would come too late for farther ahead. */
function needsPlanner(resolved: ResolvedRequests, schedules: readonly ScheduleRef[], planHorizonMs: number): boolean {
  const throughMs = resolved.nowMs + planHorizonMs * Math.max(1, resolved.clockSpeed);
  return resolved.items.some((item, index) => schedules[index]?.created === true && item.nextDueAtMs <= throughMs);
}

/**
 * `subscribe` for many requests at once, as part of the caller's transaction. Whoever is subscribed already is left alone,
 * so that a file that is imported again writes nothing. (Who leaves between our look and our commit has left: as if they
 * had done so after us.)
 *
 * @returns subscriptions that are new, that came back, and that were there or came twice
 * @throws as `subscribe`
 */
export async function subscribeMany(
  client: Executor,
  requests: readonly SubscriptionRequest[],
  { planHorizonMs }: Pick<SubscribeOptions, "planHorizonMs">,
): Promise<{ inserted: number; changed: number; unchanged: number }> {
  const resolved = await resolveRequests(client, requests);
  const users = await storeUsers(client, resolved);
  const schedules = await storeSchedules(client, resolved.items);
  const wanted = resolved.items.flatMap((item, index) => {
    const schedule = schedules[index];
    return schedule === undefined ? [] : [{ item, schedule, user: refOf(users, item.request.userId) }];
  });
  const distinct = new Map(
    wanted.map((each) => [subscriptionIdOf(each.schedule.scheduleId, each.user.userNumber), each]),
  );
  for (const id of await liveSubscriptions(client, [...distinct.values()])) distinct.delete(id);
  const missing = [...distinct.values()];
  const stored = await storeSubscriptions(
    client,
    { ...resolved, items: missing.map(({ item }) => item) },
    users,
    missing.map(({ schedule }) => schedule),
  );
  await followZones(client, followed(resolved.items, users), planHorizonMs, monotonicMs);
  if (needsPlanner(resolved, schedules, planHorizonMs)) await wakePlanner(client);
  const inserted = stored.filter((row) => row.created).length;
  return { inserted, changed: stored.length - inserted, unchanged: requests.length - stored.length };
}

/** The ids of those at these positions that have not ended. */
async function liveSubscriptions(
  executor: Executor,
  positions: readonly { readonly schedule: ScheduleRef; readonly user: UserRef }[],
): Promise<string[]> {
  const { rows } = await executor.query<{ id: string }>(
    `select s.schedule_id || '-' || s.user_number as id
     from unnest($1::bigint[], $2::int[], $3::bigint[]) as w (schedule_id, hash_slot, user_number)
     join carillon.subscriptions s using (schedule_id, hash_slot, user_number)
     where s.ended_at is null`,
    [
      positions.map(({ schedule }) => schedule.scheduleId),
      positions.map(({ user }) => user.hashSlot),
      positions.map(({ user }) => user.userNumber),
    ],
  );
  return rows.map((row) => row.id);
}

function rememberedPromises(
  committedMs: number,
): (item: ResolvedRequest, schedule: ScheduleRef, subscribedAt: Date) => Date | null {
  const known = new Map<string, Date | null>();
  return (item, schedule, subscribedAt) => {
    const countsFromMs = subscribedAt.getTime();
    const key = countsFromMs > committedMs ? `${schedule.scheduleId} ${countsFromMs}` : schedule.scheduleId;
    const before = known.get(key);
    if (before !== undefined) return before;
    const promised = nextPromised(schedule.rule, item.place, committedMs, countsFromMs);
    known.set(key, promised);
    return promised;
  };
}

/** @throws unknown_subscription */
export function readSubscription(db: Database, id: string): Promise<Subscription> {
  return findSubscription(db.pool, id);
}

/** @throws unknown_subscription */
export async function findSubscription(executor: Executor, id: string): Promise<Subscription> {
  const [scheduleId, userNumber] = positionOf(id);
  const [found] = await selectSubscriptions(executor, "s.schedule_id = $1 and u.user_number = $2", [
    scheduleId,
    userNumber,
  ]);
  if (found === undefined) throw noSubscription(id);
  return found;
}

/** What stands live for a user and depends on where they are, in the order of its ids. */
export function readMovable(executor: Executor, { userNumber }: UserRef): Promise<Subscription[]> {
  const where = `u.user_number = $1 and s.ended_at is null
    and (c.rule ->> 'kind' = 'timetable' or c.rule ->> 'follows' = 'user')
    order by s.schedule_id`;
  return selectSubscriptions(executor, where, [userNumber]);
}

/** @param where a condition on users u, subscriptions s, schedules c, topics o and places p */
async function selectSubscriptions(
  executor: Executor,
  where: string,
  values: readonly unknown[],
): Promise<Subscription[]> {
  const { rows } = await executor.query<SubscriptionRow>(
    `select s.schedule_id, s.user_number, u.user_id, o.name as topic, c.rule, s.subscribed_at, s.ended_at, s.moved_to,
            o.paused_at is not null or c.paused_at is not null as paused,
            extract(epoch from carillon.clock())::float8 * 1000 as now_ms, ${placeTimesColumns}
     from carillon.users u
     join carillon.subscriptions s on s.user_number = u.user_number and s.hash_slot = u.hash_slot
     join carillon.schedules c on c.schedule_id = s.schedule_id
     join carillon.topics o on o.topic_id = c.topic_id
     left join carillon.places p on p.place_id = c.place_id
     where ${where}`,
    [...values],
  );
  const placed = rows.filter(isPlaced);
  const places = await foundPlaces(executor, placed);
  return rows.map((row) => subscriptionOf(row, isPlaced(row) ? (places[placed.indexOf(row)] ?? null) : null));
}

function isPlaced(row: SubscriptionRow): row is SubscriptionRow & PlaceTimesRow {
  return row.place_id !== null;
}

function subscriptionOf(row: SubscriptionRow, place: FoundPlace | null): Subscription {
  const over = row.ended_at !== null || row.paused;
  return {
    id: subscriptionIdOf(row.schedule_id, row.user_number),
    userId: row.user_id,
    topic: row.topic,
    scheduleId: row.schedule_id,
    rule: row.rule,
    place,
    subscribedAt: row.subscribed_at,
    endedAt: row.ended_at,
    ...(row.moved_to === null ? {} : { movedTo: subscriptionIdOf(row.moved_to, row.user_number) }),
    nextDueAt: over ? null : nextPromised(row.rule, place, row.now_ms, row.subscribed_at.getTime()),
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
  readonly moved_to: string | null;
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

function refOf(users: ReadonlyMap<string, UserRef>, userId: string): UserRef {
  const user = users.get(userId);
  if (user === undefined) throw new CarillonError("internal", `User ${JSON.stringify(userId)} was not stored.`);
  return user;
}

function noSubscription(id: string): CarillonError {
  return new CarillonError("unknown_subscription", `There is no subscription ${JSON.stringify(id)}.`);
}
