/** The next moments of a schedule, or of a rule that is not stored yet: each with what gave it, and whether it is planned. */
import { CarillonError } from "../errors.ts";
import type { Rule } from "../reminder/rule.ts";
import type { Database } from "../store/database.ts";
import { type BucketThere, bucketsThere, type Outlook, readOutlooks } from "../store/foresight.ts";
import { readNow, readOnly } from "../store/inspection.ts";
import { resolveWhen, type When } from "../store/subscription-request.ts";
import { formatDate, parseDate } from "../timetable/civil-time.ts";
import { type MissingDays, type Note, previewRule, type ToldOccurrence, zoneOf } from "../timetable/preview.ts";
import type { PlaceTimes } from "../timetable/timetable.ts";
import { versionOn } from "../timetable/versions.ts";

export const previewMax = 1000;

export interface PreviewOptions {
  /** 1 to `previewMax` */
  readonly count: number;
  /** epoch milliseconds after which; null: now */
  readonly fromMs: number | null;
  /** of the zone data that this process reckons with */
  readonly tzdata: string;
}

/** A moment to come and what gave it. */
export interface PreviewedMoment {
  readonly dueAt: Date;
  /** the rule's zone, or its place's; UTC for an instant */
  readonly zone: string;
  /** as clocks show it there, with their offset */
  readonly local: string;
  /** the rule's own key of the moment */
  readonly occurrence: string;
  /** for a timetable rule: which slot of which date, by which timetable */
  readonly gaveIt: ReturnType<typeof sourceOf>;
  readonly notes: readonly Note[];
  /** null: not planned yet; `dueAt` where the bucket says another time, to which it has not been moved (yet) */
  readonly planned: { readonly bucketId: string; readonly state: string; readonly dueAt: Date } | null;
}

export interface RulePreview {
  readonly rule: Rule;
  readonly zone: string;
  readonly from: Date;
  readonly tzdata: string;
  /** by instant; fewer than asked for: no more come within 400 days */
  readonly moments: readonly PreviewedMoment[];
  /** days until the last of them on which the rule gives nothing, with the reason */
  readonly missing: readonly MissingDays[];
}

export interface SchedulePreview extends RulePreview {
  /** bigint */
  readonly scheduleId: string;
  readonly topic: string;
  readonly place: Outlook["place"];
  /** since when the schedule or its topic is paused; null: neither is */
  readonly pausedAt: Date | null;
}

/** @throws unknown_schedule; internal where its timetable can't be read */
export function previewSchedule(
  db: Pick<Database, "pool">,
  scheduleId: string,
  options: PreviewOptions,
): Promise<SchedulePreview> {
  return readOnly(db, async (executor) => {
    const { outlooks } = await readOutlooks(executor, "where s.schedule_id = $1", [scheduleId]);
    const [outlook] = outlooks;
    if (outlook === undefined) throw new CarillonError("unknown_schedule", `There is no schedule ${scheduleId}.`);
    const { schedule } = outlook;
    const fromMs = options.fromMs ?? (await readNow(executor)).getTime();
    if (schedule.fault !== null) throw schedule.fault;
    const { place } = schedule;
    const given = previewRule(schedule.rule, place, fromMs, options.count);
    const occurrences = given.occurrences.map(({ key }) => key);
    const none = { fromMs, throughMs: fromMs };
    const buckets = await bucketsThere(executor, [scheduleId], { ...none, occurrences });
    const first = new Map(buckets.filter(({ round }) => round === 0).map((bucket) => [bucket.occurrence, bucket]));
    return {
      scheduleId,
      topic: outlook.topic,
      place: outlook.place,
      pausedAt: outlook.topicPausedAt ?? outlook.schedulePausedAt,
      rule: schedule.rule,
      zone: zoneOf(schedule.rule, place),
      from: new Date(fromMs),
      tzdata: options.tzdata,
      moments: given.occurrences.map((told) => previewed(told, place, first.get(told.key))),
      missing: given.missing,
    };
  });
}

/**
 * The same of a rule that nobody has subscribed to.
 *
 * @param zone of a user who would subscribe, for rules in the user's own
 * @throws what `resolveWhen` throws
 */
export async function previewUnstored(
  db: Pick<Database, "pool">,
  when: When,
  zone: string | undefined,
  options: PreviewOptions,
): Promise<RulePreview> {
  const { rule, place } = await resolveWhen(db.pool, when, zone);
  const fromMs = options.fromMs ?? (await readNow(db.pool)).getTime();
  const { occurrences, missing } = previewRule(rule, place, fromMs, options.count);
  return {
    rule,
    zone: zoneOf(rule, place),
    from: new Date(fromMs),
    tzdata: options.tzdata,
    moments: occurrences.map((told) => previewed(told, place, undefined)),
    missing,
  };
}

function previewed(told: ToldOccurrence, place: PlaceTimes | null, bucket: BucketThere | undefined): PreviewedMoment {
  return {
    dueAt: new Date(told.dueAtMs),
    zone: told.zone,
    local: told.local,
    occurrence: told.key,
    gaveIt: sourceOf(told, place),
    notes: told.notes,
    planned:
      bucket === undefined ? null : { bucketId: bucket.bucketId, state: bucket.state, dueAt: new Date(bucket.dueAtMs) },
  };
}

/** Which slot of which date gave it, by which version of the place's timetable. */
function sourceOf({ slot }: ToldOccurrence, place: PlaceTimes | null) {
  if (slot === null || place === null) return null;
  const date = parseDate(slot.date);
  const version = date === null ? null : versionOn(place.versions, date);
  if (version === null) return null;
  const { effectiveFrom } = version;
  return {
    ...slot,
    timetable: version.timetable.kind,
    version: version.version,
    /** null: since ever */
    effectiveFrom: effectiveFrom === null ? null : formatDate(effectiveFrom),
  };
}
