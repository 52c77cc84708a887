/**
 * A timetable gives a place its times: (place, slot, date) -> instant. This is the union of the kinds there are and
 * the only way in for those who don't care which kind a place has.
 */
import { CarillonError, unreachable } from "../errors.ts";
import type { CivilDate } from "./civil-time.ts";
import type { PrayerTimetable } from "./prayer.ts";
import { isPrayerSlot, parsePrayerTimetable, prayerSlots, prayerTime } from "./prayer.ts";
import type { SlotTime } from "./slot-time.ts";
import type { SunTimetable } from "./sun.ts";
import { isSunSlot, parseSunTimetable, sunSlots, sunTime } from "./sun.ts";
import type { TableTimetable } from "./table.ts";
import { parseTableTimetable, tableTime } from "./table.ts";
import type { TimetableVersion } from "./versions.ts";
import { versionOn } from "./versions.ts";
import type { WeeklyTimetable } from "./weekly.ts";
import { parseWeeklyTimetable, weeklySlots, weeklyTime } from "./weekly.ts";

export type Timetable = PrayerTimetable | SunTimetable | WeeklyTimetable | TableTimetable;

export const timetableKinds = ["prayer", "sun", "weekly", "table"] as const satisfies readonly Timetable["kind"][];
export type TimetableKind = (typeof timetableKinds)[number];

/** What a place's times depend on. */
export interface PlaceTimes {
  readonly placeId: number;
  /** degrees, north positive */
  readonly latitude: number;
  /** degrees, east positive */
  readonly longitude: number;
  /** IANA zone */
  readonly zone: string;
  /** ISO 3166-1 alpha-2; null or left out: not known */
  readonly country?: string | null;
  /** ascending by the date on which they begin, and at least one */
  readonly versions: readonly TimetableVersion[];
}

export function isTimetableKind(kind: string): kind is TimetableKind {
  return timetableKinds.some((known) => known === kind);
}

/**
 * A timetable of any kind from its stored or posted parameters, with defaults filled in: what is stored again is all of
 * it but `kind`.
 *
 * @param pointer RFC 6901 pointer to `parameters`
 * @throws CarillonError invalid_request, pointing at the parameter at fault; several at once for a table;
 *   at the whole of them when there is no such kind
 */
export function parseTimetable(kind: string, parameters: unknown, pointer = ""): Timetable {
  if (!isTimetableKind(kind)) {
    const detail = `There are no timetables of kind ${JSON.stringify(kind)}, only ${timetableKinds.join(", ")}`;
    throw new CarillonError("invalid_request", detail, { pointer });
  }
  switch (kind) {
    case "prayer":
      return parsePrayerTimetable(parameters, pointer);
    case "sun":
      return parseSunTimetable(parameters, pointer);
    case "weekly":
      return parseWeeklyTimetable(parameters, pointer);
    case "table":
      return parseTableTimetable(parameters, pointer);
    default:
      return unreachable(kind);
  }
}

/** The slots that a timetable knows, in the order of the day; one of them may still have no time on some day. */
export function slotsOf(timetable: Timetable): readonly string[] {
  switch (timetable.kind) {
    case "prayer":
      return prayerSlots;
    case "sun":
      return sunSlots;
    case "weekly":
      return weeklySlots(timetable);
    case "table":
      return timetable.slots;
    default:
      return unreachable(timetable);
  }
}

/**
 * When `slot` is at `place` on the place's own `date`, or why it is not. A late slot (isha in a northern June) may come
 * after the date's midnight.
 *
 * @throws CarillonError unknown_zone
 */
export function slotTime(place: PlaceTimes, slot: string, date: CivilDate): SlotTime {
  const { versions, zone } = place;
  const version = versionOn(versions, date);
  if (version === null) return { none: "no_version_yet" };
  const { timetable } = version;
  switch (timetable.kind) {
    case "prayer":
      return isPrayerSlot(slot) ? prayerTime(timetable, place, slot, date) : { none: "no_such_slot" };
    case "sun":
      return isSunSlot(slot) ? sunTime(timetable, place, slot, date) : { none: "no_such_slot" };
    case "weekly":
      return weeklyTime(timetable, zone, slot, date);
    case "table":
      return tableTime(timetable, zone, slot, date);
    default:
      return unreachable(timetable);
  }
}

/** `slotTime` for those who don't ask why: epoch milliseconds, or null. */
export function timeOf(place: PlaceTimes, slot: string, date: CivilDate): number | null {
  const time = slotTime(place, slot, date);
  return "at" in time ? time.at : null;
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
