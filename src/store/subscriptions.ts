import { CarillonError } from "../errors.ts";
import type { Rule } from "../reminder/rule.ts";
import type { Database } from "./database.ts";
import type { Executor } from "./executor.ts";
import { type FoundPlace, foundPlaces, type PlaceTimesRow, placeTimesColumns } from "./place-times.ts";
import { nextPromised } from "./schedules.ts";
import { subscriptionIdOf } from "./standing.ts";
import type { UserRef } from "./users.ts";

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

function noSubscription(id: string): CarillonError {
  return new CarillonError("unknown_subscription", `There is no subscription ${JSON.stringify(id)}.`);
}
