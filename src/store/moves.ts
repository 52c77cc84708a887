import { type Monotonic, monotonicMs } from "../clock.ts";
import { CarillonError } from "../errors.ts";
import type { RecurrenceRule, Rule, WallRule } from "../reminder/rule.ts";
import { nextOccurrenceAfter } from "../timetable/occurrences.ts";
import type { Executor } from "./executor.ts";
import { wakePlanner } from "./jobs.ts";
import { beginningsOf } from "./local-days.ts";
import type { FoundPlace } from "./place-times.ts";
import { findOrCreateSchedules, promiseAfterMs, type ScheduleRef } from "./schedules.ts";
import { stand } from "./standing.ts";
import { clockMs } from "./subscription-request.ts";
import type { UserRef } from "./users.ts";

/** One live subscription that is to give way to one under another rule of the same topic. */
export interface Move {
  readonly user: UserRef;
  readonly topic: { readonly topicId: number; readonly oncePerLocalDay: boolean | null };
  readonly fromScheduleId: string;
  /** the new rule */
  readonly rule: Rule;
  readonly place: FoundPlace | null;
}

/** What a transaction that moves users judges by. */
export interface MoveTime {
  /** carillon.clock(), epoch milliseconds, read when the users' rows had been locked */
  readonly nowMs: number;
  readonly takenAtMs: number;
  readonly now: Monotonic;
}

/**
 * Who moves stays a member of the old schedule for so long after the time that the move is judged by. So a moment that
 * comes while the move is being committed is the old schedule's, whether its intent still sees the move or not.
 */
const leavingMs = 2000;
/** What is left of it must do for the commit. */
const commitMs = 500;

/** Reads the clock that moves are judged by; the caller has locked the users' rows. */
export async function takeMoveTime(executor: Executor, now: Monotonic = monotonicMs): Promise<MoveTime> {
  const takenAtMs = now();
  return { nowMs: Math.floor(await clockMs(executor)), takenAtMs, now };
}

/*
 * Move. The old subscription becomes a tombstone that says where they went, and the new one stands: in one transaction,
 * five statements (and those of local-days.ts), however many users move.
 *
 * Interleavings:
 * - the old moment is being sent: its members are those with subscribed_at <= due_at < ended_at, and ended_at lies
 *   `leavingMs` ahead of the time that the move is judged by. Due before that: it is sent to them there, by an intent
 *   that sees the move (moved_to: gate.ts) or not, and the new one counts from behind it. Due later: an intent can only
 *   begin once the move is committed, sees it, and leaves them out. A move that takes longer is undone.
 * - two moves at once, or a move and somebody who subscribes the same user: the user's row is locked first, so the second
 *   sees what the first has left.
 * - an unsubscribe at once: the old row is locked before it is judged. Who unsubscribes first has ended it, and there is
 *   nothing to move; who comes second finds it ended, and `movedTo` says where they are now.
 * - another request, or the planner, at the new schedule: it is unique by topic and rule, found or created as when
 *   subscribing; the planner takes what is new by its next_due_at, and is woken for what is near.
 */

/**
 * @returns the schedule that each stands under now, in order
 * @throws database_unavailable when it took so long that a moment may have come in between
 */
export async function move(
  executor: Executor,
  moves: readonly Move[],
  time: MoveTime,
  planHorizonMs: number,
): Promise<ScheduleRef[]> {
  if (moves.length === 0) return [];
  const schedules = await findOrCreateSchedules(
    executor,
    moves.map(({ topic, rule }) => ({ topicId: topic.topicId, rule })),
  );
  await leave(executor, moves, schedules, time);
  const joining = moves.map((each, index) => {
    const { scheduleId, rule } = at(schedules, index);
    return { ...each, scheduleId, rule };
  });
  const beginnings = await beginningsOf(executor, joining, time.nowMs);
  await stand(
    executor,
    joining.map(({ user, scheduleId }, index) => ({ user, scheduleId, beginning: beginnings[index] ?? null })),
  );
  if (moves.some((each, index) => at(schedules, index).created && isNear(each, time, planHorizonMs)))
    await wakePlanner(executor);
  if (time.now() - time.takenAtMs > leavingMs - commitMs) {
    throw new CarillonError("database_unavailable", "Postgres took too long to move a user; nothing has changed.");
  }
  return schedules;
}

/** Moves subscriptions that follow their users (marked rules) to the zones that the users are in now, all at once. */
export async function followZones(
  executor: Executor,
  users: readonly UserRef[],
  planHorizonMs: number,
  now: Monotonic = monotonicMs,
): Promise<void> {
  if (users.length === 0) return;
  const standing = await takeMovable(executor, users, { timetables: false });
  if (standing.length === 0) return;
  const time = await takeMoveTime(executor, now);
  await move(
    executor,
    standing.flatMap((each) => followingMove(each, time)),
    time,
    planHorizonMs,
  );
}

/** Whether the rule is the user's own zone's. */
export function followsUser(rule: Rule): rule is WallRule | RecurrenceRule {
  return rule.kind !== "instant" && rule.kind !== "timetable" && rule.follows === "user";
}

/** Whether who stands under it has to move when they go elsewhere. */
export function dependsOnUser(rule: Rule): boolean {
  return rule.kind === "timetable" || followsUser(rule);
}

/** A live subscription whose rule depends on where its user is; its row is locked. */
export interface Movable {
  readonly user: UserRef;
  readonly topic: { readonly topicId: number; readonly oncePerLocalDay: boolean | null };
  readonly scheduleId: string;
  readonly rule: Rule;
  /** of the user */
  readonly zone: string | null;
}

/** The live subscriptions of users that follow them, and with `timetables` those to places; their rows are locked. */
export async function takeMovable(
  executor: Executor,
  users: readonly UserRef[],
  { timetables }: { readonly timetables: boolean },
): Promise<Movable[]> {
  const { rows } = await executor.query<{
    user_number: string;
    hash_slot: number;
    schedule_id: string;
    topic_id: number;
    once: boolean | null;
    rule: Rule;
    zone: string | null;
  }>(
    `select s.user_number, s.hash_slot, s.schedule_id, o.topic_id, o.once_per_local_day as once, c.rule, u.zone
     from carillon.users u
     join carillon.subscriptions s on s.user_number = u.user_number and s.hash_slot = u.hash_slot
     join carillon.schedules c on c.schedule_id = s.schedule_id
     join carillon.topics o on o.topic_id = c.topic_id
     where u.user_number = any($1::bigint[]) and s.ended_at is null
       and (c.rule ->> 'follows' = 'user' or ($2::boolean and c.rule ->> 'kind' = 'timetable'))
     order by s.schedule_id, s.hash_slot, s.user_number
     for no key update of s`,
    [users.map(({ userNumber }) => userNumber), timetables],
  );
  return rows.map((row) => ({
    user: { userNumber: row.user_number, hashSlot: row.hash_slot },
    topic: { topicId: row.topic_id, oncePerLocalDay: row.once },
    scheduleId: row.schedule_id,
    rule: row.rule,
    zone: row.zone,
  }));
}

/** The move to the user's zone of what follows its user and is not there; what is over there stays where it is. */
export function followingMove({ user, topic, scheduleId, rule, zone }: Movable, { nowMs }: MoveTime): Move[] {
  if (zone === null || !followsUser(rule) || rule.zone === zone) return [];
  const there = { ...rule, zone };
  if (nextOccurrenceAfter(there, null, nowMs + promiseAfterMs) === null) return [];
  return [{ user, topic, fromScheduleId: scheduleId, rule: there, place: null }];
}

/** Tombstones that say where to; older ones, of who came here from elsewhere, say it too. */
async function leave(
  executor: Executor,
  moves: readonly Move[],
  schedules: readonly ScheduleRef[],
  { nowMs }: MoveTime,
): Promise<void> {
  const columns = [
    moves.map(({ fromScheduleId }) => fromScheduleId),
    moves.map(({ user }) => user.hashSlot),
    moves.map(({ user }) => user.userNumber),
    schedules.map(({ scheduleId }) => scheduleId),
  ];
  const left = `unnest($1::bigint[], $2::int[], $3::bigint[], $4::bigint[])
    as w (schedule_id, hash_slot, user_number, moved_to)`;
  await executor.query(
    `update carillon.subscriptions s set moved_to = w.moved_to
     from ${left}
     where s.user_number = w.user_number and s.hash_slot = w.hash_slot and s.moved_to = w.schedule_id`,
    columns,
  );
  await executor.query(
    `update carillon.subscriptions s set ended_at = to_timestamp($5::float8 / 1000), moved_to = w.moved_to
     from ${left}
     where s.schedule_id = w.schedule_id and s.hash_slot = w.hash_slot and s.user_number = w.user_number
       and s.ended_at is null`,
    [...columns, nowMs + leavingMs],
  );
}

function isNear({ rule, place }: Move, { nowMs }: MoveTime, planHorizonMs: number): boolean {
  const next = nextOccurrenceAfter(rule, place, nowMs);
  return next !== null && next.dueAtMs <= nowMs + planHorizonMs;
}

function at<T>(list: readonly T[], index: number): T {
  const item = list[index];
  if (item === undefined) throw new CarillonError("internal", "A move was lost.");
  return item;
}
