import { CarillonError } from "../errors.ts";
import type { AddressRule } from "../reminder/address.ts";
import type { Database } from "../store/database.ts";
import type { Executor } from "../store/executor.ts";
import type { ImportKind } from "../store/imports.ts";
import type { Merged, Numbered, Refused } from "../store/staging.ts";
import type { Columns } from "./columns.ts";
import type { Read } from "./record.ts";

/** What a batch is stored with. */
export interface ImportContext {
  readonly db: Database;
  /** in the transaction of the batch */
  readonly client: Executor;
  readonly planHorizonMs: number;
  /** what endpoints' addresses may be */
  readonly addressRule: AddressRule;
}

/** A kind of thing that can be imported. */
export interface Kind {
  readonly name: ImportKind;
  /** null: there is no CSV of it */
  readonly columns: Columns | null;
  /** lines that are stored in one transaction, where nobody says otherwise */
  readonly batchLines: number;
  /** Checks the records of a batch, as far as that needs no database. */
  check(records: readonly Read[]): CheckedBatch;
}

export interface CheckedBatch {
  readonly refused: readonly Refused[];
  /** records that hold nothing of this kind */
  readonly skipped: number;
  readonly zonesSuggested: number;
  /** Stores the rest. */
  merge(context: ImportContext): Promise<Merged>;
}

export interface KindDefinition<Row> extends Omit<Kind, "check"> {
  /** @throws CarillonError what is wrong with it, with pointers into the record */
  readonly parse: (fields: unknown) => Row;
  readonly merge: (context: ImportContext, rows: readonly Numbered<Row>[]) => Promise<Merged>;
  readonly zoneSuggested?: (row: Row) => boolean;
}

const nothing: Merged = { inserted: 0, changed: 0, unchanged: 0, refused: [] };

export function defineKind<Row>(definition: KindDefinition<Row>): Kind {
  const { name, columns, batchLines, parse, merge, zoneSuggested } = definition;
  return {
    name,
    columns,
    batchLines,
    check: (records) => {
      const refused: Refused[] = [];
      const rows: Numbered<Row>[] = [];
      for (const record of records) {
        const { line } = record;
        if (record.what === "fault") refused.push({ line, error: record.error });
        if (record.what !== "fields") continue;
        try {
          rows.push({ line, row: parse(record.fields) });
        } catch (error) {
          if (!(error instanceof CarillonError)) throw error;
          refused.push({ line, error });
        }
      }
      return {
        refused,
        skipped: records.filter(({ what }) => what === "nothing").length,
        zonesSuggested: zoneSuggested === undefined ? 0 : rows.filter(({ row }) => zoneSuggested(row)).length,
        merge: (context) => (rows.length === 0 ? Promise.resolve(nothing) : merge(context, rows)),
      };
    },
  };
}
