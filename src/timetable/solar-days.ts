/**
 * Days that have been computed, kept as long as their timetable is and for a few thousand days at most: all slots of a
 * day come from one computation, and a planner asks for one after another.
 */
import type { CivilDate } from "./civil-time.ts";

export interface SkyPlace {
  /** degrees, north positive */
  readonly latitude: number;
  /** degrees, east positive */
  readonly longitude: number;
  /** IANA zone */
  readonly zone: string;
  /** ISO 3166-1 alpha-2; null or left out: not known */
  readonly country?: string | null;
}

const daysMax = 4_096;

/**
 * @param compute the times of `date` at `place` under one timetable: it must depend on nothing else
 * @returns the same, each day computed once
 */
export function rememberingDays<T extends object, Day>(
  compute: (timetable: T, place: SkyPlace, date: CivilDate) => Day,
): (timetable: T, place: SkyPlace, date: CivilDate) => Day {
  const known = new WeakMap<T, Map<string, Day>>();
  return (timetable, place, date) => {
    const days = known.get(timetable) ?? new Map<string, Day>();
    known.set(timetable, days);
    const { latitude, longitude, zone, country = null } = place;
    const key = `${latitude} ${longitude} ${zone} ${country} ${date.year} ${date.month} ${date.day}`;
    const found = days.get(key);
    if (found !== undefined) return found;
    if (days.size >= daysMax) days.clear();
    const day = compute(timetable, place, date);
    days.set(key, day);
    return day;
  };
}
