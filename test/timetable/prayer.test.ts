import { CalculationMethod, HighLatitudeRule } from "adhan";
import { describe, expect, it } from "vitest";
import type { CarillonError } from "../../src/errors.ts";
import type { CivilDate } from "../../src/timetable/civil-time.ts";
import { addDays, formatDate, localDate } from "../../src/timetable/civil-time.ts";
import type { PrayerPlace, PrayerSlot } from "../../src/timetable/prayer.ts";
import {
  highLatitudeRules,
  parsePrayerTimetable,
  prayerMethods,
  prayerSlots,
  prayerTimes,
} from "../../src/timetable/prayer.ts";
import { countriesWithDefaults, prayerDefaults } from "../../src/timetable/prayer-defaults.ts";
import { altitudeDegrees, hourAngleDegrees } from "./sun-oracle.ts";

const minuteMs = 60_000;

function place(latitude: number, longitude: number, zone: string, params: unknown = {}): PrayerPlace {
  return { latitude, longitude, zone, timetable: parsePrayerTimetable(params) };
}

function dateOf(text: string): CivilDate {
  const [year = 0, month = 0, day = 0] = text.split("-").map(Number);
  return { year, month, day };
}

function yearOf(year: number): CivilDate[] {
  return Array.from({ length: 365 }, (_, index) => addDays({ year, month: 1, day: 1 }, index));
}

function minuteOfDay(instantMs: number, zone: string): number {
  const text = new Intl.DateTimeFormat("en-GB", { timeZone: zone, hour: "2-digit", minute: "2-digit" }).format(
    instantMs,
  );
  const [hour = Number.NaN, minute = Number.NaN] = text.split(":").map(Number);
  return hour * 60 + minute;
}

describe("published times", () => {
  const night = { highLatitudeRule: "middleofthenight" };
  const makkah = place(21.427009, 39.828685, "Asia/Riyadh", { method: "UmmAlQura", ...night });
  const singapore = place(1.370844612058886, 103.80145644060552, "Asia/Singapore", { method: "Singapore", ...night });
  const ankara = place(39.939382, 32.819713, "Europe/Istanbul", { method: "Turkey", ...night });
  const tehran = place(35.715298, 51.404343, "Asia/Tehran", { method: "Tehran", ...night });
  const dubai = place(25.263056, 55.297222, "Asia/Dubai", { method: "Dubai", ...night });
  const doha = place(25.283897, 51.52877, "Asia/Qatar", { method: "Qatar", ...night });
  const kuwait = place(29.370865, 47.979139, "Asia/Kuwait", { method: "Kuwait", ...night });
  const moonsighting = { method: "MoonsightingCommittee", madhab: "hanafi", ...night };
  const london = place(51.507194, -0.116711, "Europe/London", moonsighting);
  const oslo = place(59.9094, 10.7349, "Europe/Oslo", moonsighting);
  const raleigh = place(35.775, -78.6336, "America/New_York", { method: "NorthAmerica", madhab: "hanafi", ...night });

  it.each<[string, PrayerPlace, string, string]>([
    ["Umm al-Qura, Makkah", makkah, "2016-01-05", "05:39 06:59 12:26 15:32 17:53 19:23"],
    ["Umm al-Qura, Makkah", makkah, "2016-06-04", "04:11 05:37 12:20 15:37 19:01 20:31"],
    ["Umm al-Qura, Makkah", makkah, "2016-10-06", "04:58 06:13 12:09 15:32 18:04 19:34"],
    ["MUIS, Singapore", singapore, "2020-01-01", "05:44 07:07 13:10 16:34 19:10 20:25"],
    ["MUIS, Singapore", singapore, "2020-02-29", "05:58 07:15 13:19 16:31 19:20 20:29"],
    ["Diyanet, Ankara", ankara, "2019-01-01", "06:33 08:03 12:57 15:20 17:40 19:05"],
    ["Diyanet, Ankara", ankara, "2019-07-01", "03:21 05:16 12:57 16:55 20:28 22:15"],
    ["Awqaf UAE, Dubai", dubai, "2018-01-01", "05:42 07:01 12:25 15:24 17:44 19:03"],
    ["Awqaf UAE, Dubai", dubai, "2018-07-01", "04:02 05:29 12:25 15:48 19:16 20:43"],
    ["Awqaf Qatar, Doha", doha, "2016-01-01", "04:58 06:19 11:37 14:35 16:56 18:26"],
    ["Awqaf Qatar, Doha", doha, "2016-07-01", "03:18 04:47 11:38 15:01 18:29 19:59"],
    ["Kuwait City", kuwait, "2016-01-01", "05:18 06:42 11:51 14:42 17:01 18:23"],
    ["Kuwait City", kuwait, "2016-07-01", "03:16 04:52 11:52 15:26 18:52 20:23"],
    ["Tehran", tehran, "2018-06-01", "04:06 05:50 13:02 16:51 20:36 21:34"],
    ["Moonsighting Committee, London", london, "2016-01-01", "06:25 08:06 12:09 14:15 16:05 17:38"],
    ["Moonsighting Committee, London", london, "2016-06-01", "02:55 04:49 13:03 18:31 21:12 22:23"],
    ["Moonsighting Committee, Oslo", oslo, "2016-01-01", "07:34 09:19 12:25 13:36 15:25 17:02"],
    ["ISNA, Raleigh", raleigh, "2015-07-12", "04:42 06:08 13:21 18:22 20:32 21:57"],
  ])("%s on %#", (_, where, date, published) => {
    const times = prayerTimes(where, dateOf(date));
    for (const [index, text] of published.split(" ").entries()) {
      const slot = prayerSlots[index] ?? "fajr";
      const [hour = 0, minute = 0] = text.split(":").map(Number);
      const computed = minuteOfDay(times[slot] ?? Number.NaN, where.zone);
      expect(Math.abs(computed - hour * 60 - minute), `${date} ${slot} ${text}`).toBeLessThanOrEqual(2);
    }
  });
});

const everywhere: readonly [string, PrayerPlace][] = [
  ["Makkah", place(21.42, 39.83, "Asia/Riyadh")],
  ["Jakarta", place(-6.2, 106.8, "Asia/Jakarta")],
  ["Istanbul", place(41, 29, "Europe/Istanbul")],
  ["London", place(51.5, -0.12, "Europe/London")],
  ["Helsinki", place(60.17, 24.94, "Europe/Helsinki")],
  ["Ushuaia", place(-54.8, -68.3, "America/Argentina/Ushuaia")],
  ["Honolulu", place(21.3, -157.86, "Pacific/Honolulu")],
  ["Auckland", place(-36.85, 174.76, "Pacific/Auckland")],
  ["Urumqi on Beijing time", place(43.8, 87.6, "Asia/Shanghai")],
  ["Kiritimati, east of the date line by decree", place(1.87, -157.43, "Pacific/Kiritimati")],
  ["Apia", place(-13.83, -171.76, "Pacific/Apia")],
  ["Taveuni on the date line", place(-16.85, 179.97, "Pacific/Fiji")],
  ["Udu Point across it", place(-16.13, -179.99, "Pacific/Fiji")],
  ["Anadyr", place(64.73, 177.5, "Asia/Anadyr")],
];

describe("a year of days", () => {
  it.each(everywhere)("%s has every slot, in order, around the solar noon of its own date", (_, where) => {
    let yesterdayMs = Number.NaN;
    for (const date of yearOf(2026)) {
      const times = prayerTimes(where, date);
      const instants = prayerSlots.map((slot) => times[slot] ?? Number.NaN);
      expect(instants, formatDate(date)).toEqual([...instants].sort((a, b) => a - b));
      expect(new Set(instants).size).toBe(6);
      expect(instants.every((instantMs) => instantMs % minuteMs === 0)).toBe(true);

      const dhuhrMs = times.dhuhr ?? Number.NaN;
      expect(formatDate(localDate(dhuhrMs, where.zone))).toBe(formatDate(date));
      // MuslimWorldLeague adds a minute; rounding makes up to half a one more
      expect(Math.abs(hourAngleDegrees(dhuhrMs - minuteMs, where.longitude)) * 4).toBeLessThan(1.3);
      if (!Number.isNaN(yesterdayMs)) expect(Math.abs(dhuhrMs - yesterdayMs - 86_400_000)).toBeLessThan(2 * minuteMs);
      yesterdayMs = dhuhrMs;
    }
  });

  it("leaves out the date that Apia left out", () => {
    const apia = place(-13.83, -171.76, "Pacific/Apia");
    expect(prayerTimes(apia, dateOf("2011-12-30"))).toEqual({});
    const before = prayerTimes(apia, dateOf("2011-12-29")).dhuhr ?? 0;
    const after = prayerTimes(apia, dateOf("2011-12-31")).dhuhr ?? 0;
    expect(Math.abs(after - before - 86_400_000)).toBeLessThan(2 * minuteMs);
  });
});

describe("near the poles", () => {
  it("a polar night has no sunrise, asr or maghrib, but still twilight", () => {
    const tromso = prayerTimes(place(69.65, 18.96, "Europe/Oslo"), dateOf("2026-12-21"));
    expect(Object.keys(tromso)).toEqual(["fajr", "dhuhr", "isha"]);
  });

  it("a polar day has an asr, but no sunrise or maghrib, and no night to place fajr and isha in", () => {
    const tromso = prayerTimes(place(69.65, 18.96, "Europe/Oslo"), dateOf("2026-06-21"));
    expect(Object.keys(tromso)).toEqual(["dhuhr", "asr"]);
  });

  it("at the pole's midwinter only noon is left", () => {
    expect(Object.keys(prayerTimes(place(-89.9, 0, "Antarctica/Vostok"), dateOf("2026-06-21")))).toEqual(["dhuhr"]);
  });

  it("no latitude gets a time that isn't the sun's", () => {
    const wrong: string[] = [];
    for (const latitude of [60, 64, 65.5, 66.2, 66.6, 67, 67.5, 68, 70, 75, 80, 85, 89]) {
      for (const sign of [1, -1]) {
        const where = place(sign * latitude, 20, "UTC");
        for (const date of yearOf(2026)) {
          const times = prayerTimes(where, date);
          const present = prayerSlots.flatMap((slot) => times[slot] ?? []);
          const at = `${sign * latitude} ${formatDate(date)}`;
          if (present.some((ms) => !Number.isFinite(ms)) || times.dhuhr === undefined) wrong.push(`${at} not finite`);
          if (present.some((ms, index) => index > 0 && ms <= (present[index - 1] ?? ms)))
            wrong.push(`${at} out of order`);
          for (const slot of ["sunrise", "maghrib"] as const) {
            const instantMs = times[slot];
            if (instantMs === undefined) continue;
            const altitude = altitudeDegrees(instantMs, where.latitude, where.longitude);
            if (Math.abs(altitude + 0.833) > 0.53) wrong.push(`${at} ${slot} at ${altitude.toFixed(2)} degrees`);
          }
          const asrMs = times.asr;
          if (asrMs !== undefined && altitudeDegrees(asrMs, where.latitude, where.longitude) < -0.9) {
            wrong.push(`${at} asr in the dark`);
          }
        }
      }
    }
    expect(wrong).toEqual([]);
  });

  it("every method and rule keeps the order of the day", () => {
    for (const method of prayerMethods) {
      for (const highLatitudeRule of [...highLatitudeRules, null]) {
        for (const latitude of [-60, -35, 0, 35, 52, 60, 66]) {
          const where = place(latitude, -100, "America/Winnipeg", { method, highLatitudeRule });
          for (let day = 0; day < 365; day += 9) {
            const times = prayerTimes(where, addDays(dateOf("2026-01-01"), day));
            const present = prayerSlots.flatMap((slot) => times[slot] ?? []);
            expect(present).toEqual([...present].sort((a, b) => a - b));
            expect(present.length).toBeGreaterThanOrEqual(latitude === 66 ? 2 : 5);
          }
        }
      }
    }
  });
});

describe("parameters", () => {
  it("default", () => {
    const defaults = {
      kind: "prayer",
      method: "MuslimWorldLeague",
      madhab: "shafi",
      highLatitudeRule: null,
      adjustments: {},
    };
    expect(parsePrayerTimetable(undefined)).toEqual(defaults);
    expect(parsePrayerTimetable(null)).toEqual(defaults);
    expect(parsePrayerTimetable({ kind: "prayer" })).toEqual(defaults);
    expect(parsePrayerTimetable(defaults)).toEqual(defaults);
  });

  it("adjust a slot by whole minutes, and no other", () => {
    const plain = prayerTimes(place(52.5, 13.4, "Europe/Berlin"), dateOf("2026-03-03"));
    const params = { adjustments: { fajr: -7, isha: 12 } };
    const adjusted = prayerTimes(place(52.5, 13.4, "Europe/Berlin", params), dateOf("2026-03-03"));
    const moved = (slot: PrayerSlot) => ((adjusted[slot] ?? 0) - (plain[slot] ?? 0)) / minuteMs;
    expect(prayerSlots.map(moved)).toEqual([-7, 0, 0, 0, 0, 12]);
  });

  it("choose a later asr for hanafi", () => {
    const asr = (madhab: string) =>
      prayerTimes(place(52.5, 13.4, "Europe/Berlin", { madhab }), dateOf("2026-06-03")).asr ?? Number.NaN;
    expect(asr("hanafi") - asr("shafi")).toBeGreaterThan(30 * minuteMs);
  });

  it("offer all methods and rules that adhan has, but for the one without angles", () => {
    expect([...prayerMethods, "Other"].sort()).toEqual(Object.keys(CalculationMethod).sort());
    expect([...highLatitudeRules].sort()).toEqual(
      [HighLatitudeRule.MiddleOfTheNight, HighLatitudeRule.SeventhOfTheNight, HighLatitudeRule.TwilightAngle].sort(),
    );
  });

  it("take method and madhab of the country where they say so", () => {
    const date = dateOf("2026-03-03");
    const timesIn = (country: string | null, params: unknown) =>
      prayerTimes({ ...place(39.93, 32.86, "Europe/Istanbul", params), country }, date);
    const follows = { method: "byCountry" };
    expect(timesIn("TR", follows)).toEqual(timesIn(null, { method: "Turkey" }));
    expect(timesIn("PK", follows)).toEqual(timesIn(null, { method: "Karachi", madhab: "hanafi" }));
    expect(timesIn("PK", { ...follows, madhab: "shafi" })).toEqual(timesIn(null, { method: "Karachi" }));
    expect(timesIn("PK", { madhab: "byCountry" })).toEqual(timesIn(null, { madhab: "hanafi" }));
    for (const nowhere of ["XX", null]) expect(timesIn(nowhere, follows)).toEqual(timesIn("TR", {}));
    expect(parsePrayerTimetable(follows)).toMatchObject({ method: "byCountry", madhab: "byCountry" });
    expect(timesIn("TR", follows)).not.toEqual(timesIn("TR", {}));
  });

  it("have defaults for countries that exist, and each once", () => {
    const names = new Intl.DisplayNames("en", { type: "region", fallback: "none" });
    for (const country of countriesWithDefaults) expect(names.of(country), country).toBeDefined();
    expect(new Set(countriesWithDefaults).size).toBe(countriesWithDefaults.length);
    expect(countriesWithDefaults.map(prayerDefaults)).not.toContainEqual({
      method: "MuslimWorldLeague",
      madhab: "shafi",
    });
  });

  it("take a seventh of the night beyond 48 degrees, south too, unless told otherwise", () => {
    for (const [latitude, date] of [
      [55, "2026-06-21"],
      [-55, "2026-12-21"],
    ] as const) {
      const fajr = (highLatitudeRule: string | null) =>
        prayerTimes(place(latitude, 0, "UTC", { highLatitudeRule }), dateOf(date)).fajr;
      expect(fajr(null)).toBe(fajr("seventhofthenight"));
      expect(fajr(null)).not.toBe(fajr("middleofthenight"));
    }
  });

  it.each<[unknown, string]>([
    ["MuslimWorldLeague", "/params"],
    [[], "/params"],
    [{ kind: "sun" }, "/params/kind"],
    [{ method: "muslimworldleague" }, "/params/method"],
    [{ method: "Other" }, "/params/method"],
    [{ method: 1 }, "/params/method"],
    [{ madhab: "Hanafi" }, "/params/madhab"],
    [{ highLatitudeRule: "half" }, "/params/highLatitudeRule"],
    [{ adjustments: 5 }, "/params/adjustments"],
    [{ adjustments: { noon: 1 } }, "/params/adjustments/noon"],
    [{ adjustments: { fajr: 1.5 } }, "/params/adjustments/fajr"],
    [{ adjustments: { fajr: 181 } }, "/params/adjustments/fajr"],
    [{ adjustments: { isha: "5" } }, "/params/adjustments/isha"],
    [{ "a/b": 1 }, "/params/a~1b"],
  ])("refuse %j", (params, pointer) => {
    const wanted: Partial<CarillonError> = { code: "invalid_request", pointer };
    expect(() => parsePrayerTimetable(params, "/params")).toThrow(expect.objectContaining(wanted));
  });
});
