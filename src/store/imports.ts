import { CarillonError } from "../errors.ts";
import type { Database } from "./database.ts";
import type { Executor } from "./executor.ts";

export const importKinds = ["places", "users", "endpoints", "subscriptions", "timetables"] as const;
export type ImportKind = (typeof importKinds)[number];
export type ImportFormat = "csv" | "ndjson" | "geonames" | "city-timezones";

/** How many rows of each fate an import has had so far, in all of its runs. */
export interface ImportCounts {
  readonly inserted: number;
  readonly changed: number;
  readonly unchanged: number;
  readonly skipped: number;
  readonly bad: number;
  readonly zonesSuggested: number;
}

/** An import and how far it is. */
export interface ImportState extends ImportCounts {
  readonly importId: number;
  /** lines of the file whose rows are committed, from its first on */
  readonly linesDone: number;
  readonly startedAt: Date;
}

export interface ImportedFile {
  readonly kind: ImportKind;
  readonly format: ImportFormat;
  /** hex */
  readonly sha256: string;
  /** the file's name, for people */
  readonly source: string;
}

const counters = "lines_done, inserted, changed, unchanged, skipped, bad, zones_suggested";
const zeroed = counters
  .split(", ")
  .map((name) => `${name} = 0`)
  .join(", ");

/**
 * The import of this file that was cut off, or a new one.
 *
 * @param restart forget how far it was
 */
export async function beginImport(db: Database, file: ImportedFile, restart: boolean): Promise<ImportState> {
  const { rows } = await db.pool.query<ImportRow>(
    `insert into carillon.imports (kind, format, sha256, source) values ($1, $2, $3, $4)
     on conflict (kind, format, sha256) where finished_at is null do update set
       source = excluded.source${restart ? `, started_at = clock_timestamp(), ${zeroed}` : ""}
     returning import_id, started_at, ${counters}`,
    [file.kind, file.format, file.sha256, file.source],
  );
  return stateOf(rows);
}

/**
 * Moves an import on, as the first statement of the transaction that stores the rows between: a second process at the
 * same file waits here and then finds that its place is taken, before it has stored anything. What became of the rows is
 * added by `countBatch`.
 *
 * @throws import_under_way
 */
export async function advanceImport(client: Executor, state: ImportState, linesDone: number): Promise<void> {
  const { rowCount } = await client.query(
    `update carillon.imports set lines_done = $3, updated_at = clock_timestamp()
     where import_id = $1 and lines_done = $2 and finished_at is null`,
    [state.importId, state.linesDone, linesDone],
  );
  if (rowCount === 1) return;
  throw new CarillonError("import_under_way", "Another process is importing this very file; let it come to its end.");
}

/** Adds what became of a batch, in its transaction. */
export async function countBatch(
  client: Executor,
  { importId }: ImportState,
  batch: ImportCounts,
): Promise<ImportState> {
  const { rows } = await client.query<ImportRow>(
    `update carillon.imports set
       inserted = inserted + $2, changed = changed + $3, unchanged = unchanged + $4, skipped = skipped + $5,
       bad = bad + $6, zones_suggested = zones_suggested + $7
     where import_id = $1
     returning import_id, started_at, ${counters}`,
    [importId, batch.inserted, batch.changed, batch.unchanged, batch.skipped, batch.bad, batch.zonesSuggested],
  );
  return stateOf(rows);
}

/** Says that the file's end was reached: the same file is another import from now on. */
export async function finishImport(db: Database, { importId, linesDone }: ImportState): Promise<void> {
  await db.pool.query(
    `update carillon.imports set finished_at = clock_timestamp(), updated_at = clock_timestamp()
     where import_id = $1 and lines_done = $2 and finished_at is null`,
    [importId, linesDone],
  );
}

/** bigints are text to the driver */
interface ImportRow {
  readonly import_id: number;
  readonly started_at: Date;
  readonly lines_done: string;
  readonly inserted: string;
  readonly changed: string;
  readonly unchanged: string;
  readonly skipped: string;
  readonly bad: string;
  readonly zones_suggested: string;
}

function stateOf([row]: readonly ImportRow[]): ImportState {
  if (row === undefined) throw new CarillonError("internal", "The import was not stored.");
  return {
    importId: row.import_id,
    startedAt: row.started_at,
    linesDone: Number(row.lines_done),
    inserted: Number(row.inserted),
    changed: Number(row.changed),
    unchanged: Number(row.unchanged),
    skipped: Number(row.skipped),
    bad: Number(row.bad),
    zonesSuggested: Number(row.zones_suggested),
  };
}
