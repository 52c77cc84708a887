import { CsvError, parse } from "csv-parse/sync";
import { CarillonError } from "../errors.ts";
import { type Column, type Columns, columnAt, columnsOf, fieldsOf } from "./columns.ts";
import { malformed, type Read, type Reader } from "./record.ts";
import { type Line, linesOf } from "./text-lines.ts";

/** A cell may hold ends of lines; a quote that is still open after so many was a mistake in its first line. */
const recordLinesMax = 20;

/** CSV (RFC 4180) in UTF-8 with a header. Blanks around cells without quotes don't count; empty lines are passed over. */
export function csvReader(columns: Columns): Reader {
  return {
    read: (chunks) => readCsv(chunks, columns),
    where: (pointer) => {
      const column = columnAt(pointer, columns);
      return column === undefined ? {} : { column };
    },
  };
}

/** @throws unknown_columns */
async function* readCsv(chunks: AsyncIterable<Uint8Array>, known: Columns): AsyncGenerator<readonly Read[]> {
  const assembler = new Assembler();
  let columns: readonly Column[] | undefined;
  function* readRecords(records: readonly RecordText[]): Generator<readonly Read[]> {
    const [header] = records;
    if (header === undefined) return;
    if (columns !== undefined) {
      yield readAll(records, columns);
      return;
    }
    columns = columnsOf(cellsOf(header.text) ?? [header.text], known);
    yield [{ ...placeOf(header), what: "header" }];
    yield readAll(records.slice(1), columns);
  }

  for await (const lines of linesOf(chunks)) yield* readRecords(assembler.take(lines));
  yield* readRecords(assembler.end());
  if (columns === undefined) throw new CarillonError("unknown_columns", "The file is empty: it lacks its header.");
}

/** The text of one record, or what was wrong with a line that begins none. */
interface RecordText {
  readonly line: number;
  readonly through: number;
  readonly text: string;
  readonly broken: boolean;
}

/**
 * Puts lines together to records. A parser of the whole file would take a stray quote for the beginning of a cell that
 * goes on to the next one, perhaps at the file's end; here it costs the line that it stands in.
 */
class Assembler {
  /** lines of a record that has an open quote */
  #open: Line[] = [];

  take(lines: readonly Line[]): RecordText[] {
    return lines.flatMap((line) => this.#add(line));
  }

  /** What is left when no line comes any more. */
  end(): RecordText[] {
    return this.#open.length === 0 ? [] : [...this.#giveUp(), ...this.end()];
  }

  #add(line: Line): RecordText[] {
    if (this.#open.length === 0 && !hasOpenQuote(line.text)) return [recordOf([line])];
    this.#open.push(line);
    const record = recordOf(this.#open);
    if (!hasOpenQuote(record.text) && cellsOf(record.text) !== null) {
      this.#open = [];
      return [record];
    }
    return this.#open.length < recordLinesMax && hasOpenQuote(record.text) ? [] : this.#giveUp();
  }

  /** The first line is the bad one; those behind it are looked at anew. */
  #giveUp(): RecordText[] {
    const [first, ...others] = this.#open;
    this.#open = [];
    return first === undefined ? [] : [{ ...recordOf([first]), broken: true }, ...this.take(others)];
  }
}

function recordOf(lines: readonly Line[]): RecordText {
  const [first] = lines;
  const text = lines.map((line) => line.text).join("\n");
  return { line: first?.line ?? 0, through: lines.at(-1)?.line ?? 0, text, broken: false };
}

function hasOpenQuote(text: string): boolean {
  let open = false;
  for (let at = text.indexOf('"'); at !== -1; at = text.indexOf('"', at + 1)) open = !open;
  return open;
}

/** Records are parsed together, which is much quicker than one by one; only where one is at fault they are taken apart. */
function readAll(records: readonly RecordText[], columns: readonly Column[]): Read[] {
  const sound = records.filter((record) => !record.broken && !isBlank(record));
  const together = parsed(sound.map((record) => record.text).join("\n"));
  const cells = together?.length === sound.length ? together : sound.map((record) => cellsOf(record.text));
  const cellsOfRecord = new Map(sound.map((record, index) => [record, cells[index] ?? null]));
  return records.map((record) => readOne(record, cellsOfRecord.get(record) ?? null, columns));
}

function readOne(record: RecordText, cells: readonly string[] | null, columns: readonly Column[]): Read {
  const place = placeOf(record);
  if (isBlank(record)) return { ...place, what: "nothing" };
  if (record.broken) return { ...place, what: "fault", error: malformed("A quote is opened and not closed.") };
  if (cells === null) {
    const error = malformed("A quote stands inside a cell: put the cell in quotes and double each quote in it.");
    return { ...place, what: "fault", error };
  }
  if (cells.length !== columns.length) {
    const error = malformed(`The line has ${cells.length} cells, and the header ${columns.length}.`);
    return { ...place, what: "fault", error };
  }
  return { ...place, what: "fields", fields: fieldsOf(cells, columns) };
}

function placeOf({ line, through }: RecordText): Pick<Read, "line" | "through"> {
  return { line, through };
}

function isBlank({ text }: RecordText): boolean {
  return text.trim() === "";
}

/** The cells of one record; null where its quotes make no sense. */
function cellsOf(text: string): readonly string[] | null {
  const records = parsed(text);
  return records?.length === 1 ? (records[0] ?? null) : null;
}

function parsed(text: string): string[][] | null {
  try {
    return parse(text, { bom: false, trim: true, relax_column_count: true, record_delimiter: "\n" });
  } catch (error) {
    if (error instanceof CsvError) return null;
    throw error;
  }
}
