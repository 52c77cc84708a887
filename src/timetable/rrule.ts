/**
 * The text of an RRULE (RFC 5545 section 3.3.10): whether it is one, and its canonical form, which is the same that
 * SQL's `carillon.canonical_rrule` gives. What it yields is for recurrence.ts.
 */
import { CarillonError } from "../errors.ts";
import { readDateTime } from "./local-text.ts";

export const frequencies = ["YEARLY", "MONTHLY", "WEEKLY", "DAILY", "HOURLY", "MINUTELY"] as const;
export type Frequency = (typeof frequencies)[number];

/** The last moment that an RRULE allows, inclusive. */
export type Until =
  /** "YYYY-MM-DDTHH:MM:SS" on the wall */
  | { readonly local: string }
  /** epoch milliseconds: UNTIL was written in UTC */
  | { readonly instantMs: number };

/** What else has to be known of an RRULE beside its text. */
export interface RRule {
  /** canonical */
  readonly text: string;
  readonly frequency: Frequency;
  readonly count: number | null;
  readonly until: Until | null;
}

/** Counting begins at the start, so that a rule with a COUNT has to be expanded from there. */
export const countMax = 10_000;
const intervalMax = 1_000_000;
const textMax = 4_000;
/** RFC 5545 has 53, but where a year has no 53rd Monday, rrule-temporal 2.2.8 yields the first of the next. */
const ordinalMax = 52;
const weekdays = ["MO", "TU", "WE", "TH", "FR", "SA", "SU"];
const weekdayForm = /^([+-]?\d{1,2})?(MO|TU|WE|TH|FR|SA|SU)$/;
const untilForm = /^(\d{4})(\d\d)(\d\d)(?:T(\d\d)(\d\d)(\d\d)(Z?))?$/;
/** the numbers that lists may hold; where the first is negative, counting from the end is meant and there is no 0 */
const bounds: Readonly<Record<string, readonly [number, number]>> = {
  BYMONTH: [1, 12],
  BYYEARDAY: [-366, 366],
  BYMONTHDAY: [-31, 31],
  BYHOUR: [0, 23],
  BYMINUTE: [0, 59],
  BYSECOND: [0, 59],
  BYSETPOS: [-366, 366],
};
const order = [
  ...["FREQ", "INTERVAL", "COUNT", "UNTIL", "BYMONTH", "BYYEARDAY", "BYMONTHDAY", "BYDAY"],
  ...["BYHOUR", "BYMINUTE", "BYSECOND", "BYSETPOS", "WKST"],
];

/**
 * @param pointer RFC 6901 pointer to the field that holds the text
 * @throws CarillonError malformed_rrule; recurs_too_often for a FREQ of SECONDLY and for several seconds of one minute;
 *   never_occurs for the 30th of February and the like
 */
export function parseRRule(input: unknown, pointer: string): RRule {
  const fault = (detail: string) => new CarillonError("malformed_rrule", detail, { pointer });
  if (typeof input !== "string" || input.length > textMax) {
    throw fault(`An RRULE is a text like "FREQ=WEEKLY;BYDAY=MO,TH", ${textMax} characters at most`);
  }
  const parts = partsOf(input, fault);
  const frequency = frequencies.find((each) => each === parts.get("FREQ"));
  if (parts.get("FREQ") === "SECONDLY" || parts.get("BYSECOND")?.includes(",") === true) {
    throw new CarillonError("recurs_too_often", "A rule comes once a minute at most", { pointer });
  }
  if (frequency === undefined) throw fault(`FREQ must be one of ${frequencies.join(", ")}`);
  if (parts.has("COUNT") && parts.has("UNTIL")) throw fault("A rule ends by COUNT or by UNTIL, not by both");
  refuseCombinations(parts, frequency, fault);
  if (isImpossible(parts, frequency)) {
    throw new CarillonError("never_occurs", "No year has such a day, or no period so many moments", { pointer });
  }
  const until = parts.get("UNTIL");
  return {
    text: order.flatMap((name) => (parts.has(name) ? [`${name}=${parts.get(name)}`] : [])).join(";"),
    frequency,
    count: parts.has("COUNT") ? Number(parts.get("COUNT")) : null,
    until: until === undefined ? null : untilOf(until, fault),
  };
}

type Fault = (detail: string) => CarillonError;

/** The parts with their values in canonical form, those left out that say what goes without saying. */
function partsOf(text: string, fault: Fault): Map<string, string> {
  const parts = new Map<string, string>();
  for (const part of text
    .toUpperCase()
    .replace(/^RRULE:/, "")
    .split(";")) {
    const [name = "", value = "", ...more] = part.split("=");
    if (value === "" || more.length > 0) throw fault(`${JSON.stringify(part)} is not of the form NAME=VALUE`);
    // of these, rrule-temporal 2.2.8 gets too many wrong, by the oracle of test/timetable
    if (name === "BYWEEKNO") throw fault("Weeks of the year (BYWEEKNO) are not taken: say months or days");
    if (!order.includes(name)) throw fault(`An RRULE has no part ${JSON.stringify(name)} here`);
    if (parts.has(name)) throw fault(`${name} is said twice`);
    parts.set(name, canonicalValue(name, value, fault));
  }
  if (parts.get("INTERVAL") === "1") parts.delete("INTERVAL");
  if (parts.get("WKST") === "MO") parts.delete("WKST");
  return parts;
}

function canonicalValue(name: string, value: string, fault: Fault): string {
  switch (name) {
    case "FREQ":
      return value;
    case "INTERVAL":
      return String(wholeIn(name, value, 1, intervalMax, fault));
    case "COUNT":
      return String(wholeIn(name, value, 1, countMax, fault));
    case "UNTIL":
      untilOf(value, fault);
      return value.length === 8 ? `${value}T235959` : value;
    case "WKST":
      if (!weekdays.includes(value)) throw fault("WKST must be a weekday like MO");
      return value;
    case "BYDAY":
      return weekdayList(value, fault);
    default:
      return numberList(name, value, fault);
  }
}

function weekdayList(value: string, fault: Fault): string {
  const days = new Map<string, readonly [weekday: number, ordinal: number]>();
  for (const item of value.split(",")) {
    const [, ordinalText, day = ""] = weekdayForm.exec(item) ?? [];
    const ordinal = ordinalText === undefined ? null : Number(ordinalText);
    if (day === "" || ordinal === 0 || Math.abs(ordinal ?? 1) > ordinalMax) {
      throw fault(`${JSON.stringify(item)} in BYDAY is not a weekday like MO, 2MO or -1MO, counted to ${ordinalMax}`);
    }
    // without a number comes first, as nulls do in SQL
    days.set(`${ordinal ?? ""}${day}`, [weekdays.indexOf(day), ordinal ?? Number.NEGATIVE_INFINITY]);
  }
  const sorted = [...days].sort(([, a], [, b]) => a[0] - b[0] || (a[1] < b[1] ? -1 : 1));
  return sorted.map(([text]) => text).join(",");
}

function numberList(name: string, value: string, fault: Fault): string {
  const [min, max] = bounds[name] ?? [0, 0];
  const numbers = value.split(",").map((item) => wholeIn(name, item, min, max, fault));
  if (min < 0 && numbers.includes(0)) throw fault(`${name} counts from 1, or from -1 backwards`);
  return [...new Set(numbers)].sort((a, b) => a - b).join(",");
}

function wholeIn(name: string, text: string, min: number, max: number, fault: Fault): number {
  const value = /^[+-]?\d{1,7}$/.test(text) ? Number(text) : Number.NaN;
  if (!(value >= min && value <= max)) throw fault(`${name} must be whole numbers from ${min} to ${max}`);
  // no -0
  return value + 0;
}

function untilOf(value: string, fault: Fault): Until {
  const [, year, month, day, hour = "23", minute = "59", second = "59", zulu = ""] = untilForm.exec(value) ?? [];
  const local = `${year}-${month}-${day}T${hour}:${minute}:${second}`;
  if (readDateTime(local) === null) {
    throw fault("UNTIL is written 20261231, 20261231T235959, or 20261231T225959Z for UTC, and must exist");
  }
  return zulu === "" ? { local } : { instantMs: Date.parse(`${local}Z`) };
}

/**
 * Combinations that RFC 5545 section 3.3.10 forbids, since everybody reads something else into them; and the few of its
 * own that the library gets wrong, by the oracle of test/timetable/rrule-oracle.ts.
 */
function refuseCombinations(parts: ReadonlyMap<string, string>, frequency: Frequency, fault: Fault): void {
  const only = (name: string, allowed: readonly Frequency[]) => {
    if (!parts.has(name) || allowed.includes(frequency)) return;
    throw fault(`${name} goes with FREQ=${allowed.join(" or ")} alone`);
  };
  only("BYYEARDAY", ["YEARLY"]);
  only("BYMONTHDAY", ["YEARLY", "MONTHLY", "DAILY", "HOURLY", "MINUTELY"]);
  if (/\d/.test(parts.get("BYDAY") ?? "")) {
    only("BYDAY", ["YEARLY", "MONTHLY"]);
    // allowed by the RFC, but rrule-temporal 2.2.8 then forgets the weekdays without numbers
    const isMixed = /(^|,)[A-Z]/.test(parts.get("BYDAY") ?? "");
    if (isMixed && frequency === "YEARLY") throw fault("In a yearly rule, BYDAY has numbers everywhere or nowhere");
  }
  // allowed by the RFC, but rrule-temporal 2.2.8 then takes the one or the other instead of both
  const beside = ["BYMONTH", "BYMONTHDAY", "BYDAY"].find((name) => parts.has("BYYEARDAY") && parts.has(name));
  if (beside !== undefined) throw fault(`BYYEARDAY does not go with ${beside} here`);
  const others = [...parts.keys()].some((name) => name.startsWith("BY") && name !== "BYSETPOS");
  if (parts.has("BYSETPOS") && !others) throw fault("BYSETPOS chooses among what another BY part gives");
}

/** What can be told without looking at a calendar: the search for the others ends as well, but takes long. */
function isImpossible(parts: ReadonlyMap<string, string>, frequency: Frequency): boolean {
  const numbers = (name: string) => parts.get(name)?.split(",").map(Number);
  const [months, monthDays, positions] = [numbers("BYMONTH"), numbers("BYMONTHDAY"), numbers("BYSETPOS")];
  if (months !== undefined && monthDays !== undefined) {
    const longest = Math.max(...months.map((month) => new Date(Date.UTC(2024, month, 0)).getUTCDate()));
    if (monthDays.every((day) => Math.abs(day) > longest)) return true;
  }
  const days = { YEARLY: 366, MONTHLY: 31, WEEKLY: 7, DAILY: 1, HOURLY: 1, MINUTELY: 1 }[frequency];
  const hours = frequency === "HOURLY" || frequency === "MINUTELY" ? 1 : (numbers("BYHOUR")?.length ?? 1);
  const minutes = frequency === "MINUTELY" ? 1 : (numbers("BYMINUTE")?.length ?? 1);
  return positions?.every((position) => Math.abs(position) > days * hours * minutes) === true;
}
