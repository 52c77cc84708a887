/**
 * Which method and madhab to begin with in a country, for timetables whose method is "byCountry". A default is a start:
 * where an authority publishes a table of its own, that table is right.
 */
import type { Madhab, PrayerMethod } from "./prayer.ts";

export interface PrayerDefaults {
  readonly method: PrayerMethod;
  readonly madhab: Madhab;
}

interface Group extends PrayerDefaults {
  /** ISO 3166-1 alpha-2 */
  readonly countries: readonly string[];
  readonly source: string;
}

const elsewhere: PrayerDefaults = { method: "MuslimWorldLeague", madhab: "shafi" };

const groups: readonly Group[] = [
  {
    countries: ["SA", "BH", "OM", "YE"],
    method: "UmmAlQura",
    madhab: "shafi",
    source: "Umm al-Qura University, Makkah; praytimes.org names the Arabian Peninsula as where it is used",
  },
  {
    countries: ["AE"],
    method: "Dubai",
    madhab: "shafi",
    source: "adhan METHODS.md: used in the UAE",
  },
  {
    countries: ["KW"],
    method: "Kuwait",
    madhab: "shafi",
    source: "adhan METHODS.md: Kuwait",
  },
  {
    countries: ["QA"],
    method: "Qatar",
    madhab: "shafi",
    source: "adhan METHODS.md: Qatar",
  },
  {
    countries: ["EG", "LB", "LY", "SD", "SY"],
    method: "Egyptian",
    madhab: "shafi",
    source:
      "Egyptian General Authority of Survey; praytimes.org: Africa, Syria, Lebanon. Of Africa only its neighbours",
  },
  {
    countries: ["AF", "BD", "IN", "PK"],
    method: "Karachi",
    madhab: "hanafi",
    source:
      "University of Islamic Sciences, Karachi; praytimes.org: Pakistan, Afghanistan, Bangladesh, India. Hanafi: " +
      "method-info.md of arabeyes' libitl",
  },
  {
    countries: ["ID", "MY", "SG"],
    method: "Singapore",
    madhab: "shafi",
    source: "MUIS; adhan METHODS.md: Singapore, Malaysia and Indonesia",
  },
  {
    countries: ["TR"],
    method: "Turkey",
    madhab: "shafi",
    source: "Diyanet, whose asr is that of one shadow length; adhan METHODS.md: less accurate outside Turkey",
  },
  {
    countries: ["IR"],
    method: "Tehran",
    madhab: "shafi",
    source: "Institute of Geophysics, University of Tehran; praytimes.org: Iran",
  },
  {
    countries: ["CA", "US"],
    method: "NorthAmerica",
    madhab: "shafi",
    source: "ISNA; praytimes.org: North America (US and Canada)",
  },
  {
    countries: ["GB"],
    method: "MoonsightingCommittee",
    madhab: "shafi",
    source: "Moonsighting Committee Worldwide; adhan METHODS.md recommends it for the UK",
  },
  {
    countries: ["KG", "KZ", "TJ", "TM", "UZ"],
    method: "MuslimWorldLeague",
    madhab: "hanafi",
    source: "the Hanafi school that the muftiates of Central Asia follow",
  },
];

const byCountry = new Map(
  groups.flatMap(({ countries, method, madhab }) => countries.map((country) => [country, { method, madhab }] as const)),
);

/** Each country that has defaults of its own, by their groups. */
export const countriesWithDefaults: readonly string[] = groups.flatMap(({ countries }) => countries);

/** @param country ISO 3166-1 alpha-2; null, or one without defaults of its own: MuslimWorldLeague, shafi */
export function prayerDefaults(country: string | null): PrayerDefaults {
  return (country === null ? undefined : byCountry.get(country)) ?? elsewhere;
}
