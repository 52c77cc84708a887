import { readClocks } from "../store/clock.ts";
import type { Executor } from "../store/executor.ts";
import type { SchedulePlan, ScheduleToPlan } from "../store/plan.ts";
import type { ForeseenChange } from "../store/timetable-change.ts";
import {
  labelSchedules,
  type ScheduleLabel,
  type SettledMoment,
  schedulesWithTimetable,
  settledMoments,
} from "../store/timetable-schedules.ts";
import { addDays, datesThrough, localDate } from "../timetable/civil-time.ts";
import { timetableKeyDate } from "../timetable/occurrences.ts";
import type { TimetableVersion } from "../timetable/versions.ts";
import { versionOn } from "../timetable/versions.ts";
import { planOrSayWhyNot } from "./plan.ts";

/** What a change of a timetable means for the moments within the planner's horizon. */
export interface TimetableDiff {
  /** by the time at which they come or would have come; at most 1,000 */
  readonly moments: readonly MomentChange[];
  /** the list was cut: there are more */
  readonly more: boolean;
  /** moments of the schedules looked at that would be others, but have been claimed by a worker: they stay */
  readonly claimed: number;
}

export interface MomentChange {
  readonly change: "moves" | "no longer comes" | "comes newly";
  readonly topic: string;
  readonly scheduleId: string;
  readonly place: ScheduleLabel["place"];
  readonly slot: string;
  /** the place's own, "2026-11-24" */
  readonly localDate: string;
  /** subscribed: exact to 20,000, then estimated */
  readonly people: number;
  readonly from: Date | null;
  readonly to: Date | null;
}

const momentsMax = 1000;
/** Schedules at a time: each page keeps the process busy for some 30 ms. */
const page = 100;
/** Days about the horizon that a slot's instant may lie on, however late or early and wherever the place. */
const daysAround = 3;
const nothing: TimetableDiff = { moments: [], more: false, claimed: 0 };

/**
 * Plans every schedule at the timetable's places twice, by the planner's own code: under the versions that there are and
 * under those that there will be. What differs and isn't settled is what the change does.
 *
 * A forecast: what workers claim between now and the commit stays where it is.
 *
 * @param horizonMs as the planner has it
 */
export async function diffTimetable(
  executor: Executor,
  { timetableId, before, after }: ForeseenChange,
  horizonMs: number,
): Promise<TimetableDiff> {
  if (sameNear(before, after, (await readClocks(executor)).clockMs, horizonMs)) return nothing;
  const changes: BareChange[] = [];
  let claimed = 0;
  for (let behind = "0"; changes.length <= momentsMax; ) {
    const { schedules, nowMs } = await schedulesWithTimetable(executor, timetableId, before, {
      after: behind,
      limit: page,
    });
    const settled = Map.groupBy(await settledMoments(executor, schedules.map(idOf)), idOf);
    for (const schedule of schedules) {
      const done = settled.get(schedule.scheduleId) ?? [];
      const compared = compare(schedule, after, done, nowMs, horizonMs);
      changes.push(...compared.changes);
      claimed += compared.claimed;
    }
    const last = schedules.at(-1);
    if (last === undefined || schedules.length < page) break;
    behind = last.scheduleId;
  }
  const listed = changes.slice(0, momentsMax);
  const labels = await labelSchedules(executor, [...new Set(listed.map(idOf))]);
  return {
    moments: listed
      .flatMap((change) => momentOf(change, labels.get(change.scheduleId)))
      .sort((a, b) => timeOf(a) - timeOf(b)),
    more: changes.length > momentsMax,
    claimed,
  };
}

/** A version that begins next month is no reason to look at every schedule. */
function sameNear(
  before: readonly TimetableVersion[],
  after: readonly TimetableVersion[],
  nowMs: number,
  horizonMs: number,
): boolean {
  const first = addDays(localDate(nowMs, "UTC"), -daysAround);
  const last = addDays(localDate(nowMs + horizonMs, "UTC"), daysAround);
  return datesThrough(first, last).every(
    (date) => versionOn(before, date)?.timetable === versionOn(after, date)?.timetable,
  );
}

interface BareChange {
  readonly scheduleId: string;
  readonly slot: string;
  readonly occurrence: string;
  /** epoch milliseconds */
  readonly fromMs: number | undefined;
  readonly toMs: number | undefined;
}

function compare(
  schedule: ScheduleToPlan,
  after: readonly TimetableVersion[],
  settled: readonly SettledMoment[],
  nowMs: number,
  horizonMs: number,
): { readonly changes: readonly BareChange[]; readonly claimed: number } {
  const { scheduleId, rule, place } = schedule;
  if (rule.kind !== "timetable" || place === null) return { changes: [], claimed: 0 };
  const planned = planOrSayWhyNot(schedule, nowMs, horizonMs);
  const replanned = planOrSayWhyNot({ ...schedule, place: { ...place, versions: after } }, nowMs, horizonMs);
  const from = new Map([...comingOf(planned), ...onRecord(schedule)]);
  const to = comingOf(replanned);
  for (const [key, dueAtMs] of onRecord(schedule)) {
    if (!to.has(key) && !replanned.gone.includes(key)) to.set(key, dueAtMs);
  }
  const stays = new Set(settled.map(({ occurrence }) => occurrence));
  const changes = [...new Set([...from.keys(), ...to.keys()])]
    .filter((key) => !stays.has(key) && from.get(key) !== to.get(key))
    .map((key) => ({ scheduleId, slot: rule.slot, occurrence: key, fromMs: from.get(key), toMs: to.get(key) }));
  const claimed = settled.filter(({ claimed, occurrence, dueAtMs }) => {
    const toMs = to.get(occurrence);
    const stillAhead = dueAtMs > nowMs && dueAtMs <= nowMs + horizonMs;
    return claimed && (stillAhead ? toMs !== Math.round(dueAtMs) : toMs !== undefined);
  });
  return { changes, claimed: claimed.length };
}

/** What a plan has come, by key. */
function comingOf({ buckets, moves }: SchedulePlan): Map<string, number> {
  return new Map(
    [...buckets.filter(({ skipped }) => !skipped), ...moves].map((each) => [each.occurrence, Math.round(each.dueAtMs)]),
  );
}

function onRecord({ movable }: ScheduleToPlan): [string, number][] {
  return movable.map(({ occurrence, dueAtMs }) => [occurrence, Math.round(dueAtMs)]);
}

function momentOf(change: BareChange, label: ScheduleLabel | undefined): MomentChange[] {
  if (label === undefined) return [];
  const { scheduleId, slot, occurrence, fromMs, toMs } = change;
  return [
    {
      change: fromMs === undefined ? "comes newly" : toMs === undefined ? "no longer comes" : "moves",
      topic: label.topic,
      scheduleId,
      place: label.place,
      slot,
      localDate: timetableKeyDate(occurrence),
      people: label.people,
      from: fromMs === undefined ? null : new Date(fromMs),
      to: toMs === undefined ? null : new Date(toMs),
    },
  ];
}

function timeOf({ from, to }: MomentChange): number {
  return (from ?? to)?.getTime() ?? 0;
}

function idOf({ scheduleId }: { readonly scheduleId: string }): string {
  return scheduleId;
}
