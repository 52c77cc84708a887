import type { Monotonic } from "../clock.ts";
import { CarillonError, throwAny } from "../errors.ts";
import type { Rule } from "../reminder/rule.ts";
import { nextOccurrenceAfter } from "../timetable/occurrences.ts";
import { assertSlot } from "../timetable/timetable.ts";
import type { Database } from "./database.ts";
import { type Executor, inTransaction } from "./executor.ts";
import { followingMove, type Movable, type Move, move, takeMovable, takeMoveTime } from "./moves.ts";
import { type FoundPlace, findPlaces, type PlaceQuery, placeNotFound } from "./place-times.ts";
import { promiseAfterMs } from "./schedules.ts";
import { subscriptionIdOf } from "./standing.ts";
import { findSubscription, readMovable, type Subscription } from "./subscriptions.ts";
import { takeUser, type User, type UserRef, writeSettings } from "./users.ts";

/** A subscription that a user left for another one. */
export interface Left {
  readonly id: string;
  readonly rule: Rule;
  readonly place: FoundPlace | null;
}

/** Where somebody stands now, and what they left for it; null: they stood here before. */
export type MovedSubscription = Subscription & { readonly left: Left | null };

export interface MoveOptions {
  /** the planner is woken for a new schedule whose first moment is nearer than this */
  readonly planHorizonMs: number;
  readonly now?: Monotonic;
}

/**
 * Moves one subscription to a slot of a timetable to another place: its user leaves the old schedule and joins the new
 * one, in one transaction. Sent again, it answers the same.
 *
 * @throws unknown_subscription, subscription_ended, subscription_has_no_place, unknown_place, far_from_any_place,
 *   unknown_slot, never_occurs, database_unavailable; then nothing has changed
 */
export async function moveSubscription(
  db: Database,
  id: string,
  where: PlaceQuery,
  options: MoveOptions,
): Promise<MovedSubscription> {
  const { toId, left } = await inTransaction(db, async (client) => {
    const { userId } = await findSubscription(client, id);
    const user = await takeUser(client, userId, false);
    const old = await findSubscription(client, id);
    if (old.rule.kind !== "timetable") {
      const detail = `Subscription ${id} is not to a place's timetable.`;
      throw new CarillonError("subscription_has_no_place", detail, { pointer: pointerOf(where) });
    }
    const place = await placeAt(client, where);
    const standing = await takeMovable(client, [user], { timetables: true });
    const row = standing.find(({ scheduleId }) => scheduleId === old.scheduleId);
    if (row === undefined) return { toId: await movedBefore(client, old, place), left: leftOf(old) };
    if (old.place?.placeId === place.placeId) return { toId: id, left: null };
    const time = await takeMoveTime(client, options.now);
    throwAny(mistakesIn(row, place, time.nowMs, pointerOf(where)));
    const [to] = await move(client, [toPlace(row, place)], time, options.planHorizonMs);
    if (to === undefined) throw new CarillonError("internal", "A move was lost.");
    return { toId: subscriptionIdOf(to.scheduleId, user.userNumber), left: leftOf(old) };
  });
  return { ...(await findSubscription(db.pool, toId)), left };
}

/** What is left out stays as it is; where a place is given and no zone, the zone is the place's. */
export interface UserChange {
  /** a known IANA zone in its usual case, which the caller has checked; null: none */
  readonly zone?: string | null | undefined;
  /** BCP 47 */
  readonly locale?: string | null | undefined;
  /** the user has moved: so do all their subscriptions to a place's timetable */
  readonly where?: PlaceQuery | undefined;
  /** make the user if there is none */
  readonly create: boolean;
}

export interface ChangedUser {
  readonly user: User & { readonly created: boolean };
  /** what depends on where the user is, and what comes next of it */
  readonly subscriptions: readonly MovedSubscription[];
}

/**
 * Changes a user's zone and locale, at their endpoints too, and has their subscriptions follow: those that follow the
 * user to the new zone, and to the new place, where one is given, all those to a place's timetable. All in one
 * transaction; either everything moves or nothing. Where there is no zone any more, what follows stays where it is.
 *
 * @throws unknown_user, unknown_place, far_from_any_place, database_unavailable; unknown_slot or never_occurs for each
 *   subscription that can't be moved there
 */
export async function changeUser(
  db: Database,
  userId: string,
  change: UserChange,
  options: MoveOptions,
): Promise<ChangedUser> {
  const changed = await inTransaction(db, async (client) => {
    const place = change.where === undefined ? null : await placeAt(client, change.where);
    const { created, ...before } = await takeUser(client, userId, change.create);
    const { zone = place?.zone ?? before.zone, locale = before.locale } = change;
    await writeSettings(client, before, { zone, locale });

    const stood = await readMovable(client, before);
    const standing = await takeMovable(client, [before], { timetables: place !== null });
    const time = await takeMoveTime(client, options.now);
    const pointer = change.where === undefined ? "" : pointerOf(change.where);
    const moving = place === null ? [] : standing.filter((row) => isMoving(row, place, stood, time.nowMs));
    throwAny(moving.flatMap((row) => (place === null ? [] : mistakesIn(row, place, time.nowMs, pointer))));
    const moves = [
      ...moving.flatMap((row) => (place === null ? [] : [toPlace(row, place)])),
      ...standing.flatMap((row) => followingMove(row, time)),
    ];
    const schedules = await move(client, moves, time, options.planHorizonMs);
    const left = moves.map(({ fromScheduleId }, index) => ({ fromScheduleId, to: schedules[index]?.scheduleId }));
    const { userNumber, hashSlot, ...user } = { ...before, zone, locale };
    return { ref: { userNumber, hashSlot }, user: { ...user, created }, stood, left };
  });
  return { user: changed.user, subscriptions: await shownMoves(db.pool, changed) };
}

async function shownMoves(
  executor: Executor,
  {
    ref,
    stood,
    left,
  }: {
    readonly ref: UserRef;
    readonly stood: readonly Subscription[];
    readonly left: readonly { readonly fromScheduleId: string; readonly to: string | undefined }[];
  },
): Promise<MovedSubscription[]> {
  const old = new Map(stood.map((subscription) => [subscription.scheduleId, subscription]));
  return (await readMovable(executor, ref)).flatMap((subscription) => {
    const from = left.filter(({ to }) => to === subscription.scheduleId);
    if (from.length === 0) return [{ ...subscription, left: null }];
    return from.flatMap(({ fromScheduleId }) => {
      const before = old.get(fromScheduleId);
      return [{ ...subscription, left: before === undefined ? null : leftOf(before) }];
    });
  });
}

/** Whether it goes along to the new place: what is over where it is (its last date has come) stays there. */
function isMoving({ rule, scheduleId }: Movable, place: FoundPlace, stood: readonly Subscription[], nowMs: number) {
  if (rule.kind !== "timetable" || rule.placeId === place.placeId) return false;
  const there = stood.find((subscription) => subscription.scheduleId === scheduleId)?.place ?? null;
  return (
    nextOccurrenceAfter({ ...rule, placeId: place.placeId }, place, nowMs + promiseAfterMs) !== null ||
    (there !== null && nextOccurrenceAfter(rule, there, nowMs + promiseAfterMs) !== null)
  );
}

function mistakesIn({ rule, scheduleId, user }: Movable, place: FoundPlace, nowMs: number, pointer: string) {
  if (rule.kind !== "timetable") return [];
  const id = subscriptionIdOf(scheduleId, user.userNumber);
  const mistake = (code: "unknown_slot" | "never_occurs", why: string) => [
    new CarillonError(code, `Subscription ${id} can't be moved to ${JSON.stringify(place.key)}: ${why}`, { pointer }),
  ];
  try {
    assertSlot(place.versions, rule.slot);
  } catch (error) {
    if (error instanceof CarillonError && error.code === "unknown_slot") return mistake(error.code, error.message);
    throw error;
  }
  const next = nextOccurrenceAfter({ ...rule, placeId: place.placeId }, place, nowMs + promiseAfterMs);
  if (next !== null) return [];
  return mistake("never_occurs", "no moment of it comes there within the next 400 days.");
}

function toPlace({ user, topic, scheduleId, rule }: Movable, place: FoundPlace): Move {
  if (rule.kind !== "timetable") throw new CarillonError("internal", `Schedule ${scheduleId} has no place.`);
  return { user, topic, fromScheduleId: scheduleId, rule: { ...rule, placeId: place.placeId }, place };
}

/** An ended subscription that was moved to this very place: the same request, sent again. */
async function movedBefore(executor: Executor, old: Subscription, place: FoundPlace): Promise<string> {
  if (old.movedTo !== undefined) {
    const now = await findSubscription(executor, old.movedTo);
    if (now.place?.placeId === place.placeId && now.endedAt === null) return now.id;
  }
  const where = old.movedTo === undefined ? "" : ` The user moved on: see ${old.movedTo}.`;
  throw new CarillonError("subscription_ended", `Subscription ${old.id} has ended.${where}`);
}

/** @throws unknown_place, far_from_any_place */
async function placeAt(executor: Executor, where: PlaceQuery): Promise<FoundPlace> {
  const [place] = await findPlaces(executor, [where]);
  if (place === null || place === undefined) throw placeNotFound(where, "");
  return place;
}

function pointerOf(where: PlaceQuery): string {
  if ("latitude" in where) return "/coordinates";
  return "placeId" in where ? "/placeId" : "/place";
}

function leftOf({ id, rule, place }: Subscription): Left {
  return { id, rule, place };
}
