import { describe, expect, it } from "vitest";
import type { CivilDate } from "../../src/timetable/civil-time.ts";
import { addDays, formatDate, localDate } from "../../src/timetable/civil-time.ts";
import { isSunSlot, sunSlots } from "../../src/timetable/sun.ts";
import type { PlaceTimes, Timetable } from "../../src/timetable/timetable.ts";
import { parseTimetable, slotsOf, slotTime } from "../../src/timetable/timetable.ts";
import { sinceEver } from "../../src/timetable/versions.ts";
import { bandOf, noonAltitude, noonMs, passesMs, risesOrSetsMs, shadowAltitude } from "./sky-oracle.ts";
import { altitudeDegrees } from "./sun-oracle.ts";

const cities: readonly [string, number, number, string][] = [
  ["Singapore", 1.35, 103.82, "Asia/Singapore"],
  ["Kiritimati", 1.87, -157.43, "Pacific/Kiritimati"],
  ["Quito", -0.18, -78.47, "America/Guayaquil"],
  ["Apia", -13.83, -171.76, "Pacific/Apia"],
  ["Makkah", 21.42, 39.83, "Asia/Riyadh"],
  ["Cairo", 30.04, 31.24, "Africa/Cairo"],
  ["Sydney", -33.87, 151.21, "Australia/Sydney"],
  ["Denver", 39.74, -104.99, "America/Denver"],
  ["Urumqi", 43.83, 87.62, "Asia/Shanghai"],
  ["Berlin", 52.52, 13.41, "Europe/Berlin"],
  ["Ushuaia", -54.8, -68.3, "America/Argentina/Ushuaia"],
  ["Helsinki", 60.17, 24.94, "Europe/Helsinki"],
  ["Reykjavik", 64.15, -21.94, "Atlantic/Reykjavik"],
  ["Fairbanks", 64.84, -147.72, "America/Anchorage"],
  ["Tromso", 69.65, 18.96, "Europe/Oslo"],
  ["Longyearbyen", 78.22, 15.65, "Arctic/Longyearbyen"],
  ["McMurdo", -77.85, 166.67, "Antarctica/McMurdo"],
];

const minuteMs = 60_000;
const everyFewDays = Array.from({ length: 73 }, (_, index) => addDays({ year: 2026, month: 1, day: 1 }, index * 5));
const morning = new Set(["fajr", ...sunSlots.slice(0, sunSlots.indexOf("solarNoon")), "sunrise"]);

const degreesOf: Readonly<Record<string, number>> = {
  nightEnd: -18,
  nauticalDawn: -12,
  dawn: -6,
  sunriseEnd: -0.3,
  goldenHourEnd: 6,
  goldenHour: 6,
  sunsetStart: -0.3,
  dusk: -6,
  nauticalDusk: -12,
  night: -18,
  fajr: -18,
  isha: -17,
};

/** With its only timetable at hand. */
type Where = PlaceTimes & { readonly timetable: Timetable };

function place(kind: "prayer" | "sun", [, latitude, longitude, zone]: (typeof cities)[number]): Where {
  const timetable = parseTimetable(kind, {});
  return { placeId: 1, latitude, longitude, zone, timetable, versions: sinceEver(timetable) };
}

function noonOf(where: Where, date: CivilDate): number {
  const noon = slotTime(where, where.timetable.kind === "sun" ? "solarNoon" : "dhuhr", date);
  if ("none" in noon) throw new Error(`${formatDate(date)} has no noon`);
  return noonMs(where, noon.at);
}

/** When astronomy-engine has the slot of the solar day whose noon falls on `date`; null: it does not come. */
function trueMs(where: Where, slot: string, date: CivilDate): number | null {
  const noon = noonOf(where, date);
  const half = morning.has(slot) ? "morning" : "evening";
  switch (slot) {
    case "solarNoon":
      return noon;
    case "dhuhr":
      // MuslimWorldLeague's minute
      return noon + minuteMs;
    case "nadir":
      return noon - 720 * minuteMs;
    case "sunrise":
    case "sunset":
    case "maghrib":
      return risesOrSetsMs(where, noon, half);
    case "asr":
      return passesMs(where, noon, "evening", shadowAltitude(where, noon, 1));
    default:
      return passesMs(where, noon, half, degreesOf[slot] ?? Number.NaN);
  }
}

/** A season without this time begins or ends within three days. */
function isGrazing(where: Where, slot: string, date: CivilDate): boolean {
  return [-3, -2, -1, 0, 1, 2, 3].some((days) => trueMs(where, slot, addDays(date, days)) === null);
}

/** Fajr and isha that a share of the night takes the place of are not the twilight's. */
function isCutShort(where: Where, slot: string, date: CivilDate): boolean {
  if (slot !== "fajr" && slot !== "isha") return false;
  const [rise, set, twilight] = ["sunrise", "maghrib", slot].map((each) => trueMs(where, each, date));
  if (rise == null || set == null) return false;
  const night = 1_440 * minuteMs - (set - rise);
  const share = night * (Math.abs(where.latitude) > 48 ? 1 / 7 : 1 / 2) - 2 * minuteMs;
  return twilight == null || Math.abs(twilight - (slot === "fajr" ? rise : set)) > share;
}

describe.each(["sun", "prayer"] as const)("%s against astronomy-engine", (kind) => {
  it.each(cities)("%s", (...city) => {
    const where = place(kind, city);
    const band = bandOf(where.latitude);
    const wrong: string[] = [];
    let compared = 0;
    for (const date of everyFewDays) {
      for (const slot of slotsOf(where.timetable)) {
        if (isCutShort(where, slot, date)) continue;
        if (slot === "asr" && noonAltitude(where, noonOf(where, date)) < 5) continue;
        const ours = slotTime(where, slot, date);
        const theirs = trueMs(where, slot, date);
        const at = `${formatDate(date)} ${slot}`;
        compared += 1;
        if ("none" in ours || theirs === null) {
          if ("none" in ours && theirs === null) continue;
          if (!isGrazing(where, slot, date)) wrong.push(`${at}: ${JSON.stringify(ours)}, should be ${theirs}`);
          continue;
        }
        const seconds = Math.abs(ours.at - theirs) / 1_000;
        const usual = slot === "asr" ? band.asr : band[kind];
        if (seconds <= usual || (seconds <= band.grazing && isGrazing(where, slot, date))) continue;
        wrong.push(`${at}: ${seconds.toFixed(0)} s off`);
      }
    }
    expect(wrong).toEqual([]);
    expect(compared).toBeGreaterThan(everyFewDays.length * 3);
  });

  it.each(cities)("%s has its own date's noon, once a date", (...city) => {
    const where = place(kind, city);
    for (const date of everyFewDays) {
      expect(formatDate(localDate(noonOf(where, date), where.zone))).toBe(formatDate(date));
    }
  });
});

describe("why there is none", () => {
  it.each<[string, string, string, string, string]>([
    ["Tromso", "sun", "sunrise", "2026-06-21", "polar_day"],
    ["Tromso", "sun", "dusk", "2026-06-21", "polar_day"],
    ["Tromso", "sun", "sunset", "2026-12-21", "polar_night"],
    ["Tromso", "sun", "sunriseEnd", "2026-12-21", "polar_night"],
    ["Tromso", "sun", "goldenHour", "2026-02-01", "sun_stays_low"],
    ["Longyearbyen", "sun", "dawn", "2026-12-21", "polar_night"],
    ["McMurdo", "sun", "sunset", "2026-12-21", "polar_day"],
    ["McMurdo", "sun", "sunset", "2026-06-21", "polar_night"],
    ["Berlin", "sun", "night", "2026-06-21", "twilight_all_night"],
    ["Reykjavik", "sun", "dusk", "2026-06-21", "twilight_all_night"],
    ["Ushuaia", "sun", "nightEnd", "2026-12-21", "twilight_all_night"],
    ["Tromso", "prayer", "sunrise", "2026-12-21", "polar_night"],
    ["Tromso", "prayer", "asr", "2026-12-21", "polar_night"],
    ["Tromso", "prayer", "maghrib", "2026-06-21", "polar_day"],
    ["Tromso", "prayer", "fajr", "2026-06-21", "polar_day"],
    ["McMurdo", "prayer", "isha", "2026-12-21", "polar_day"],
  ])("%s, %s: %s on %s: %s", (name, kind, slot, date, none) => {
    const city = cities.find(([known]) => known === name);
    if (city === undefined) throw new Error(name);
    const [year = 0, month = 0, day = 0] = date.split("-").map(Number);
    expect(slotTime(place(kind === "sun" ? "sun" : "prayer", city), slot, { year, month, day })).toEqual({ none });
  });

  it("is said of every time that is missing, in every season and at every latitude", () => {
    const seasons = new Set<string>();
    for (const kind of ["sun", "prayer"] as const) {
      for (let latitude = -90; latitude <= 90; latitude += 2.5) {
        const where = place(kind, ["", latitude, 20, "UTC"]);
        for (const date of everyFewDays) {
          for (const slot of slotsOf(where.timetable)) {
            const time = slotTime(where, slot, date);
            if ("at" in time) expect(Number.isSafeInteger(time.at)).toBe(true);
            else seasons.add(time.none);
          }
        }
      }
    }
    const reasons = ["polar_day", "polar_night", "sun_stays_low", "times_coincide", "twilight_all_night"];
    expect([...seasons].sort()).toEqual(reasons);
  });
});

describe("near the poles", () => {
  it("no latitude gets a time that isn't the sun's, or one on the other side of noon", () => {
    const wrong: string[] = [];
    const year = Array.from({ length: 365 }, (_, index) => addDays({ year: 2026, month: 1, day: 1 }, index));
    for (let degrees = 65; degrees <= 90; degrees += 1.25) {
      for (const latitude of [degrees, -degrees]) {
        const where = place("sun", ["", latitude, 20, "UTC"]);
        for (const date of year) {
          const noon = slotTime(where, "solarNoon", date);
          for (const slot of sunSlots) {
            const time = slotTime(where, slot, date);
            if (slot === "nadir" || slot === "solarNoon" || "none" in time || "none" in noon) continue;
            const altitude = altitudeDegrees(time.at, latitude, where.longitude);
            const wanted = degreesOf[slot] ?? -0.833;
            const isOff = Math.abs(altitude - wanted) > 0.15 || time.at < noon.at !== morning.has(slot);
            if (isOff) wrong.push(`${latitude} ${formatDate(date)} ${slot} at ${altitude.toFixed(2)} degrees`);
          }
        }
      }
    }
    expect(wrong).toEqual([]);
  });
});

/** Almanacs give sunrise and sunset to the minute. */
describe("published sunrise and sunset", () => {
  it.each<[string, number, number, string, string, string, string]>([
    ["London", 51.507, -0.128, "Europe/London", "2026-06-21", "04:43", "21:22"],
    ["London", 51.507, -0.128, "Europe/London", "2026-12-21", "08:04", "15:53"],
    ["New York", 40.713, -74.006, "America/New_York", "2026-12-21", "07:17", "16:32"],
    ["New York", 40.713, -74.006, "America/New_York", "2026-06-21", "05:25", "20:31"],
    ["Sydney", -33.868, 151.209, "Australia/Sydney", "2026-12-21", "05:41", "20:05"],
    ["Reykjavik", 64.147, -21.942, "Atlantic/Reykjavik", "2026-06-21", "02:55", "00:04"],
  ])("%s", (_name, latitude, longitude, zone, date, sunrise, sunset) => {
    const where = place("sun", ["", latitude, longitude, zone]);
    const [year = 0, month = 0, day = 0] = date.split("-").map(Number);
    const clock = new Intl.DateTimeFormat("en-GB", { timeZone: zone, hour: "2-digit", minute: "2-digit" });
    for (const [slot, text] of [
      ["sunrise", sunrise],
      ["sunset", sunset],
    ] as const) {
      const time = slotTime(where, slot, { year, month, day });
      const shown = "at" in time ? clock.format(time.at) : time.none;
      const minutesOf = (each: string) => Number(each.slice(0, 2)) * 60 + Number(each.slice(3));
      expect(Math.abs(minutesOf(shown) - minutesOf(text)), `${slot}: ${shown}`).toBeLessThanOrEqual(2);
    }
  });
});

describe("the slots of the sun", () => {
  it("are in the order of the day, each once", () => {
    const where = place("sun", ["", 30, 31, "Africa/Cairo"]);
    for (const date of everyFewDays) {
      const instants = slotsOf(where.timetable).map((slot) => slotTime(where, slot, date));
      const at = instants.map((time) => ("at" in time ? time.at : Number.NaN));
      expect(at).toEqual([...at].sort((a, b) => a - b));
      expect(new Set(at).size).toBe(sunSlots.length);
      expect(at.every((ms) => ms % 1_000 === 0)).toBe(true);
    }
    expect(isSunSlot("constructor")).toBe(false);
  });
});
