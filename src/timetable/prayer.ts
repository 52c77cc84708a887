/**
 * Prayer times, computed by adhan (Meeus, Astronomical Algorithms). adhan thinks in UTC days of the sun; what is made
 * here are the times of a place's own civil date, or none where the sun gives none.
 */
import type { CalculationParameters } from "adhan";
import { CalculationMethod, Coordinates, PrayerTimes } from "adhan";
import { unreachable } from "../errors.ts";
import type { CivilDate } from "./civil-time.ts";
import { addDays, compareDates, localDate } from "./civil-time.ts";
import { asRecord, invalid, oneOf, parametersOf, pointerTo } from "./parameters.ts";
import { prayerDefaults } from "./prayer-defaults.ts";
import type { NoTimeReason, SlotTime } from "./slot-time.ts";
import type { SkyPlace } from "./solar-days.ts";
import { rememberingDays } from "./solar-days.ts";
import { horizonDegrees, sunAltitudeDegrees, whyNotPassed } from "./sun-position.ts";

export const prayerSlots = ["fajr", "sunrise", "dhuhr", "asr", "maghrib", "isha"] as const;
export type PrayerSlot = (typeof prayerSlots)[number];

/** adhan's methods but for "Other", which has no angles of its own: its fajr would come after sunrise. */
export const prayerMethods = [
  "MuslimWorldLeague",
  "Egyptian",
  "Karachi",
  "UmmAlQura",
  "Dubai",
  "MoonsightingCommittee",
  "NorthAmerica",
  "Kuwait",
  "Qatar",
  "Singapore",
  "Tehran",
  "Turkey",
] as const satisfies readonly (keyof typeof CalculationMethod)[];
export type PrayerMethod = (typeof prayerMethods)[number];

export const madhabs = ["shafi", "hanafi"] as const;
export type Madhab = (typeof madhabs)[number];

export const highLatitudeRules = ["middleofthenight", "seventhofthenight", "twilightangle"] as const;
export type HighLatitudeRule = (typeof highLatitudeRules)[number];

/** In place of a method or madhab: that of the place's country (prayer-defaults.ts). */
export const byCountry = "byCountry";

export interface PrayerTimetable {
  readonly kind: "prayer";
  readonly method: PrayerMethod | typeof byCountry;
  readonly madhab: Madhab | typeof byCountry;
  /** null: what adhan recommends, a seventh of the night beyond 48 degrees (north or south), else half of it */
  readonly highLatitudeRule: HighLatitudeRule | null;
  /** whole minutes to add to a slot (negative: earlier), within +-180 */
  readonly adjustments: Readonly<Partial<Record<PrayerSlot, number>>>;
}

export interface PrayerPlace extends SkyPlace {
  readonly timetable: PrayerTimetable;
}

const minuteMs = 60_000;
const halfDayMs = 720 * minuteMs;
const adjustmentMinutesMax = 180;
const highLatitudeDegrees = 48;
/** A minute of rounding is up to 0.25 degrees of sun. */
const altitudeTolerance = 0.5;

export function isPrayerSlot(slot: string): slot is PrayerSlot {
  return prayerSlots.some((known) => known === slot);
}

/**
 * The prayer times of the place's own `date`, in epoch milliseconds on whole minutes. A slot that does not exist that
 * day - sunrise in a polar night - is left out; on a date that the place's calendar leaves out, all are.
 *
 * @throws CarillonError unknown_zone
 */
export function prayerTimes(place: PrayerPlace, date: CivilDate): Partial<Record<PrayerSlot, number>> {
  const times: Partial<Record<PrayerSlot, number>> = {};
  for (const [slot, time] of prayersOf(place.timetable, place, date) ?? []) {
    if ("at" in time) times[slot] = time.at;
  }
  return times;
}

/**
 * One of the `prayerTimes`, or why it does not exist.
 *
 * @throws CarillonError unknown_zone
 */
export function prayerTime(timetable: PrayerTimetable, place: SkyPlace, slot: PrayerSlot, date: CivilDate): SlotTime {
  return prayersOf(timetable, place, date)?.get(slot) ?? { none: "skipped_date" };
}

/** null: the place's calendar leaves the date out */
const prayersOf = rememberingDays((timetable: PrayerTimetable, at, date): Map<PrayerSlot, SlotTime> | null => {
  const place = { ...at, timetable };
  const parameters = calculationOf(place);
  // A method's own minutes are added at the end, so that the sun can be asked about what adhan found.
  const methodMinutes = parameters.methodAdjustments;
  parameters.methodAdjustments = { fajr: 0, sunrise: 0, dhuhr: 0, asr: 0, maghrib: 0, isha: 0 };
  const day = solarDayOf(place, date, parameters);
  if (day === null) return null;
  const times = new Map<PrayerSlot, SlotTime>();
  let latestMs = Number.NEGATIVE_INFINITY;
  for (const slot of prayerSlots) {
    const instantMs = day[slot] + methodMinutes[slot] * minuteMs;
    if (!exists(slot, day, place, parameters)) {
      times.set(slot, { none: whyMissing(slot, day, place) });
    } else if (instantMs <= latestMs) {
      // Where the sun is up for minutes only, a method's own would turn the order of the day around.
      times.set(slot, { none: "times_coincide" });
    } else {
      latestMs = instantMs;
      times.set(slot, { at: instantMs + (place.timetable.adjustments[slot] ?? 0) * minuteMs });
    }
  }
  return times;
});

type SolarDay = Readonly<Record<PrayerSlot | "sunset", number>>;

function calculationOf({ timetable, latitude, country = null }: PrayerPlace): CalculationParameters {
  const usual = prayerDefaults(country);
  const parameters = CalculationMethod[timetable.method === byCountry ? usual.method : timetable.method]();
  parameters.madhab = timetable.madhab === byCountry ? usual.madhab : timetable.madhab;
  const recommended = Math.abs(latitude) > highLatitudeDegrees ? "seventhofthenight" : "middleofthenight";
  parameters.highLatitudeRule = timetable.highLatitudeRule ?? recommended;
  return parameters;
}

/**
 * adhan's times of the solar day whose noon falls on `date` in the place's zone. adhan names a solar day by the date
 * that its noon has at the longitude, which is another one where a zone lies across the date line (Kiritimati, Apia).
 */
function solarDayOf(place: PrayerPlace, date: CivilDate, parameters: CalculationParameters): SolarDay | null {
  const coordinates = new Coordinates(place.latitude, place.longitude);
  for (const days of [0, -1, 1]) {
    const day = compute(coordinates, addDays(date, days), parameters);
    if (compareDates(localDate(day.dhuhr, place.zone), date) === 0) return day;
  }
  return null;
}

function compute(coordinates: Coordinates, date: CivilDate, parameters: CalculationParameters): SolarDay {
  // adhan reads the local components of a Date, so they are given in the process' own zone; noon exists in every zone.
  const processNoon = new Date(date.year, date.month - 1, date.day, 12);
  const times = new PrayerTimes(coordinates, processNoon, parameters);
  // adhan rounds to the minute by the seconds alone and leaves the milliseconds of a fraction of the night.
  const wholeMinute = (time: Date) => Math.floor(time.getTime() / minuteMs) * minuteMs;
  return {
    fajr: wholeMinute(times.fajr),
    sunrise: wholeMinute(times.sunrise),
    dhuhr: wholeMinute(times.dhuhr),
    asr: wholeMinute(times.asr),
    sunset: wholeMinute(times.sunset),
    maghrib: wholeMinute(times.maghrib),
    isha: wholeMinute(times.isha),
  };
}

/**
 * Whether the sun really does what a slot stands for. Near and within the polar circles adhan gives NaN, but also
 * numbers that mean nothing: an asr for a sun below the horizon, or, on the first and last days of a polar night, a
 * sunrise an hour off, because its single step of iteration diverges where the sun only grazes the horizon.
 */
function exists(slot: PrayerSlot, day: SolarDay, place: PrayerPlace, parameters: CalculationParameters): boolean {
  const altitude = (instantMs: number) => sunAltitudeDegrees(instantMs, place.latitude, place.longitude);
  const isAt = (instantMs: number, degrees: number) => Math.abs(altitude(instantMs) - degrees) < altitudeTolerance;
  const rises = risesAndSets(day, place);
  switch (slot) {
    case "dhuhr":
      return true;
    case "sunrise":
      return rises;
    case "maghrib":
      return rises && day.maghrib >= day.sunset;
    case "asr":
      return day.asr > day.dhuhr && (rises ? day.asr < day.sunset : altitude(day.dhuhr) > 1 && altitude(day.asr) > 0);
    // Without a night to measure them by, there is only the twilight itself.
    case "fajr":
      return rises ? day.fajr < day.sunrise : day.fajr < day.dhuhr && isAt(day.fajr, -parameters.fajrAngle);
    case "isha":
      return rises ? day.isha > day.maghrib : day.isha > day.dhuhr && isAt(day.isha, -parameters.ishaAngle);
    default:
      return unreachable(slot);
  }
}

function risesAndSets({ sunrise, dhuhr, sunset }: SolarDay, { latitude, longitude }: PrayerPlace): boolean {
  const isAtHorizon = (instantMs: number) =>
    Math.abs(sunAltitudeDegrees(instantMs, latitude, longitude) - horizonDegrees) < altitudeTolerance;
  return sunrise < dhuhr && sunset > dhuhr && isAtHorizon(sunrise) && isAtHorizon(sunset);
}

/** Prayers hang on sunrise and sunset, or on a shadow; what is missing then is the sun's crossing of the horizon. */
function whyMissing(slot: PrayerSlot, day: SolarDay, place: PrayerPlace): NoTimeReason {
  const isMorning = slot === "fajr" || slot === "sunrise";
  const midnightMs = day.dhuhr + (isMorning ? -halfDayMs : halfDayMs);
  if (!risesAndSets(day, place)) {
    const why = whyNotPassed(horizonDegrees, day.dhuhr, midnightMs, place.latitude, place.longitude);
    return slot === "asr" && why === "polar_day" ? "sun_stays_low" : why;
  }
  return slot === "asr" ? "sun_stays_low" : "times_coincide";
}

/**
 * A prayer timetable from its stored or posted parameters, with defaults filled in (MuslimWorldLeague, shafi - or
 * the country's, where the method is the country's - the recommended rule, no adjustments).
 *
 * @param pointer RFC 6901 pointer to `params`
 * @throws CarillonError invalid_request, pointing at the parameter at fault
 */
export function parsePrayerTimetable(params: unknown, pointer = ""): PrayerTimetable {
  const known = ["method", "madhab", "highLatitudeRule", "adjustments"];
  const given = parametersOf("prayer", params, known, pointer);
  const method = oneOf([...prayerMethods, byCountry], given.method ?? "MuslimWorldLeague", `${pointer}/method`);
  const usualMadhab = method === byCountry ? byCountry : "shafi";
  return {
    kind: "prayer",
    method,
    madhab: oneOf([...madhabs, byCountry], given.madhab ?? usualMadhab, `${pointer}/madhab`),
    highLatitudeRule:
      given.highLatitudeRule == null
        ? null
        : oneOf(highLatitudeRules, given.highLatitudeRule, `${pointer}/highLatitudeRule`),
    adjustments: parseAdjustments(given.adjustments ?? {}, `${pointer}/adjustments`),
  };
}

function parseAdjustments(given: unknown, pointer: string): Partial<Record<PrayerSlot, number>> {
  const adjustments: Partial<Record<PrayerSlot, number>> = {};
  for (const [slot, minutes] of Object.entries(asRecord(given, pointer))) {
    const at = pointerTo(pointer, slot);
    if (!isPrayerSlot(slot)) throw invalid(`A slot must be one of ${prayerSlots.join(", ")}`, at);
    if (typeof minutes !== "number" || !Number.isInteger(minutes) || Math.abs(minutes) > adjustmentMinutesMax) {
      throw invalid(`An adjustment must be whole minutes within +-${adjustmentMinutesMax}`, at);
    }
    adjustments[slot] = minutes;
  }
  return adjustments;
}
