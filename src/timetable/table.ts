/**
 * A table of times that somebody uploaded: for each date, or for each day of every year, the local time of each slot.
 * It has no holes: each day from its first to its last is there, though a slot may be left empty on a day.
 */
import { throwAny } from "../errors.ts";
import type { CivilDate } from "./civil-time.ts";
import { formatDate } from "./civil-time.ts";
import { dayTimeAt, parseDayTime } from "./day-time.ts";
import { asList, asRecord, invalid, parametersOf, pointerTo } from "./parameters.ts";
import type { SlotTime } from "./slot-time.ts";
import { checkTable } from "./table-check.ts";

export interface TableTimetable {
  readonly kind: "table";
  /** in the order of their columns */
  readonly slots: readonly string[];
  /** all by date ("2026-12-25"), or all by day of each year ("12-25"); then by slot, "HH:MM", left out where empty */
  readonly days: Readonly<Record<string, Readonly<Record<string, string>>>>;
}

/**
 * When `slot` is on `date` in `zone`.
 *
 * @throws CarillonError unknown_zone
 */
export function tableTime({ slots, days }: TableTimetable, zone: string, slot: string, date: CivilDate): SlotTime {
  if (!slots.includes(slot)) return { none: "no_such_slot" };
  const key = formatDate(date);
  const times = days[key] ?? days[key.slice(-5)];
  if (times === undefined) return { none: "outside_table" };
  const minutes = Object.hasOwn(times, slot) ? parseDayTime(times[slot] ?? "") : null;
  return minutes === null ? { none: "not_in_table" } : dayTimeAt(date, minutes, zone);
}

/**
 * A table from its stored or posted parameters: `days`, and `slots` where their order matters.
 *
 * @param pointer RFC 6901 pointer to `params`
 * @throws CarillonError invalid_request, pointing at what is at fault; up to 20 of them at once
 */
export function parseTableTimetable(params: unknown, pointer = ""): TableTimetable {
  const given = parametersOf("table", params, ["slots", "days"], pointer);
  const days = Object.entries(asRecord(given.days, `${pointer}/days`)).map(([date, times]) => {
    const at = pointerTo(`${pointer}/days`, date);
    return { where: at, date, times: Object.entries(asRecord(times, at)) };
  });
  const slots =
    given.slots === undefined
      ? [...new Set(days.flatMap(({ times }) => times.map(([slot]) => slot)))]
      : asList(given.slots, `${pointer}/slots`).map((slot, index) => {
          if (typeof slot !== "string") throw invalid("A slot is a text", `${pointer}/slots/${index}`);
          return slot;
        });
  const { table, faults } = checkTable(slots, days);
  throwAny(
    faults.map(({ row, slot, detail }) => {
      const at = row?.where ?? `${pointer}/slots`;
      return invalid(detail, slot === null ? at : pointerTo(at, slot));
    }),
  );
  return table;
}
