/** What a timetable says of one slot on one date: its instant, or why that date has none. */

/** Each reason that a slot has no time on a date, and how it reads. docs/time.md lists them; a test compares the two. */
export const noTimeReasons = {
  polar_day: "the sun does not set",
  polar_night: "the sun does not rise",
  twilight_all_night: "the sun sets, but not as deep as this twilight",
  sun_stays_low: "the sun rises, but not as high as this time needs",
  times_coincide: "the sun is up or down for so short that this time would come out of order",
  closed: "closed all day",
  no_further_hours: "open, but not that often on this day",
  not_in_table: "the table leaves this time of the day empty",
  outside_table: "the date is before the table's first day or after its last",
  no_version_yet: "no version of the timetable begins on or before this date",
  no_such_slot: "the timetable has no slot of this name",
  skipped_date: "the calendar of the zone leaves this date out",
  skipped_wall_time: "clocks go forward over the whole time",
} as const;

export type NoTimeReason = keyof typeof noTimeReasons;

/** `at`: epoch milliseconds. */
export type SlotTime = { readonly at: number } | { readonly none: NoTimeReason };
