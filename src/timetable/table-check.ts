/** Whether the rows of a table make a timetable. All that is wrong is found at once, and nothing accepted by halves. */
import type { CivilDate } from "./civil-time.ts";
import { addDays, formatDate, parseDate } from "./civil-time.ts";
import { dayTimeForm, parseDayTime } from "./day-time.ts";
import type { TableTimetable } from "./table.ts";

export interface TableRow {
  /** for whoever has to find it: a line, a pointer */
  readonly where: string;
  readonly date: string;
  /** the times that are there, by slot */
  readonly times: readonly (readonly [slot: string, time: unknown])[];
  /** what whoever read the row found wrong with it */
  readonly fault?: string;
}

export interface TableFault {
  /** null: the slots, or the table as a whole */
  readonly row: TableRow | null;
  /** the slot at fault; null: the row as a whole */
  readonly slot: string | null;
  readonly detail: string;
}

interface KnownDay {
  readonly row: TableRow;
  readonly day: CivilDate;
}

const faultsMax = 20;
const slotsMax = 50;
/** some fifty years */
const daysMax = 20_000;
const slotName = /^[A-Za-z][A-Za-z0-9._:-]{0,99}$/;
/** Days of each year are those of a leap year: a table that passes February has to say what its 29th has. */
const someLeapYear = 2_024;

/**
 * @param slots in the order of their columns
 * @returns the table, days ascending, which holds only where there are no faults; and these in the order of the rows,
 *   20 at most and then one that counts the others
 */
export function checkTable(
  slots: readonly string[],
  rows: readonly TableRow[],
): { table: TableTimetable; faults: TableFault[] } {
  const { faults: dateFaults, known } = checkDates(rows);
  const place = new Map(rows.map((row, index) => [row, index]));
  const placeOf = ({ row }: TableFault) => (row === null ? -1 : (place.get(row) ?? -1));
  const faults = [
    ...slotFaults(slots),
    ...sizeFaults(rows),
    ...dateFaults,
    ...holesBetween(known),
    ...rows.flatMap((row) => (row.fault === undefined ? [] : [{ row, slot: null, detail: row.fault }])),
    ...rows.flatMap((row) => timeFaults(row, slots)),
  ].sort((a, b) => placeOf(a) - placeOf(b));
  const days = known.map(({ row }) => [row.date, timesOf(row)] as const);
  return { table: { kind: "table", slots, days: Object.fromEntries(days) }, faults: firstOf(faults) };
}

function timesOf({ times }: TableRow): Record<string, string> {
  return Object.fromEntries(times.flatMap(([slot, time]) => (typeof time === "string" ? [[slot, time]] : [])));
}

function firstOf(faults: readonly TableFault[]): TableFault[] {
  const [next] = faults.slice(faultsMax);
  if (next === undefined) return [...faults];
  const others = faults.length - faultsMax;
  return [...faults.slice(0, faultsMax), { ...next, slot: null, detail: `From here on ${others} more are not listed` }];
}

function slotFaults(slots: readonly string[]): TableFault[] {
  const fault = (detail: string): TableFault => ({ row: null, slot: null, detail });
  if (slots.length === 0) return [fault("A table needs at least one slot")];
  if (slots.length > slotsMax) return [fault(`A table can have ${slotsMax} slots at most`)];
  return slots.flatMap((slot, index) => {
    if (slot === "date" || !slotName.test(slot)) {
      return [fault(`${JSON.stringify(slot)} is no name for a slot: a letter, then letters, digits and . _ : -`)];
    }
    return slots.indexOf(slot) < index ? [fault(`The slot ${JSON.stringify(slot)} is there twice`)] : [];
  });
}

function sizeFaults(rows: readonly TableRow[]): TableFault[] {
  if (rows.length > daysMax) return [{ row: null, slot: null, detail: `A table can have ${daysMax} days at most` }];
  if (rows.some(({ times, fault }) => times.length > 0 || fault !== undefined)) return [];
  return [{ row: null, slot: null, detail: "The table has no times" }];
}

/** Dates that don't exist, that are of another form than the first one, or that come again; and the good ones. */
function checkDates(rows: readonly TableRow[]): { faults: TableFault[]; known: KnownDay[] } {
  const isYearly = rows[0]?.date.length === "MM-DD".length;
  const faults: TableFault[] = [];
  const known = new Map<string, KnownDay>();
  for (const row of rows) {
    const day = parseDate(isYearly ? `${someLeapYear}-${row.date}` : row.date);
    const again = known.get(row.date);
    if (day === null) {
      const form = isYearly ? "MM-DD" : "YYYY-MM-DD";
      faults.push({ row, slot: null, detail: `${JSON.stringify(row.date)} is no date of the form ${form}` });
    } else if (again !== undefined) {
      faults.push({ row, slot: null, detail: `${row.date} is there twice, first at ${again.row.where}` });
    } else {
      known.set(row.date, { row, day });
    }
  }
  return { faults, known: [...known.values()].sort((a, b) => (a.row.date < b.row.date ? -1 : 1)) };
}

/** @param known ascending */
function holesBetween(known: readonly KnownDay[]): TableFault[] {
  return known.flatMap(({ row, day }, index) => {
    const before = known[index - 1];
    if (before === undefined) return [];
    const [first, last] = [formatDate(addDays(before.day, 1)), formatDate(addDays(day, -1))];
    if (first > last) return [];
    const shown = (date: string) => date.slice(-row.date.length);
    const missing = first === last ? `${shown(first)} is missing` : `${shown(first)} to ${shown(last)} are missing`;
    return [{ row, slot: null, detail: `${missing} before ${row.date}` }];
  });
}

function timeFaults(row: TableRow, slots: readonly string[]): TableFault[] {
  return row.times.flatMap(([slot, time]) => {
    if (!slots.includes(slot)) return [{ row, slot, detail: `${JSON.stringify(slot)} is not among the slots` }];
    if (typeof time === "string" && parseDayTime(time) !== null) return [];
    return [{ row, slot, detail: `${JSON.stringify(time)} is no time: it is written ${dayTimeForm}` }];
  });
}
