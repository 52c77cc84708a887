/**
 * The sun's times, computed by suncalc (Meeus, Astronomical Algorithms, chapters 15 and 25). suncalc thinks in solar
 * days around a noon at the longitude; what is made here are the times of a place's own civil date, or none where the
 * sun gives none.
 */
import { getTimes, type SunTimes } from "suncalc";
import type { CivilDate } from "./civil-time.ts";
import { addDays, compareDates, localDate, utcMs } from "./civil-time.ts";
import { parametersOf } from "./parameters.ts";
import type { SlotTime } from "./slot-time.ts";
import type { SkyPlace } from "./solar-days.ts";
import { rememberingDays } from "./solar-days.ts";
import { sunAltitudeDegrees, whyNotPassed } from "./sun-position.ts";

/** All that suncalc names, in the order of the day: `nadir` is the midnight before the noon. */
export const sunSlots = [
  "nadir",
  "nightEnd",
  "nauticalDawn",
  "dawn",
  "sunrise",
  "sunriseEnd",
  "goldenHourEnd",
  "solarNoon",
  "goldenHour",
  "sunsetStart",
  "sunset",
  "dusk",
  "nauticalDusk",
  "night",
] as const;
export type SunSlot = (typeof sunSlots)[number];

/** Degrees of the sun's centre above the horizon at a slot, as suncalc has them; a noon and a midnight have none. */
const degreesOf: Readonly<Record<Exclude<SunSlot, "nadir" | "solarNoon">, number>> = {
  nightEnd: -18,
  nauticalDawn: -12,
  dawn: -6,
  sunrise: -0.833,
  sunriseEnd: -0.3,
  goldenHourEnd: 6,
  goldenHour: 6,
  sunsetStart: -0.3,
  sunset: -0.833,
  dusk: -6,
  nauticalDusk: -12,
  night: -18,
};

export interface SunTimetable {
  readonly kind: "sun";
}

const secondMs = 1_000;
const halfDayMs = 43_200_000;
/**
 * Where the sun only grazes an altitude, suncalc's two steps may end some degrees from it or on the other side of noon;
 * elsewhere they end within 0.03 degrees.
 */
const altitudeTolerance = 0.1;

export function isSunSlot(slot: string): slot is SunSlot {
  return sunSlots.some((known) => known === slot);
}

/**
 * When `slot` is at `place` on the solar day whose noon falls on the place's own `date`, on whole seconds. What comes
 * after that day's midnight (a sunset in a northern June) or before it (`nadir`, where noon is early) still belongs to
 * it, so that each date has each slot once at most.
 *
 * @throws CarillonError unknown_zone
 */
export function sunTime(timetable: SunTimetable, place: SkyPlace, slot: SunSlot, date: CivilDate): SlotTime {
  const day = solarDayOf(timetable, place, date);
  if (day === null) return { none: "skipped_date" };
  if (slot === "nadir" || slot === "solarNoon") return onSecond(day[slot]);

  const found = day[slot];
  const degrees = degreesOf[slot];
  const noonMs = day.solarNoon.getTime();
  const isMorning = sunSlots.indexOf(slot) < sunSlots.indexOf("solarNoon");
  if (found !== null && found.getTime() < noonMs === isMorning) {
    const altitude = sunAltitudeDegrees(found.getTime(), place.latitude, place.longitude);
    if (Math.abs(altitude - degrees) < altitudeTolerance) return onSecond(found);
  }
  const midnightMs = noonMs + (isMorning ? -halfDayMs : halfDayMs);
  return { none: whyNotPassed(degrees, noonMs, midnightMs, place.latitude, place.longitude) };
}

/**
 * @param pointer RFC 6901 pointer to `params`
 * @throws CarillonError invalid_request: a sun timetable has no parameters
 */
export function parseSunTimetable(params: unknown, pointer = ""): SunTimetable {
  parametersOf("sun", params, [], pointer);
  return { kind: "sun" };
}

/**
 * suncalc names a solar day by the date that its noon has at the longitude, which is another one where a zone lies
 * across the date line (Kiritimati, Apia).
 */
const solarDayOf = rememberingDays((_: SunTimetable, place, date): SunTimes | null => {
  const { latitude, longitude, zone } = place;
  for (const days of [0, -1, 1]) {
    const noonMs = utcMs({ ...addDays(date, days), hour: 12, minute: 0, second: 0 }) ?? Number.NaN;
    const day = getTimes(new Date(noonMs), latitude, longitude);
    if (compareDates(localDate(day.solarNoon.getTime(), zone), date) === 0) return day;
  }
  return null;
});

function onSecond(time: Date): SlotTime {
  return { at: Math.round(time.getTime() / secondMs) * secondMs };
}
