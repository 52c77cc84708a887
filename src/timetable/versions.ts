/** A timetable is a list of versions, each from a date on: a correction that begins tomorrow leaves today alone. */
import type { CivilDate } from "./civil-time.ts";
import { compareDates } from "./civil-time.ts";
import type { Timetable } from "./timetable.ts";

export interface TimetableVersion {
  /** counts up per timetable, and is never given twice */
  readonly version: number;
  /** the first date, of the place's own calendar, on which it holds; null: since ever */
  readonly effectiveFrom: CivilDate | null;
  readonly timetable: Timetable;
}

/** One version that has held since ever. */
export function sinceEver(timetable: Timetable): readonly TimetableVersion[] {
  return [{ version: 1, effectiveFrom: null, timetable }];
}

/**
 * The version that holds on `date`: the one that begins last of those that have begun by then.
 *
 * @param versions ascending, as `PlaceTimes` has them
 * @returns null before the first one begins
 */
export function versionOn<V extends Pick<TimetableVersion, "effectiveFrom">>(
  versions: readonly V[],
  date: CivilDate,
): V | null {
  return (
    versions.findLast(({ effectiveFrom }) => effectiveFrom === null || compareDates(effectiveFrom, date) <= 0) ?? null
  );
}

/** Ascending by the date on which a version begins; what holds since ever comes first. */
export function compareVersions(
  a: Pick<TimetableVersion, "effectiveFrom">,
  b: Pick<TimetableVersion, "effectiveFrom">,
): number {
  if (a.effectiveFrom === null || b.effectiveFrom === null) {
    return Number(b.effectiveFrom === null) - Number(a.effectiveFrom === null);
  }
  return compareDates(a.effectiveFrom, b.effectiveFrom);
}
