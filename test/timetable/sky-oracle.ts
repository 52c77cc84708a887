/**
 * What the sun does, by astronomy-engine: a full ephemeris and a search, no closed formula. The tolerances that our
 * times are held to against it stand here, too; docs/time.md prints them, and a test compares the two.
 */
import { Body, Equator, Observer, SearchAltitude, SearchHourAngle, SearchRiseSet } from "astronomy-engine";

const halfDays = 0.5;
const halfDayMs = 43_200_000;
const radians = Math.PI / 180;

export interface Band {
  /** degrees of latitude, north or south, from which the band begins */
  readonly from: number;
  /** seconds that a time of kind sun may be off */
  readonly sun: number;
  /** seconds for fajr, sunrise, dhuhr, maghrib and isha, which come on whole minutes */
  readonly prayer: number;
  /** seconds for asr, while the noon sun stands 5 degrees high: adhan takes the day's declination from its midnight */
  readonly asr: number;
  /** seconds for either kind within 3 days of a season in which the sun doesn't pass the altitude: it only grazes it */
  readonly grazing: number;
}

export const bands: readonly Band[] = [
  { from: 0, sun: 10, prayer: 45, asr: 90, grazing: 45 },
  { from: 50, sun: 30, prayer: 45, asr: 150, grazing: 150 },
  { from: 60, sun: 60, prayer: 60, asr: 600, grazing: 400 },
  { from: 65, sun: 60, prayer: 80, asr: 720, grazing: 1_000 },
];

export function bandOf(latitude: number): Band {
  const band = bands.findLast(({ from }) => Math.abs(latitude) >= from);
  if (band === undefined) throw new Error(`no band for ${latitude}`);
  return band;
}

export interface SkyPlace {
  readonly latitude: number;
  readonly longitude: number;
}

/** The sun's highest point nearest to `nearMs`; epoch milliseconds, as all here. */
export function noonMs(place: SkyPlace, nearMs: number): number {
  return SearchHourAngle(Body.Sun, observerAt(place), 0, new Date(nearMs - halfDayMs / 4), 1).time.date.getTime();
}

/** When the sun's centre passes `degrees` (without refraction) in the half day before or after a noon, or null. */
export function passesMs(place: SkyPlace, noon: number, half: "morning" | "evening", degrees: number): number | null {
  const [direction, from] = half === "morning" ? [1, noon - halfDayMs] : [-1, noon];
  const found = SearchAltitude(Body.Sun, observerAt(place), direction, new Date(from), halfDays, degrees);
  return found === null ? null : found.date.getTime();
}

/** Sunrise before or sunset after a noon, or null. */
export function risesOrSetsMs(place: SkyPlace, noon: number, half: "morning" | "evening"): number | null {
  const [direction, from] = half === "morning" ? [1, noon - halfDayMs] : [-1, noon];
  const found = SearchRiseSet(Body.Sun, observerAt(place), direction, new Date(from), halfDays);
  return found === null ? null : found.date.getTime();
}

/** Degrees of the sun's centre at a noon. */
export function noonAltitude({ latitude, longitude }: SkyPlace, noon: number): number {
  const { dec } = Equator(Body.Sun, new Date(noon), observerAt({ latitude, longitude }), true, true);
  return 90 - Math.abs(latitude - dec);
}

/** Where the sun stands when a shadow is longer than at noon by `lengths` of what casts it. */
export function shadowAltitude(place: SkyPlace, noon: number, lengths: number): number {
  return Math.atan(1 / (lengths + Math.tan((90 - noonAltitude(place, noon)) * radians))) / radians;
}

function observerAt({ latitude, longitude }: SkyPlace): Observer {
  return new Observer(latitude, longitude, 0);
}
