/** The fields of rules as they come from outside: each is read with its type, its bounds and its pointer. */
import { CarillonError } from "../errors.ts";
import type { Bounded, InZone } from "../reminder/rule.ts";
import { assertZone, usualZoneName } from "./civil-time.ts";
import { formatDateTime, readDate, readDateTime } from "./local-text.ts";

/** A moment is moved by a day at most, so that its occurrence stays near the date that its key names. */
export const offsetMinutesMax = 1_440;
/** One subscription stands for this many reminders of one moment at most. */
export const offsetsMax = 8;
export const dateTimesMax = 1_000;

export type Fields = Record<string, unknown>;

/** What a rule of any kind but the instant may say beside its moments. */
export const boundedFields = ["offsetsMinutes", "offsetMinutes", "startsOn", "endsOn"] as const;
export const zoneFields = ["zone", "follows", "gap", "overlap"] as const;

const everyDay = [1, 2, 3, 4, 5, 6, 7] as const;
const timeOfDay = /^([01]\d|2[0-3]):([0-5]\d)(?::([0-5]\d))?$/;

/** @throws CarillonError offset_out_of_range, malformed_time, never_occurs, invalid_request */
export function parseBounds(fields: Fields, pointer: string): Bounded {
  const startsOn = parseDate(fields.startsOn, `${pointer}/startsOn`);
  const endsOn = parseDate(fields.endsOn, `${pointer}/endsOn`);
  if (startsOn !== null && endsOn !== null && endsOn < startsOn) {
    throw new CarillonError("never_occurs", `endsOn is before startsOn (${startsOn})`, {
      pointer: `${pointer}/endsOn`,
    });
  }
  return {
    offsetsMinutes: parseOffsets(fields, pointer),
    ...(startsOn === null ? {} : { startsOn }),
    ...(endsOn === null ? {} : { endsOn }),
  };
}

/** @throws CarillonError unknown_zone, invalid_request */
export function parseZone(fields: Fields, pointer: string): InZone {
  const { follows, gap = "shift", overlap = "first" } = fields;
  const zone = text(fields.zone, `${pointer}/zone`);
  assertZone(zone, `${pointer}/zone`);
  if (follows !== undefined && follows !== "user") throw invalid("follows must be user", `${pointer}/follows`);
  if (gap !== "shift" && gap !== "skip") throw invalid("gap must be shift or skip", `${pointer}/gap`);
  if (overlap !== "first" && overlap !== "last" && overlap !== "both") {
    throw invalid("overlap must be first, last or both", `${pointer}/overlap`);
  }
  return { zone: usualZoneName(zone), ...(follows === undefined ? {} : { follows }), gap, overlap };
}

export function parseTime(value: unknown, pointer: string): string {
  const found = typeof value === "string" ? timeOfDay.exec(value) : null;
  if (found === null)
    throw malformed('A time of day is written "HH:MM" or "HH:MM:SS", from 00:00 to 23:59:59', pointer);
  return `${found[1]}:${found[2]}:${found[3] ?? "00"}`;
}

export function parseDays(value: unknown, pointer: string): readonly number[] {
  const days: readonly unknown[] = value === undefined ? everyDay : list(value, pointer, "days");
  const numbers = days.map((day, index) => {
    if (!isWhole(day) || day < 1 || day > 7) {
      throw invalid("A day must be 1 (Monday) to 7 (Sunday)", `${pointer}/${index}`);
    }
    return day;
  });
  return ascending(numbers);
}

/** A local date-time, with its seconds. */
export function parseDateTime(value: unknown, pointer: string): string {
  const local = typeof value === "string" ? readDateTime(value) : null;
  if (local === null) {
    throw malformed('A local date-time is written like "2026-12-24T18:00:00", without a zone, and must exist', pointer);
  }
  return formatDateTime(local);
}

/** Local date-times, ascending, without repeats. */
export function parseDateTimes(value: unknown, pointer: string): readonly string[] {
  if (value === undefined) return [];
  if (!Array.isArray(value)) throw invalid("Must be a list of local date-times", pointer);
  if (value.length > dateTimesMax) throw invalid(`At most ${dateTimesMax} local date-times`, pointer);
  const items: readonly unknown[] = value;
  return [...new Set(items.map((item, index) => parseDateTime(item, `${pointer}/${index}`)))].sort();
}

export function text(value: unknown, pointer: string): string {
  if (typeof value !== "string" || value === "") throw invalid("Must be a text that is not empty", pointer);
  return value;
}

export function malformed(detail: string, pointer: string): CarillonError {
  return new CarillonError("malformed_time", detail, { pointer });
}

export function invalid(detail: string, pointer: string): CarillonError {
  return new CarillonError("invalid_request", detail, { pointer });
}

/** `offsetMinutes: -20` is short for `offsetsMinutes: [-20]`. */
function parseOffsets({ offsetMinutes, offsetsMinutes }: Fields, pointer: string): readonly number[] {
  if (offsetsMinutes === undefined) return [parseOffset(offsetMinutes ?? 0, `${pointer}/offsetMinutes`)];
  if (offsetMinutes !== undefined) {
    throw invalid("Say offsetMinutes or offsetsMinutes, not both", `${pointer}/offsetMinutes`);
  }
  const offsets = list(offsetsMinutes, `${pointer}/offsetsMinutes`, "offsetsMinutes");
  const numbers = ascending(offsets.map((each, index) => parseOffset(each, `${pointer}/offsetsMinutes/${index}`)));
  if (numbers.length > offsetsMax) throw invalid(`At most ${offsetsMax} offsets`, `${pointer}/offsetsMinutes`);
  return numbers;
}

function parseOffset(value: unknown, pointer: string): number {
  if (!isWhole(value) || Math.abs(value) > offsetMinutesMax) {
    const detail = `An offset must be whole minutes within +-${offsetMinutesMax}`;
    throw new CarillonError("offset_out_of_range", detail, { pointer });
  }
  // -0 would be a second spelling of no offset
  return value + 0;
}

function parseDate(value: unknown, pointer: string): string | null {
  if (value === undefined) return null;
  if (typeof value === "string" && readDate(value) !== null) return value;
  throw malformed('A date is written like "2026-12-24", and must exist', pointer);
}

function list(value: unknown, pointer: string, name: string): readonly unknown[] {
  if (!Array.isArray(value) || value.length === 0) throw invalid(`${name} must name at least one`, pointer);
  return value;
}

function ascending(numbers: readonly number[]): readonly number[] {
  return [...new Set(numbers)].sort((a, b) => a - b);
}

function isWhole(value: unknown): value is number {
  return typeof value === "number" && Number.isInteger(value);
}
