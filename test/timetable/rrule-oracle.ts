/**
 * What recurrence.ts is judged by: RFC 5545 section 3.3.10 by brute force. Every day of every period is asked whether
 * the rule's parts let it through; no day is ever computed. Times are epoch milliseconds of the same reading in UTC.
 */
import fc from "fast-check";

const dayMs = 86_400_000;
const minuteMs = 60_000;
const weekdays = ["SU", "MO", "TU", "WE", "TH", "FR", "SA"];

type Parts = ReadonlyMap<string, string>;

/** The local times of an RRULE from its start through `throughMs`, ascending. */
export function expand(rrule: string, start: string, throughMs: number): number[] {
  const parts: Parts = new Map(rrule.split(";").map((part) => part.split("=") as [string, string]));
  const startMs = Date.parse(`${start}Z`);
  const interval = Number(parts.get("INTERVAL") ?? 1);
  const count = Number(parts.get("COUNT") ?? Number.POSITIVE_INFINITY);
  const lastMs = Math.min(throughMs, untilMs(parts.get("UNTIL")));
  const found: number[] = [];
  let period: number[] = [];
  let periodNumber = 0;
  const closePeriod = () => {
    const chosen = periodNumber % interval === 0 ? chosenOf(period, numbers(parts, "BYSETPOS")) : [];
    found.push(...chosen.filter((ms) => ms >= startMs && ms <= lastMs));
    period = [];
  };
  const isDay = dayTest(startMs, parts);
  const times = timesOf(startMs, parts);
  const firstDay = firstDayOfPeriod(startMs, parts);
  for (let day = firstDay; ; day += dayMs) {
    const number = periodOf(day, startMs, parts);
    if (number !== periodNumber) {
      closePeriod();
      periodNumber = number;
      if (found.length >= count || day > lastMs) break;
    }
    if (isDay(day)) period.push(...times.map((ms) => day + ms));
  }
  return found.slice(0, count);
}

/** The same for HOURLY and MINUTELY: every minute from the start's hour on is asked. */
export function expandMinutes(rrule: string, start: string, throughMs: number): number[] {
  const parts: Parts = new Map(rrule.split(";").map((part) => part.split("=") as [string, string]));
  const [hours, minutes] = [numbers(parts, "BYHOUR"), numbers(parts, "BYMINUTE")];
  const startMs = Date.parse(`${start}Z`);
  const periodMs = parts.get("FREQ") === "HOURLY" ? 3_600_000 : minuteMs;
  const isDay = dayTest(startMs, parts);
  const found: number[] = [];
  for (let ms = startMs; ms <= throughMs; ms += minuteMs) {
    const period = Math.floor(ms / periodMs) - Math.floor(startMs / periodMs);
    const [hour, minute] = [Math.floor(ms / 3_600_000) % 24, Math.floor(ms / minuteMs) % 60];
    if (period % Number(parts.get("INTERVAL") ?? 1) !== 0) continue;
    if (hours.length > 0 && !hours.includes(hour)) continue;
    const isMinute =
      minutes.length > 0 ? minutes.includes(minute) : periodMs === minuteMs || minute === minuteOf(startMs);
    if (isMinute && isDay(Math.floor(ms / dayMs) * dayMs)) found.push(ms);
  }
  return found.slice(0, Number(parts.get("COUNT") ?? found.length));
}

function minuteOf(ms: number): number {
  return Math.floor(ms / minuteMs) % 60;
}

function untilMs(until: string | undefined): number {
  const [, year, month, day, hour = "23", minute = "59", second = "59"] =
    /^(\d{4})(\d\d)(\d\d)(?:T(\d\d)(\d\d)(\d\d))?$/.exec(until ?? "") ?? [];
  return until === undefined
    ? Number.POSITIVE_INFINITY
    : Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`);
}

function chosenOf(period: readonly number[], positions: readonly number[]): readonly number[] {
  if (positions.length === 0) return period;
  return period.filter((_, index) => positions.includes(index + 1) || positions.includes(index - period.length));
}

function firstDayOfPeriod(startMs: number, parts: Parts): number {
  let day = Math.floor(startMs / dayMs) * dayMs;
  while (periodOf(day - dayMs, startMs, parts) === 0) day -= dayMs;
  return day;
}

/** How many periods (years, months, weeks, days) lie between the start's and the day's. */
function periodOf(day: number, startMs: number, parts: Parts): number {
  const [date, start] = [new Date(day), new Date(startMs)];
  const years = date.getUTCFullYear() - start.getUTCFullYear();
  switch (parts.get("FREQ")) {
    case "YEARLY":
      return years;
    case "MONTHLY":
      return years * 12 + date.getUTCMonth() - start.getUTCMonth();
    case "WEEKLY":
      return weekNumber(day, parts) - weekNumber(startMs, parts);
    default:
      return Math.floor(day / dayMs) - Math.floor(startMs / dayMs);
  }
}

function weekNumber(ms: number, parts: Parts): number {
  // 1970-01-04 was a Sunday
  return Math.floor((Math.floor(ms / dayMs) - 3 - weekdays.indexOf(parts.get("WKST") ?? "MO")) / 7);
}

/** Says of any day whether the parts let it through. */
function dayTest(startMs: number, parts: Parts): (day: number) => boolean {
  const start = new Date(startMs);
  const [months, monthDays] = [numbers(parts, "BYMONTH"), numbers(parts, "BYMONTHDAY")];
  const byDay = parts.get("BYDAY")?.split(",");
  const yearDays = numbers(parts, "BYYEARDAY");
  const frequency = parts.get("FREQ");
  const ofYear = frequency === "YEARLY" && months.length === 0;
  return (day) => {
    const date = new Date(day);
    const inMonth = daysIn(date.getUTCFullYear(), date.getUTCMonth());
    const monthDay = date.getUTCDate();
    if (months.length > 0 && !months.includes(date.getUTCMonth() + 1)) return false;
    if (monthDays.length > 0 && !monthDays.some((each) => each === monthDay || each === monthDay - inMonth - 1)) {
      return false;
    }
    if (yearDays.length > 0 && !yearDays.some((each) => isYearDay(each, date))) return false;
    if (byDay !== undefined) return byDay.some((each) => isWeekday(each, date, ofYear));
    // what no part says, the start says
    if (frequency === "WEEKLY") return date.getUTCDay() === start.getUTCDay();
    if (monthDays.length > 0 || yearDays.length > 0 || isDailyOrMore(frequency)) return true;
    if (monthDay !== start.getUTCDate()) return false;
    return frequency === "MONTHLY" || months.length > 0 || date.getUTCMonth() === start.getUTCMonth();
  };
}

function isDailyOrMore(frequency: string | undefined): boolean {
  return frequency === "DAILY" || frequency === "HOURLY" || frequency === "MINUTELY";
}

function isYearDay(yearDay: number, date: Date): boolean {
  const year = date.getUTCFullYear();
  return date.getTime() === (yearDay > 0 ? Date.UTC(year, 0, yearDay) : Date.UTC(year + 1, 0, 1 + yearDay));
}

/** "MO", or "2MO": the second of its month, or of its year in a yearly rule without BYMONTH. */
function isWeekday(text: string, date: Date, ofYear: boolean): boolean {
  if (weekdays[date.getUTCDay()] !== text.slice(-2)) return false;
  const ordinal = Number(text.slice(0, -2));
  if (ordinal === 0) return true;
  const [year, month] = [date.getUTCFullYear(), date.getUTCMonth()];
  const first = ofYear ? Date.UTC(year, 0) : Date.UTC(year, month);
  const last = (ofYear ? Date.UTC(year + 1, 0) : Date.UTC(year, month + 1)) - dayMs;
  // so many of the same weekday from here to either end, this one included
  const [behind, ahead] = [date.getTime() - first, last - date.getTime()].map((ms) => Math.floor(ms / (7 * dayMs)) + 1);
  return ordinal === behind || ordinal === -(ahead ?? 0);
}

function timesOf(startMs: number, parts: Parts): number[] {
  const start = new Date(startMs);
  const hours = parts.has("BYHOUR") ? numbers(parts, "BYHOUR") : [start.getUTCHours()];
  const minutes = parts.has("BYMINUTE") ? numbers(parts, "BYMINUTE") : [start.getUTCMinutes()];
  const times = hours.flatMap((hour) => minutes.map((minute) => (hour * 60 + minute) * 60 + start.getUTCSeconds()));
  return [...new Set(times)].sort((a, b) => a - b).map((seconds) => seconds * 1_000);
}

function daysIn(year: number, month: number): number {
  return new Date(Date.UTC(year, month + 1, 0)).getUTCDate();
}

function numbers(parts: Parts, name: string): number[] {
  return parts.get(name)?.split(",").map(Number) ?? [];
}

/** Not the 30th of February and the like, which are refused. */
function hasADay(rrule: string): boolean {
  const parts: Parts = new Map(rrule.split(";").map((part) => part.split("=") as [string, string]));
  const [months, monthDays] = [numbers(parts, "BYMONTH"), numbers(parts, "BYMONTHDAY")];
  if (months.length === 0 || monthDays.length === 0) return true;
  return months.some((month) => monthDays.some((day) => Math.abs(day) <= daysIn(2024, month - 1)));
}

const some = (min: number, max: number, maxLength: number) =>
  fc
    .array(
      fc.integer({ min, max }).filter((value) => value !== 0),
      { minLength: 1, maxLength },
    )
    .map((values) => values.join(","));
const days = fc.subarray(weekdays, { minLength: 1 });
/** counted from the beginning or the end; among them weekdays without a number, in a month */
const ordinals = (most: 5 | 52) =>
  fc.array(
    fc
      .tuple(
        fc.integer({ min: -most, max: most }).filter((n) => n !== 0 || most === 5),
        fc.constantFrom(...weekdays),
      )
      .map(([n, day]) => `${n || ""}${day}`),
    { minLength: 1, maxLength: 3 },
  );
const often = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined, freq: 2 });

/** RRULEs without an end, in the parts that are usual and those that are hard. */
export const endlessRRules = fc.constantFrom("DAILY", "WEEKLY", "MONTHLY", "YEARLY").chain((frequency) =>
  fc
    .record({
      INTERVAL: often(fc.integer({ min: 1, max: 5 }).map(String)),
      BYMONTH: fc.option(
        fc.array(fc.integer({ min: 1, max: 12 }), { minLength: 1, maxLength: 4 }).map((m) => m.join(",")),
        { nil: undefined, freq: 3 },
      ),
      BYMONTHDAY: frequency === "WEEKLY" ? fc.constant(undefined) : often(some(-31, 31, 4)),
      BYDAY: often(
        frequency === "MONTHLY" || frequency === "YEARLY"
          ? fc.oneof(days, ordinals(frequency === "MONTHLY" ? 5 : 52)).map((list) => list.join(","))
          : days.map((list) => list.join(",")),
      ),
      BYYEARDAY:
        frequency === "YEARLY" ? fc.option(some(-366, 366, 9), { nil: undefined, freq: 4 }) : fc.constant(undefined),
      BYHOUR: fc.option(fc.constantFrom("0", "2,3", "23,1"), { nil: undefined, freq: 3 }),
      BYMINUTE: fc.option(fc.constantFrom("0", "30,15"), { nil: undefined, freq: 5 }),
      BYSETPOS: fc.option(some(-2, 2, 2), { nil: undefined, freq: 2 }),
      WKST: fc.option(fc.constantFrom(...weekdays), { nil: undefined, freq: 3 }),
    })
    .map((record) => {
      const parts = Object.entries(record).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]]));
      // one that chooses the second of one never comes
      const chooses =
        record.BYDAY !== undefined &&
        record.BYYEARDAY === undefined &&
        (frequency !== "DAILY" || record.BYHOUR?.includes(",") === true);
      const kept = parts.filter(([name, value = ""]) => {
        if (name === "BYSETPOS") return chooses;
        if (["BYMONTH", "BYMONTHDAY", "BYDAY"].includes(name ?? "") && record.BYYEARDAY !== undefined) return false;
        // numbers in BYDAY beside BYMONTHDAY: the RFC does not say of what they count
        return name !== "BYMONTHDAY" || !/\d/.test(record.BYDAY ?? "") || value === "";
      });
      return [["FREQ", frequency], ...kept].map((part) => part.join("=")).join(";");
    })
    .filter(hasADay),
);

/** Of hours and minutes. */
export const minuteRRules = fc
  .record({
    FREQ: fc.constantFrom("HOURLY", "MINUTELY"),
    INTERVAL: often(fc.constantFrom("1", "2", "5", "7", "25", "90", "1440")),
    COUNT: fc.option(fc.constantFrom("1", "10", "200"), { nil: undefined, freq: 3 }),
    BYMONTH: fc.option(fc.constantFrom("2", "2,3", "1,12"), { nil: undefined, freq: 3 }),
    BYMONTHDAY: fc.option(some(-31, 31, 4), { nil: undefined, freq: 3 }),
    BYDAY: often(days.map((list) => list.join(","))),
    BYHOUR: often(fc.constantFrom("0", "2,3", "23,1", "9,10,11,12,13,14,15,16,17")),
    BYMINUTE: often(fc.constantFrom("0", "30,15", "0,10,20,30,40,50")),
  })
  .map((record) => {
    const parts = Object.entries(record).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]]));
    return parts.map((part) => part.join("=")).join(";");
  })
  .filter(hasADay);

const ends = fc.oneof(
  fc.constant(""),
  fc.integer({ min: 1, max: 40 }).map((count) => `;COUNT=${count}`),
  fc.integer({ min: 0, max: 3_000 }).map((offset) => {
    const date = new Date(Date.UTC(2024, 0) + offset * dayMs).toISOString().slice(0, 10).replaceAll("-", "");
    return `;UNTIL=${date}${offset % 3 === 0 ? "" : "T120000"}`;
  }),
);

/** RRULEs with all their ends, as people write them: in any case and order. */
export const rruleTexts = fc
  .tuple(endlessRRules, ends, fc.boolean(), fc.infiniteStream(fc.nat(1_000)))
  .map(([endless, end, isLower, chances]) => {
    const parts = `${endless}${end}`.split(";").map((part) => [chances.next().value ?? 0, part] as const);
    const text = [...parts]
      .sort(([a], [b]) => a - b)
      .map(([, part]) => part)
      .join(";");
    return isLower ? text.toLowerCase() : `RRULE:${text}`;
  });
export const endedRRules = fc.tuple(endlessRRules, ends).map((parts) => parts.join(""));
