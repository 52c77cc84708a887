/**
 * Whether a rule makes sense, before anyone stores it. The result is in the form that SQL's `carillon.canonical_rule`
 * gives: times with seconds, days ascending without repeats, instants in UTC on whole seconds, defaults filled in.
 */
import { CarillonError } from "../errors.ts";
import type { InstantRule, Rule, TimetableRule, WallRule } from "../reminder/rule.ts";
import { assertZone, usualZoneName, utcMs } from "./civil-time.ts";

/** A slot is moved by a day at most, so that its occurrence stays near the date that its key names. */
export const offsetMinutesMax = 1_440;

const everyDay = [1, 2, 3, 4, 5, 6, 7] as const;
const fieldsOf = {
  instant: ["kind", "at"],
  wall: ["kind", "time", "zone", "days", "gap", "overlap"],
  timetable: ["kind", "placeId", "slot", "offsetMinutes"],
} as const satisfies Record<Rule["kind"], readonly string[]>;

/**
 * The rule that `input` says, normalised. Whether the place exists and has the slot is not asked here.
 *
 * @param pointer RFC 6901 pointer to `input` ("" when it is the whole document)
 * @throws CarillonError malformed_time, unknown_zone, offset_out_of_range, or invalid_request for any other fault,
 *   each pointing at the field
 */
export function parseRule(input: unknown, pointer = ""): Rule {
  if (typeof input !== "object" || input === null || Array.isArray(input)) {
    throw invalid("A rule must be an object", pointer);
  }
  const fields: Fields = { ...input };
  const kind = fields.kind;
  if (kind !== "instant" && kind !== "wall" && kind !== "timetable") {
    throw invalid("kind must be instant, wall or timetable", `${pointer}/kind`);
  }
  const known: readonly string[] = fieldsOf[kind];
  for (const name of Object.keys(fields)) {
    if (known.includes(name)) continue;
    const token = name.replaceAll("~", "~0").replaceAll("/", "~1");
    throw invalid(`A rule of kind ${kind} has no ${JSON.stringify(name)}`, `${pointer}/${token}`);
  }
  switch (kind) {
    case "instant":
      return instantRule(fields, pointer);
    case "wall":
      return wallRule(fields, pointer);
    case "timetable":
      return timetableRule(fields, pointer);
  }
}

/**
 * "2026-11-24T19:00:00.5+01:00" -> "2026-11-24T18:00:00Z": RFC 3339 to UTC, the fraction of a second cut off. A leap
 * second (":60") is refused, since neither Node nor Postgres can tell it from the second after.
 *
 * @param pointer RFC 6901 pointer to the field
 * @throws CarillonError malformed_time
 */
export function parseInstant(text: unknown, pointer: string): string {
  const found = typeof text === "string" ? rfc3339.exec(text) : null;
  if (found === null) throw malformed('An instant is written like "2026-11-24T18:00:00Z"', pointer);
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = found.slice(1, 7).map(Number);
  const [sign, offsetHours, offsetMinutes] = [found[7], Number(found[8] ?? 0), Number(found[9] ?? 0)];
  const writtenMs = utcMs({ year, month, day, hour, minute, second });
  if (writtenMs === null || offsetHours > 23 || offsetMinutes > 59) {
    throw malformed("There is no such date, time or offset", pointer);
  }
  const offsetMs = (sign === "-" ? -1 : 1) * (offsetHours * 60 + offsetMinutes) * 60_000;
  const utc = new Date(writtenMs - offsetMs);
  if (utc.getUTCFullYear() < 1 || utc.getUTCFullYear() > 9_999) {
    throw malformed("An instant must lie in the years 1 to 9999, UTC", pointer);
  }
  return utc.toISOString().replace(".000Z", "Z");
}

type Fields = Record<string, unknown>;

/** RFC 3339 section 5.6, `date-time` */
const rfc3339 = /^(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.\d+)?(?:[Zz]|([+-])(\d\d):(\d\d))$/;
const timeOfDay = /^([01]\d|2[0-3]):([0-5]\d)(?::([0-5]\d))?$/;

function instantRule(fields: Fields, pointer: string): InstantRule {
  return { kind: "instant", at: parseInstant(fields.at, `${pointer}/at`) };
}

function wallRule(fields: Fields, pointer: string): WallRule {
  const zone = text(fields.zone, `${pointer}/zone`);
  assertZone(zone, `${pointer}/zone`);
  const { gap = "shift", overlap = "first" } = fields;
  if (gap !== "shift" && gap !== "skip") throw invalid("gap must be shift or skip", `${pointer}/gap`);
  if (overlap !== "first" && overlap !== "last" && overlap !== "both") {
    throw invalid("overlap must be first, last or both", `${pointer}/overlap`);
  }
  return {
    kind: "wall",
    time: parseTime(fields.time, `${pointer}/time`),
    zone: usualZoneName(zone),
    days: parseDays(fields.days ?? everyDay, `${pointer}/days`),
    gap,
    overlap,
  };
}

function timetableRule(fields: Fields, pointer: string): TimetableRule {
  const { placeId, offsetMinutes = 0 } = fields;
  if (typeof placeId !== "number" || !Number.isSafeInteger(placeId) || placeId < 1) {
    throw invalid("placeId must be a positive whole number", `${pointer}/placeId`);
  }
  if (!isWhole(offsetMinutes) || Math.abs(offsetMinutes) > offsetMinutesMax) {
    throw new CarillonError("offset_out_of_range", `offsetMinutes must be whole and within +-${offsetMinutesMax}`, {
      pointer: `${pointer}/offsetMinutes`,
    });
  }
  // -0 would be a second spelling of no offset
  return {
    kind: "timetable",
    placeId,
    slot: text(fields.slot, `${pointer}/slot`),
    offsetMinutes: offsetMinutes + 0,
  };
}

function parseTime(value: unknown, pointer: string): string {
  const found = typeof value === "string" ? timeOfDay.exec(value) : null;
  if (found === null)
    throw malformed('A time of day is written "HH:MM" or "HH:MM:SS", from 00:00 to 23:59:59', pointer);
  return `${found[1]}:${found[2]}:${found[3] ?? "00"}`;
}

function parseDays(value: unknown, pointer: string): readonly number[] {
  if (!Array.isArray(value) || value.length === 0) throw invalid("days must name at least one day", pointer);
  const days: readonly unknown[] = value;
  const numbers = days.map((day, index) => {
    if (!isWhole(day) || day < 1 || day > 7) {
      throw invalid("A day must be 1 (Monday) to 7 (Sunday)", `${pointer}/${index}`);
    }
    return day;
  });
  return [...new Set(numbers)].sort((a, b) => a - b);
}

function text(value: unknown, pointer: string): string {
  if (typeof value !== "string" || value === "") throw invalid("Must be a text that is not empty", pointer);
  return value;
}

function isWhole(value: unknown): value is number {
  return typeof value === "number" && Number.isInteger(value);
}

function malformed(detail: string, pointer: string): CarillonError {
  return new CarillonError("malformed_time", detail, { pointer });
}

function invalid(detail: string, pointer: string): CarillonError {
  return new CarillonError("invalid_request", detail, { pointer });
}
