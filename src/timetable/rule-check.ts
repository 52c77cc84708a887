/**
 * Whether a rule makes sense, before anyone stores it. The result is in the form that SQL's `carillon.canonical_rule`
 * gives: times with seconds, days ascending without repeats, instants in UTC on whole seconds, defaults filled in.
 */
import type { InstantRule, RecurrenceRule, Rule, TimetableRule, WallRule } from "../reminder/rule.ts";
import { utcMs } from "./civil-time.ts";
import { assertRecurs } from "./recurrence.ts";
import { parseRRule } from "./rrule.ts";
import type { Fields } from "./rule-fields.ts";
import {
  boundedFields,
  invalid,
  malformed,
  parseBounds,
  parseDateTime,
  parseDateTimes,
  parseDays,
  parseTime,
  parseZone,
  text,
  zoneFields,
} from "./rule-fields.ts";

const fieldsOf = {
  instant: ["kind", "at"],
  wall: ["kind", "time", "days", ...zoneFields, ...boundedFields],
  recurrence: ["kind", "start", "rrule", "rdates", "exdates", ...zoneFields, ...boundedFields],
  timetable: ["kind", "placeId", "slot", ...boundedFields],
} as const satisfies Record<Rule["kind"], readonly string[]>;

/**
 * The rule that `input` says, normalised. Whether the place exists and has the slot is not asked here.
 *
 * @param pointer RFC 6901 pointer to `input` ("" when it is the whole document)
 * @throws CarillonError malformed_time, malformed_rrule, unknown_zone, offset_out_of_range, never_occurs,
 *   recurs_too_often, or invalid_request for any other fault, each pointing at the field
 */
export function parseRule(input: unknown, pointer = ""): Rule {
  if (typeof input !== "object" || input === null || Array.isArray(input)) {
    throw invalid("A rule must be an object", pointer);
  }
  const fields: Fields = { ...input };
  const kind = fields.kind;
  if (kind !== "instant" && kind !== "wall" && kind !== "recurrence" && kind !== "timetable") {
    throw invalid("kind must be instant, wall, recurrence or timetable", `${pointer}/kind`);
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
    case "recurrence":
      return recurrenceRule(fields, pointer);
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

/** RFC 3339 section 5.6, `date-time` */
const rfc3339 = /^(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.\d+)?(?:[Zz]|([+-])(\d\d):(\d\d))$/;

function instantRule(fields: Fields, pointer: string): InstantRule {
  return { kind: "instant", at: parseInstant(fields.at, `${pointer}/at`) };
}

function wallRule(fields: Fields, pointer: string): WallRule {
  return {
    kind: "wall",
    time: parseTime(fields.time, `${pointer}/time`),
    days: parseDays(fields.days, `${pointer}/days`),
    ...parseZone(fields, pointer),
    ...parseBounds(fields, pointer),
  };
}

function recurrenceRule(fields: Fields, pointer: string): RecurrenceRule {
  const rule: RecurrenceRule = {
    kind: "recurrence",
    start: parseDateTime(fields.start, `${pointer}/start`),
    rrule: parseRRule(fields.rrule, `${pointer}/rrule`).text,
    rdates: parseDateTimes(fields.rdates, `${pointer}/rdates`),
    exdates: parseDateTimes(fields.exdates, `${pointer}/exdates`),
    ...parseZone(fields, pointer),
    ...parseBounds(fields, pointer),
  };
  assertRecurs(rule, pointer);
  return rule;
}

function timetableRule(fields: Fields, pointer: string): TimetableRule {
  const { placeId } = fields;
  if (typeof placeId !== "number" || !Number.isSafeInteger(placeId) || placeId < 1) {
    throw invalid("placeId must be a positive whole number", `${pointer}/placeId`);
  }
  return {
    kind: "timetable",
    placeId,
    slot: text(fields.slot, `${pointer}/slot`),
    ...parseBounds(fields, pointer),
  };
}
