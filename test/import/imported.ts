import { csvReader } from "../../src/import/csv.ts";
import { inspectBytes } from "../../src/import/inspect-bytes.ts";
import { kinds } from "../../src/import/kinds.ts";
import { ndjsonReader } from "../../src/import/ndjson.ts";
import type { Fault } from "../../src/import/record.ts";
import { type ImportOptions, type ImportSource, runImport } from "../../src/import/run-import.ts";
import type { Database } from "../../src/store/database.ts";
import type { ImportKind, ImportState } from "../../src/store/imports.ts";
import { chunked } from "./bytes.ts";

export interface Imported {
  readonly finished: boolean;
  readonly state: ImportState;
  readonly faults: readonly Fault[];
  /** where it began */
  readonly begunBehind: number;
}

/** A text as a file: lines of JSON where it begins with a brace, else a CSV. */
export async function sourceOf(name: ImportKind, text: string): Promise<ImportSource> {
  const { columns } = kinds[name];
  const csv = !text.startsWith("{");
  if (csv && columns === null) throw new Error(`there is no CSV of ${name}`);
  const reader = columns === null || !csv ? ndjsonReader : csvReader(columns);
  const open = () => chunked(text, 1000);
  const { sha256 } = await inspectBytes(open());
  return { name: "test", format: csv ? "csv" : "ndjson", reader, sha256, open };
}

export async function importText(
  db: Database,
  name: ImportKind,
  text: string | readonly string[],
  options: Partial<ImportOptions> = {},
): Promise<Imported> {
  const faults: Fault[] = [];
  let begunBehind = 0;
  const source = await sourceOf(name, typeof text === "string" ? text : text.join("\n"));
  const { state, finished } = await runImport(db, kinds[name], source, {
    planHorizonMs: 3_600_000,
    restart: false,
    ...options,
    onBegin: async (begun) => {
      begunBehind = begun.linesDone;
      await options.onBegin?.(begun);
    },
    onFaults: async (found) => {
      await options.onFaults?.(found);
      faults.push(...found);
    },
    onProgress: (progress) => options.onProgress?.(progress),
  });
  return { state, finished, faults, begunBehind };
}

/** new, changed, unchanged, left out */
export function countsOf({ state }: Imported): readonly [number, number, number, number] {
  return [state.inserted, state.changed, state.unchanged, state.bad];
}
