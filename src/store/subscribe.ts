import type pg from "pg";
import { type Monotonic, monotonicMs } from "../clock.ts";
import { CarillonError } from "../errors.ts";
import type { AddressRule } from "../reminder/address.ts";
import type { Database } from "./database.ts";
import { deviceOwners, whileContended } from "./devices.ts";
import { registerEndpoints } from "./endpoints.ts";
import { type Executor, inTransaction } from "./executor.ts";
import { wakePlanner } from "./jobs.ts";
import { beginningsOf, countsOncePerLocalDay } from "./local-days.ts";
import { dependsOnUser, followZones } from "./moves.ts";
import { assertZonesHold, ZoneChanged } from "./own-zone.ts";
import { findOrCreateSchedules, nextPromised, type ScheduleRef } from "./schedules.ts";
import { stand, subscriptionIdOf } from "./standing.ts";
import {
  type ResolvedRequest,
  type ResolvedRequests,
  resolveRequests,
  type SubscriptionRequest,
} from "./subscription-request.ts";
import type { Subscription } from "./subscriptions.ts";
import { findOrCreateUsers, lockUsers, setZones, type UserRef, type WantedUser } from "./users.ts";

export type SavedSubscription = Subscription & { readonly created: boolean };

export interface SubscribeOptions {
  /** the planner is woken for a new schedule whose first moment is nearer than this */
  readonly planHorizonMs: number;
  /** what endpoints' addresses may be; default: what has the form of their channel */
  readonly addressRule?: AddressRule | undefined;
  readonly now?: Monotonic;
}

/**
 * Subscribes users, who are created where they are missing, with their endpoints: one transaction and a constant number
 * of statements, however many requests. The same request again gives the same answer and the same row; who had left
 * comes back to where they stood.
 *
 * @throws what `resolveRequests` throws, too_many_endpoints and address_given_twice; then nothing is written
 */
export async function subscribe(
  db: Database,
  requests: readonly SubscriptionRequest[],
  options: SubscribeOptions,
): Promise<SavedSubscription[]> {
  const now = options.now ?? monotonicMs;
  let resolvedAtMs = 0;
  const { resolved, stored } = await inOneZone(db, async (client) => {
    const resolved = await resolveRequests(client, requests, options.addressRule);
    resolvedAtMs = now();
    const users = await storeUsers(client, resolved, true);
    const schedules = await schedulesOf(client, resolved.items);
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
      return await whileContended(() => inTransaction(db, run));
    } catch (error) {
      if (!(error instanceof ZoneChanged)) throw error;
    }
  }
}

async function storeUsers(
  executor: Executor,
  resolved: ResolvedRequests,
  renew: boolean,
): Promise<Map<string, UserRef>> {
  const wanted = new Map<string, WantedUser>();
  for (const { request } of resolved.items) {
    const { userId, zone, locale } = request;
    const before = wanted.get(userId);
    wanted.set(userId, { userId, zone: zone ?? before?.zone, locale: locale ?? before?.locale });
  }
  const users = await findOrCreateUsers(executor, [...wanted.values()]);

  const zoned = [...wanted.values()].filter(({ zone, locale }) => zone !== undefined || locale !== undefined);
  const reached = resolved.items.filter(({ endpoints }) => endpoints.length > 0);
  const wantedEndpoints = reached.flatMap(({ request, endpoints }) =>
    endpoints.map((endpoint, index) => ({
      ...endpoint,
      ...refOf(users, request.userId),
      pointer: `${request.pointer}/endpoints/${index}`,
    })),
  );
  // and whoever might be moving just now, or have moved
  const movable = resolved.items.filter(
    ({ topic, rule }) => dependsOnUser(rule) || countsOncePerLocalDay(topic.oncePerLocalDay, rule),
  );
  const toLock = new Set(
    [...zoned, ...[...reached, ...movable].map((item) => item.request)].map((user) => user.userId),
  );
  if (toLock.size > 0)
    await lockUsers(executor, [
      ...[...toLock].map((userId) => refOf(users, userId)),
      ...(await deviceOwners(executor, wantedEndpoints)),
    ]);
  await assertZonesHold(executor, resolved.ownZones);
  if (zoned.length > 0) {
    await setZones(
      executor,
      zoned.map(({ userId, zone, locale }) => ({ ...refOf(users, userId), zone, locale })),
    );
  }
  if (wantedEndpoints.length > 0) await registerEndpoints(executor, wantedEndpoints, renew);
  return users;
}

/** Each item's schedule, in order. */
function schedulesOf(executor: Executor, items: readonly ResolvedRequest[]): Promise<ScheduleRef[]> {
  return findOrCreateSchedules(
    executor,
    items.map(({ topic, rule }) => ({ topicId: topic.topicId, rule })),
  );
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
  { planHorizonMs, addressRule }: Pick<SubscribeOptions, "planHorizonMs" | "addressRule">,
): Promise<{ inserted: number; changed: number; unchanged: number }> {
  const resolved = await resolveRequests(client, requests, addressRule);
  const users = await storeUsers(client, resolved, false);
  const schedules = await schedulesOf(client, resolved.items);
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

function refOf(users: ReadonlyMap<string, UserRef>, userId: string): UserRef {
  const user = users.get(userId);
  if (user === undefined) throw new CarillonError("internal", `User ${JSON.stringify(userId)} was not stored.`);
  return user;
}
