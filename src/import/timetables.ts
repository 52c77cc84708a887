import { isDeepStrictEqual } from "node:util";
import { parser } from "../api/contract/contract.ts";
import { newTimetable } from "../api/contract/timetable.ts";
import { CarillonError } from "../errors.ts";
import type { Merged, Numbered, Refused } from "../store/staging.ts";
import { createTimetable, patchTimetable, readTimetable, type StoredTimetable } from "../store/timetables.ts";
import { parseTimetable, type Timetable } from "../timetable/timetable.ts";
import { defineKind, type ImportContext } from "./kind.ts";

interface NamedTimetable {
  readonly name: string;
  readonly timetable: Timetable;
}

const contract = parser(newTimetable);

/**
 * Timetables are few, and each is stored by the statements of HTTP, in a transaction of its own. One that is met again
 * after the import was cut off is there as the file has it: nothing happens twice, and it counts as unchanged.
 */
export const timetableKind = defineKind<NamedTimetable>({
  name: "timetables",
  columns: null,
  batchLines: 100,
  parse: (fields) => {
    const { name, kind, parameters } = contract.parse(fields);
    return { name, timetable: parseTimetable(kind, parameters, "/parameters") };
  },
  merge: mergeTimetables,
});

async function mergeTimetables({ db }: ImportContext, rows: readonly Numbered<NamedTimetable>[]): Promise<Merged> {
  const refused: Refused[] = [];
  const counts = { inserted: 0, changed: 0, unchanged: 0 };
  for (const { line, row } of rows) {
    try {
      counts[await save(db, row)] += 1;
    } catch (error) {
      if (!(error instanceof CarillonError) || error.code === "internal") throw error;
      refused.push({ line, error });
    }
  }
  return { ...counts, refused };
}

async function save(
  db: ImportContext["db"],
  { name, timetable }: NamedTimetable,
): Promise<"inserted" | "changed" | "unchanged"> {
  const stored = await found(db, name);
  if (stored === null) {
    await createTimetable(db, name, timetable);
    return "inserted";
  }
  if (isDeepStrictEqual(stored.timetable, timetable)) return "unchanged";
  await patchTimetable(db, name, timetable);
  return "changed";
}

async function found(db: ImportContext["db"], name: string): Promise<StoredTimetable | null> {
  try {
    return await readTimetable(db, name);
  } catch (error) {
    if (error instanceof CarillonError && error.code === "not_found") return null;
    throw error;
  }
}
