/** Tables of times as CSV (RFC 4180): a header `date,slot,...`, then a line for each day, a column for each slot. */
import { CsvError, parse } from "csv-parse/sync";
import { CarillonError, throwAny } from "../errors.ts";
import type { TableTimetable } from "./table.ts";
import type { TableRow } from "./table-check.ts";
import { checkTable } from "./table-check.ts";

interface Line {
  readonly number: number;
  readonly cells: readonly string[];
}

/**
 * @param text as read from a file in UTF-8, with a byte-order mark or without; an empty cell: no such time on that day
 * @throws CarillonError wrong_encoding, or malformed_table: each names its line, up to 20 of them at once
 */
export function parseTableCsv(text: string): TableTimetable {
  assertText(text);
  const [header, ...lines] = linesOf(text);
  const [first = "", ...slots] = header?.cells ?? [];
  if (header === undefined || first !== "date" || slots.length === 0) {
    throw malformed(`Line ${header?.number ?? 1}: the header is "date", then a column for each slot, between commas`);
  }
  const { table, faults } = checkTable(
    slots,
    lines.map((line) => rowOf(line, slots)),
  );
  throwAny(faults.map(({ row, detail }) => malformed(`${row?.where ?? `Line ${header.number}`}: ${detail}`)));
  return table;
}

function rowOf({ number, cells: [date = "", ...times] }: Line, slots: readonly string[]): TableRow {
  const where = `Line ${number}`;
  if (times.length !== slots.length) {
    return { where, date, times: [], fault: `it has ${times.length + 1} cells, the header ${slots.length + 1}` };
  }
  const present = times.map((time, index) => [slots[index] ?? "", time] as const).filter(([, time]) => time !== "");
  return { where, date, times: present };
}

/** What UTF-16 or Latin-1 leave behind where they were read as UTF-8, or UTF-8 as something else. */
function assertText(text: string): void {
  const found = /[\0\uFFFD\uFFFE]|\u00FF\u00FE|\u00FE\u00FF|\u00EF\u00BB\u00BF/.exec(text);
  if (found === null) return;
  const line = text.slice(0, found.index).split("\n").length;
  throw new CarillonError("wrong_encoding", `Line ${line}: the file is not UTF-8; save it as UTF-8 and send it again`);
}

function linesOf(text: string): Line[] {
  const lines: Line[] = [];
  try {
    parse(text, {
      bom: true,
      trim: true,
      skip_empty_lines: true,
      relax_column_count: true,
      record_delimiter: ["\r\n", "\n", "\r"],
      on_record: (cells: string[], { lines: number }) => {
        lines.push({ number, cells });
        return undefined;
      },
    });
  } catch (error) {
    if (error instanceof CsvError) throw malformed(error.message);
    throw error;
  }
  return lines;
}

function malformed(detail: string): CarillonError {
  return new CarillonError("malformed_table", detail);
}
