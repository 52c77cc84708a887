import { DateTime, IANAZone } from "luxon";

/** For whom a template is rendered, as far as its filters ask. */
export interface FilterSettings {
  /** IANA */
  readonly zone: string;
  /** how times are written; canonical */
  readonly locale: string;
  /** the language that the template itself is written in: its plurals follow it; canonical */
  readonly language: string;
}

/** What a filter works on and with. Named arguments come as pairs. */
export type TextFilter = (settings: FilterSettings, value: unknown, ...args: readonly unknown[]) => string;

/**
 * Instants in the reader's zone and locale. Without a format: `time` 19:00, `date` 24 Nov 2026, `datetime` both; with
 * one, luxon's (moment.github.io/luxon/#/formatting): `date: "cccc, d LLLL"`, and `"DDDD"` for a locale's own long form.
 */
export const localFilters: Readonly<Record<string, TextFilter>> = {
  time: inReadersZone(DateTime.TIME_SIMPLE),
  date: inReadersZone(DateTime.DATE_MED),
  datetime: inReadersZone(DateTime.DATETIME_MED),
};

export const plainFilters: Readonly<Record<string, TextFilter>> = {
  /** `{{ n | plural: one: "stream", other: "streams" }}`: the word for so many, by the categories of Unicode CLDR */
  plural({ language }, value, ...args) {
    const words = new Map(args.flatMap((arg) => (isNamed(arg) ? [arg] : [])));
    const other = words.get("other");
    const count = typeof value === "string" && value.trim() !== "" ? Number(value) : value;
    if (typeof count !== "number" || !Number.isFinite(count)) throw new Error("plural needs a number");
    if (typeof other !== "string") throw new Error('plural needs a word for all others, other: "..."');
    const word = words.get(pluralRules(language).select(count)) ?? other;
    if (typeof word !== "string") throw new Error("plural's words must be text");
    return word;
  },
  /** an instant so many minutes later, to be written by one of the others: `{{ due | add_minutes: 15 | time }}` */
  add_minutes(_, value, minutes) {
    const count = Number(minutes ?? Number.NaN);
    if (!(Math.abs(count) <= minutesMax)) throw new Error("add_minutes needs a number of minutes");
    const later = instantOf(value).plus({ minutes: count });
    return later.toUTC().toISO({ suppressMilliseconds: true });
  },
};

/** Ten years. */
const minutesMax = 5_256_000;
const formatLengthMax = 100;

/** A zone that is none, as other programs may have stored it, must not cost anybody a reminder. */
export function knownZone(zone: string | null): string {
  return zone !== null && IANAZone.isValidZone(zone) ? zone : "UTC";
}

function inReadersZone(form: Intl.DateTimeFormatOptions): TextFilter {
  return ({ zone, locale }, value, format) => {
    const local = instantOf(value).setZone(zone).setLocale(locale);
    if (format === undefined) return local.toLocaleString(form);
    if (typeof format !== "string" || format.length > formatLengthMax) {
      throw new Error(`a format is text of ${formatLengthMax} characters at most, like "HH:mm"`);
    }
    return local.toFormat(format);
  };
}

function instantOf(value: unknown): DateTime<true> {
  const instant = typeof value === "string" ? DateTime.fromISO(value, { zone: "utc" }) : null;
  if (instant?.isValid !== true) throw new Error("this is not an instant; due is one");
  return instant;
}

const pluralRulesByLanguage = new Map<string, Intl.PluralRules>();

function pluralRules(language: string): Intl.PluralRules {
  let rules = pluralRulesByLanguage.get(language);
  if (rules === undefined) {
    rules = new Intl.PluralRules(language);
    pluralRulesByLanguage.set(language, rules);
  }
  return rules;
}

function isNamed(arg: unknown): arg is [string, unknown] {
  return Array.isArray(arg) && arg.length === 2 && typeof arg[0] === "string";
}
