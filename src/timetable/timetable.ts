/**
 * A timetable gives a place its times: (place, slot, date) -> instant. This is the union of the kinds there are and
 * the only way in for those who don't care which kind a place has.
 */
import { CarillonError, unreachable } from "../errors.ts";
import type { CivilDate } from "./civil-time.ts";
import type { PrayerTimetable } from "./prayer.ts";
import { isPrayerSlot, parsePrayerTimetable, prayerSlots, prayerTimes } from "./prayer.ts";
import type { TimetableVersion } from "./versions.ts";
import { versionOn } from "./versions.ts";

export type Timetable = PrayerTimetable;

/** What a place's times depend on. */
export interface PlaceTimes {
  readonly placeId: number;
  /** degrees, north positive */
  readonly latitude: number;
  /** degrees, east positive */
  readonly longitude: number;
  /** IANA zone */
  readonly zone: string;
  /** ascending by the date on which they begin, and at least one */
  readonly versions: readonly TimetableVersion[];
}

/**
 * A timetable from its kind and parameters, stored or posted.
 *
 * @param pointer RFC 6901 pointer to the parameters
 * @throws CarillonError invalid_request
 */
export function parseTimetable(kind: string, parameters: unknown, pointer = ""): Timetable {
  if (kind === "prayer") return parsePrayerTimetable(parameters, pointer);
  throw new CarillonError("invalid_request", `There are no timetables of kind ${JSON.stringify(kind)}`, { pointer });
}

/** The slots that a timetable knows, in the order of the day; one of them may still have no time on some day. */
export function slotsOf(timetable: Timetable): readonly string[] {
  switch (timetable.kind) {
    case "prayer":
      return prayerSlots;
    default:
      return unreachable(timetable.kind);
  }
}

/**
 * When `slot` is at `place` on the place's own `date`, in epoch milliseconds; null when that day has no such time or
 * the timetable no such slot. A late slot (isha in a northern June) may come after the date's midnight.
 */
export function timeOf(place: PlaceTimes, slot: string, date: CivilDate): number | null {
  const version = versionOn(place.versions, date);
  if (version === null) return null;
  const { timetable } = version;
  switch (timetable.kind) {
    case "prayer":
      return isPrayerSlot(slot) ? (prayerTimes({ ...place, timetable }, date)[slot] ?? null) : null;
    default:
      return unreachable(timetable.kind);
  }
}

/**
 * A slot that any version has is one of the timetable's: another may still begin before its next time.
 *
 * @param pointer RFC 6901 pointer to the field that holds the slot
 * @throws CarillonError unknown_slot
 */
export function assertSlot(versions: readonly TimetableVersion[], slot: string, pointer?: string): void {
  const slots = [...new Set(versions.flatMap(({ timetable }) => slotsOf(timetable)))];
  if (slots.includes(slot)) return;
  const [kind = "empty"] = versions.map(({ timetable }) => timetable.kind);
  throw new CarillonError(
    "unknown_slot",
    `${JSON.stringify(slot)} is not a slot of this ${kind} timetable; it has ${slots.join(", ")}`,
    pointer === undefined ? {} : { pointer },
  );
}
