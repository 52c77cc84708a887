/**
 * A timetable gives a place its times: (place, slot, date) -> instant. This is the union of the kinds there are and
 * the only way in for those who don't care which kind a place has.
 */
import { CarillonError, unreachable } from "../errors.ts";
import type { CivilDate } from "./civil-time.ts";
import type { PrayerTimetable } from "./prayer.ts";
import { isPrayerSlot, prayerSlots, prayerTimes } from "./prayer.ts";

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
  readonly timetable: Timetable;
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
  const { timetable } = place;
  switch (timetable.kind) {
    case "prayer":
      return isPrayerSlot(slot) ? (prayerTimes(place, date)[slot] ?? null) : null;
    default:
      return unreachable(timetable.kind);
  }
}

/**
 * @param pointer RFC 6901 pointer to the field that holds the slot
 * @throws CarillonError unknown_slot
 */
export function assertSlot(timetable: Timetable, slot: string, pointer?: string): void {
  const slots = slotsOf(timetable);
  if (slots.includes(slot)) return;
  throw new CarillonError(
    "unknown_slot",
    `${JSON.stringify(slot)} is not a slot of this ${timetable.kind} timetable; it has ${slots.join(", ")}`,
    pointer === undefined ? {} : { pointer },
  );
}
