import type { Occurrence, Rule } from "../reminder/rule.ts";
import {
  type Beginning,
  beginningOf,
  localDayReachMs,
  momentsAround,
  type Stay,
  wishOf,
} from "../timetable/local-day.ts";
import type { Executor } from "./executor.ts";
import { type FoundPlace, findPlaces } from "./place-times.ts";
import type { UserRef } from "./users.ts";

/** Somebody who is about to stand under a schedule. */
export interface Joining {
  readonly user: UserRef;
  readonly topic: { readonly topicId: number; readonly oncePerLocalDay: boolean | null };
  readonly scheduleId: string;
  readonly rule: Rule;
  readonly place: FoundPlace | null;
}

/** Whether a topic gives who moves one slot of one local date once; null is for the kind of rule to say. */
export function countsOncePerLocalDay(setting: boolean | null, rule: Rule): boolean {
  return rule.kind !== "instant" && (setting ?? rule.kind === "timetable");
}

/**
 * From when on each counts: behind what has come for them elsewhere, in another schedule of the same topic and wish that
 * they stand in or stood in lately. Three statements at most, and none where no topic asks for it.
 *
 * The caller has locked the users' rows, and has ended what they move away from: so whoever moves or subscribes the same
 * user next sees what the one before has left.
 *
 * @param nowMs epoch milliseconds, carillon.clock()
 * @returns one for each, in order; null: from when they stand there
 */
export async function beginningsOf(
  executor: Executor,
  joining: readonly Joining[],
  nowMs: number,
): Promise<(Beginning | null)[]> {
  const once = new Set(joining.filter(({ topic, rule }) => countsOncePerLocalDay(topic.oncePerLocalDay, rule)));
  if (once.size === 0) return joining.map(() => null);
  const byUser = Map.groupBy(await readStood(executor, [...once], nowMs), (row) => row.user_number);
  const stoodOf = (each: Joining) => {
    if (!once.has(each)) return [];
    const rows = (byUser.get(each.user.userNumber) ?? []).filter((row) => isOf(row, each));
    // most come for the first time, or stand where they stood
    return rows.every((row) => row.schedule_id === each.scheduleId && row.ended_ms === null) ? [] : rows;
  };
  const stood = joining.map(stoodOf);
  const momentsOf = await rememberedMoments(executor, stood.flat(), nowMs);
  return joining.map((each, index) => {
    const stays = (stood[index] ?? []).map((row) => stayOf(row, momentsOf(row.schedule_id), each.scheduleId));
    return stays.length === 0 ? null : beginningOf(each.rule, each.place, stays, nowMs);
  });
}

interface StoodRow {
  readonly user_number: string;
  readonly schedule_id: string;
  readonly topic_id: number;
  readonly rule: Rule;
  readonly from_ms: number;
  readonly ended_ms: number | null;
  readonly moved: boolean;
  readonly rung_through: Readonly<Record<string, string>> | null;
}

async function readStood(executor: Executor, joining: readonly Joining[], nowMs: number): Promise<StoodRow[]> {
  const { rows } = await executor.query<StoodRow>(
    `select s.user_number, s.schedule_id, c.topic_id, c.rule, s.moved_to is not null as moved, s.rung_through,
       ceil(extract(epoch from s.subscribed_at) * 1000)::float8 as from_ms,
       floor(extract(epoch from s.ended_at) * 1000)::float8 as ended_ms
     from carillon.subscriptions s
     join carillon.schedules c on c.schedule_id = s.schedule_id
     where s.user_number = any($1::bigint[]) and c.topic_id = any($2::int[])
       and (s.ended_at is null or s.ended_at > to_timestamp($3::float8 / 1000))`,
    [
      [...new Set(joining.map(({ user }) => user.userNumber))],
      [...new Set(joining.map(({ topic }) => topic.topicId))],
      nowMs - localDayReachMs,
    ],
  );
  return rows;
}

function isOf(row: StoodRow, { topic, rule }: Joining): boolean {
  return row.topic_id === topic.topicId && wishOf(row.rule) === wishOf(rule);
}

function stayOf(row: StoodRow, moments: readonly Occurrence[], joinedScheduleId: string): Stay {
  return {
    here: row.schedule_id === joinedScheduleId,
    fromMs: row.from_ms,
    endedMs: row.ended_ms,
    moved: row.moved,
    moments,
    rungBefore: new Map(Object.entries(row.rung_through ?? {}).map(([offset, local]) => [Number(offset), local])),
  };
}

async function rememberedMoments(
  executor: Executor,
  stood: readonly StoodRow[],
  nowMs: number,
): Promise<(scheduleId: string) => readonly Occurrence[]> {
  if (stood.length === 0) return () => [];
  const rules = new Map(stood.map((row) => [row.schedule_id, row.rule]));
  const { rows } = await executor.query<{ schedule_id: string; key: string; due_at_ms: number }>(
    `select b.schedule_id, b.occurrence as key, (extract(epoch from b.due_at) * 1000)::float8 as due_at_ms
     from carillon.time_buckets b
     where b.schedule_id = any($1::bigint[]) and b.round = 0 and b.due_at > to_timestamp($2::float8 / 1000)`,
    [[...rules.keys()], nowMs - 2 * localDayReachMs],
  );
  const planned = Map.groupBy(rows, (row) => row.schedule_id);
  const placeIds = [
    ...new Set([...rules.values()].flatMap((rule) => (rule.kind === "timetable" ? [rule.placeId] : []))),
  ];
  const found = await findPlaces(
    executor,
    placeIds.map((placeId) => ({ placeId })),
  );
  const places = new Map(placeIds.map((placeId, index) => [placeId, found[index] ?? null]));
  const known = new Map(
    [...rules].map(([scheduleId, rule]) => {
      const there = (planned.get(scheduleId) ?? []).map((row) => ({ key: row.key, dueAtMs: row.due_at_ms }));
      const place = rule.kind === "timetable" ? (places.get(rule.placeId) ?? null) : null;
      return [scheduleId, momentsAround(rule, place, there, nowMs)] as const;
    }),
  );
  return (scheduleId) => known.get(scheduleId) ?? [];
}
