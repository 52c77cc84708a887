/**
 * Times of a date's own day as people write them in tables and opening hours. A day may go on past midnight: "25:30" is
 * 01:30 of the date after, still under the date that it belongs to.
 */
import type { CivilDate } from "./civil-time.ts";
import { addDays, resolveWallTime } from "./civil-time.ts";
import type { SlotTime } from "./slot-time.ts";

export const dayMinutes = 1_440;

/** Two digits each, so that the "5:12" of a twelve-hour clock is noticed and not taken for the morning. */
const dayTime = /^([0-3]\d|4[0-7]):([0-5]\d)$/;

/** How a time of the day is written, for messages. */
export const dayTimeForm = '"HH:MM" on a 24-hour clock, past midnight counted on ("25:30")';

/** Minutes from the day's own midnight, 0 to 2,879, or null when `text` is no time between "00:00" and "47:59". */
export function parseDayTime(text: string): number | null {
  const found = dayTime.exec(text);
  return found === null ? null : Number(found[1]) * 60 + Number(found[2]);
}

/**
 * When clocks in `zone` show a time of `date`'s day: in a gap the time as far behind it, of two instants the first. A
 * date that the zone's calendar leaves out has no times.
 *
 * @param minutes from the midnight of `date`, 0 to 2,879
 * @throws CarillonError unknown_zone
 */
export function dayTimeAt(date: CivilDate, minutes: number, zone: string): SlotTime {
  const policy = { gap: "skip", overlap: "first" } as const;
  const daysOn = Math.floor(minutes / dayMinutes);
  const hour = Math.floor(minutes / 60) % 24;
  const { year, month, day } = daysOn === 0 ? date : addDays(date, daysOn);
  const wall = { year, month, day, hour, minute: minutes % 60, second: 0 };
  const [shown] = resolveWallTime(wall, zone, policy);
  if (shown !== undefined && daysOn === 0) return { at: shown.instantMs };

  // A gap that takes even noon is a day that never was (Apia, 2011-12-30), and a time is not moved to another date.
  const [noon] = resolveWallTime({ ...date, hour: 12, minute: 0, second: 0 }, zone, policy);
  if (noon === undefined) return { none: "skipped_date" };
  const [moved] = resolveWallTime(wall, zone, { ...policy, gap: "shift" });
  return moved === undefined ? { none: "skipped_wall_time" } : { at: moved.instantMs };
}
