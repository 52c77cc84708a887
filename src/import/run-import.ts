import { CarillonError } from "../errors.ts";
import { type AddressRule, canonicalAddress } from "../reminder/address.ts";
import type { Database } from "../store/database.ts";
import { inTransaction } from "../store/executor.ts";
import {
  advanceImport,
  beginImport,
  countBatch,
  finishImport,
  type ImportFormat,
  type ImportState,
} from "../store/imports.ts";
import type { Kind } from "./kind.ts";
import { type Fault, faultOf, type Read, type Reader } from "./record.ts";

/** A file that was inspected, and can be read again from its beginning. */
export interface ImportSource {
  /** for people */
  readonly name: string;
  readonly format: ImportFormat;
  readonly reader: Reader;
  readonly sha256: string;
  /** bytes, from the first */
  open(): AsyncIterable<Uint8Array>;
}

export interface ImportOptions {
  readonly planHorizonMs: number;
  /** what endpoints' addresses may be; default: what has the form of their channel */
  readonly addressRule?: AddressRule;
  /** lines in one transaction; default: what the kind says */
  readonly batchLines?: number | undefined;
  /** forget how far an earlier run of the same file came */
  readonly restart: boolean;
  /** the import stops behind the batch that is being stored, and can go on from there */
  readonly signal?: AbortSignal;
  /** told where it begins: behind `linesDone` lines where an earlier run was cut off */
  readonly onBegin: (state: ImportState) => Promise<void> | void;
  /** Told what is left out of a batch before the batch is committed: nothing that is committed goes unreported. */
  readonly onFaults: (faults: readonly Fault[]) => Promise<void> | void;
  /** told how far it is, after each batch */
  readonly onProgress: (state: ImportState) => void;
}

export interface ImportResult {
  readonly state: ImportState;
  /** the end of the file was reached */
  readonly finished: boolean;
}

/**
 * Imports a file, batch by batch, each in a transaction with the place that the import has reached. So at any moment what
 * is stored is the file up to some line, and a run of the same file goes on behind it.
 *
 * @throws unknown_columns, before anything is written; import_under_way; what the database throws
 */
export async function runImport(
  db: Database,
  kind: Kind,
  source: ImportSource,
  options: ImportOptions,
): Promise<ImportResult> {
  await assertReadable(source);
  let state = await beginImport(
    db,
    { kind: kind.name, format: source.format, sha256: source.sha256, source: source.name },
    options.restart,
  );
  await options.onBegin(state);
  let pieceLines = options.batchLines ?? kind.batchLines;
  const batches = batchesOf(source, state.linesDone, pieceLines);
  // the next batch is read while Postgres is busy with this one
  let reading = readAhead(batches);
  try {
    for (;;) {
      const { value: batch, done } = await reading;
      if (done === true) break;
      if (options.signal?.aborted) return { state, finished: false };
      reading = readAhead(batches);
      for (let from = 0; from < batch.length; ) {
        const piece = batch.slice(from, from + pieceLines);
        try {
          state = await storeBatch(db, kind, source, piece, state, options);
        } catch (error) {
          if (!wasTooMuch(error) || pieceLines <= pieceLinesMin) throw error;
          pieceLines = Math.ceil(pieceLines / 2);
          continue;
        }
        from += piece.length;
        options.onProgress(state);
      }
    }
  } finally {
    await batches.return(undefined);
  }
  await finishImport(db, state);
  return { state, finished: true };
}

/** What is still too much at once in pieces of this size is so for another reason. */
const pieceLinesMin = 100;

/**
 * Whether the store itself gave a batch up, within its transaction, because it would have taken too long (users who move,
 * whose moments go on meanwhile). What the driver says is no CarillonError: after that nobody knows what was committed.
 */
function wasTooMuch(error: unknown): boolean {
  return error instanceof CarillonError && error.code === "database_unavailable";
}

/** Reads as far as a file's header, which is refused before an import is begun. */
async function assertReadable({ reader, open }: ImportSource): Promise<void> {
  const records = reader.read(open());
  await records.next();
  await records.return(undefined);
}

function readAhead<T>(batches: AsyncGenerator<T>): Promise<IteratorResult<T>> {
  const next = batches.next();
  // who awaits it hears of it; until then nobody does, which must not end the process
  next.catch(() => undefined);
  return next;
}

/** Records behind the first `linesDone` lines. A record's lines stay together. */
async function* batchesOf(
  { reader, open }: ImportSource,
  linesDone: number,
  batchLines: number,
): AsyncGenerator<readonly Read[]> {
  let batch: Read[] = [];
  for await (const records of reader.read(open())) {
    for (const record of records) {
      if (record.line <= linesDone) continue;
      batch.push(record);
      if (batch.length < batchLines) continue;
      yield batch;
      batch = [];
    }
  }
  if (batch.length > 0) yield batch;
}

async function storeBatch(
  db: Database,
  kind: Kind,
  { reader }: ImportSource,
  records: readonly Read[],
  state: ImportState,
  { planHorizonMs, addressRule = canonicalAddress, onFaults }: ImportOptions,
): Promise<ImportState> {
  const checked = kind.check(records);
  const linesDone = records.at(-1)?.through ?? state.linesDone;
  return await inTransaction(db, async (client) => {
    await advanceImport(client, state, linesDone);
    const merged = await checked.merge({ db, client, planHorizonMs, addressRule });
    const refused = [...checked.refused, ...merged.refused].sort((a, b) => a.line - b.line);
    const { inserted, changed, unchanged } = merged;
    const { skipped, zonesSuggested } = checked;
    const counts = { inserted, changed, unchanged, skipped, bad: refused.length, zonesSuggested };
    const after = await countBatch(client, state, counts);
    if (refused.length > 0) await onFaults(refused.map(({ line, error }) => faultOf(line, error, reader.where)));
    return after;
  });
}
