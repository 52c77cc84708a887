import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { from as copyFrom } from "pg-copy-streams";
import type { CarillonError } from "../errors.ts";
import type { Executor } from "./executor.ts";

/** A row of a file, with the line that it came from. */
export interface Numbered<T> {
  /** counted from 1 */
  readonly line: number;
  readonly row: T;
}

/** What became of a batch of rows. Rows that say the same thing twice count as unchanged from the second on. */
export interface Merged {
  readonly inserted: number;
  readonly changed: number;
  readonly unchanged: number;
  /** what could not be taken, and is left out */
  readonly refused: readonly Refused[];
}

export interface Refused {
  readonly line: number;
  readonly error: CarillonError;
}

export type Cell = string | number | null;

/** A column of a staging table with its type. */
export type StagedColumns = Readonly<Record<string, "text" | "integer" | "bigint" | "double precision">>;

/**
 * Copies rows to a table that lives as long as the caller's transaction, with statistics, so that what is joined to it
 * is planned for as many rows as there are.
 *
 * @param name without its schema; the table is pg_temp's
 * @param rows cells in the order of the columns
 */
export async function stage(
  client: Executor,
  name: string,
  columns: StagedColumns,
  rows: readonly (readonly Cell[])[],
): Promise<void> {
  const definitions = Object.entries(columns).map(([column, type]) => `${column} ${type}`);
  await client.query(`create temporary table ${name} (${definitions.join(", ")}) on commit drop`);
  const copy = client.query(copyFrom(`copy pg_temp.${name} (${Object.keys(columns).join(", ")}) from stdin`));
  await pipeline(Readable.from(copyLines(rows)), copy);
  await client.query(`analyze pg_temp.${name}`);
}

const rowsAChunk = 1000;

function* copyLines(rows: readonly (readonly Cell[])[]): Generator<Buffer> {
  for (let from = 0; from < rows.length; from += rowsAChunk) {
    const lines = rows.slice(from, from + rowsAChunk).map((cells) => `${cells.map(copyCell).join("\t")}\n`);
    yield Buffer.from(lines.join(""));
  }
}

const escapes: Readonly<Record<string, string>> = { "\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r" };

/** The text format of COPY. */
function copyCell(cell: Cell): string {
  if (cell === null) return "\\N";
  return typeof cell === "number" ? String(cell) : cell.replace(/[\\\t\n\r]/g, (character) => escapes[character] ?? "");
}

/** Of rows with one key the last, which is what holds after all of them; each with how many there were. */
export function lastOfEach<T>(
  rows: readonly Numbered<T>[],
  keyOf: (row: T) => string,
): { readonly last: readonly Numbered<T>[]; readonly repeated: number } {
  const last = [...new Map(rows.map((each) => [keyOf(each.row), each])).values()];
  return { last, repeated: rows.length - last.length };
}
