import type { Selectable } from "kysely";
import { CarillonError } from "../errors.ts";
import type { Timetable } from "../timetable/timetable.ts";
import type { Database, DB } from "./database.ts";
import { type Executor, inTransaction } from "./executor.ts";
import { timetableOf } from "./place-times.ts";
import { replanSchedulesAt } from "./schedules.ts";
import { asNameTaken } from "./topics.ts";

export interface StoredTimetable {
  readonly timetableId: number;
  readonly name: string;
  readonly timetable: Timetable;
  readonly version: number;
  readonly updatedAt: Date;
}

/**
 * @param timetable as `parseTimetable` gives it
 * @throws name_taken
 */
export async function createTimetable(db: Database, name: string, timetable: Timetable): Promise<StoredTimetable> {
  const { kind, ...parameters } = timetable;
  try {
    const row = await db.kysely
      .insertInto("timetables")
      .values({ name, kind, parameters: JSON.stringify(parameters) })
      .returningAll()
      .executeTakeFirstOrThrow();
    return storedOf(row);
  } catch (error) {
    throw asNameTaken(error, "timetable", name);
  }
}

/** @throws not_found */
export async function readTimetable(db: Database, name: string): Promise<StoredTimetable> {
  const row = await db.kysely.selectFrom("timetables").selectAll().where("name", "=", name).executeTakeFirst();
  if (row === undefined) throw noTimetable(name);
  return storedOf(row);
}

/** Timetables in the order of their names, beginning behind `after`. */
export async function listTimetables(
  db: Database,
  page: { after: string | null; limit: number },
): Promise<StoredTimetable[]> {
  let query = db.kysely.selectFrom("timetables").selectAll().orderBy("name").limit(page.limit);
  if (page.after !== null) query = query.where("name", ">", page.after);
  return (await query.execute()).map(storedOf);
}

/**
 * Replaces a timetable's parameters. Its places have other times from now on, so in the same transaction all schedules
 * there are handed to the planner again: a moment that it has planned already moves, and isn't planned twice.
 *
 * @throws not_found
 */
export function patchTimetable(db: Database, name: string, timetable: Timetable): Promise<StoredTimetable> {
  const { kind, ...parameters } = timetable;
  return inTransaction(db, async (client) => {
    const { rows } = await client.query<Selectable<DB["timetables"]>>(
      `update carillon.timetables
       set kind = $2, parameters = $3, version = version + 1, updated_at = clock_timestamp()
       where name = $1
       returning *`,
      [name, kind, JSON.stringify(parameters)],
    );
    const [row] = rows;
    if (row === undefined) throw noTimetable(name);
    const places = await client.query<{ place_id: number }>(
      "select place_id from carillon.places where timetable_id = $1",
      [row.timetable_id],
    );
    await replanSchedulesAt(
      client,
      places.rows.map((place) => place.place_id),
    );
    return storedOf(row);
  });
}

/** The numbers of the timetables with these names; a name that is missing in the result is unknown. */
export async function findTimetables(executor: Executor, names: readonly string[]): Promise<Map<string, number>> {
  const { rows } = await executor.query<{ timetable_id: number; name: string }>(
    "select timetable_id, name from carillon.timetables where name = any($1::text[])",
    [names],
  );
  return new Map(rows.map((row) => [row.name, row.timetable_id]));
}

function storedOf(row: Selectable<DB["timetables"]>): StoredTimetable {
  return {
    timetableId: row.timetable_id,
    name: row.name,
    timetable: timetableOf(row.kind, row.parameters),
    version: row.version,
    updatedAt: row.updated_at,
  };
}

function noTimetable(name: string): CarillonError {
  return new CarillonError("not_found", `There is no timetable named ${JSON.stringify(name)}.`);
}
