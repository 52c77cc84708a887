import type { Timetable } from "../timetable/timetable.ts";
import type { Database } from "./database.ts";
import { type Executor, inTransaction } from "./executor.ts";
import { changeVersions, noTimetable } from "./timetable-change.ts";
import {
  readVersions,
  type StoredVersion,
  storedVersionOf,
  type VersionRow,
  versionColumns,
  versionsOf,
} from "./timetable-versions.ts";
import { asNameTaken } from "./topics.ts";
import { versionNumbered } from "./version-change.ts";

/** A timetable with the version that holds today, by the date in UTC: places have their own. */
export interface StoredTimetable extends StoredVersion {
  readonly timetableId: number;
  readonly name: string;
}

/**
 * @param timetable as `parseTimetable` gives it: its first version, which holds since ever
 * @throws name_taken
 */
export async function createTimetable(db: Database, name: string, timetable: Timetable): Promise<StoredTimetable> {
  const { kind, ...parameters } = timetable;
  try {
    return await inTransaction(db, async (client) => {
      const { rows } = await client.query<{ timetable_id: number }>(
        "insert into carillon.timetables (name, kind) values ($1, $2) returning timetable_id",
        [name, kind],
      );
      await client.query("insert into carillon.timetable_versions (timetable_id, parameters) values ($1, $2)", [
        rows[0]?.timetable_id,
        JSON.stringify(parameters),
      ]);
      return readStored(client, name);
    });
  } catch (error) {
    throw asNameTaken(error, "timetable", name);
  }
}

/** @throws not_found */
export function readTimetable(db: Database, name: string): Promise<StoredTimetable> {
  return readStored(db.pool, name);
}

/** Timetables in the order of their names, beginning behind `after`. */
export async function listTimetables(
  db: Database,
  page: { after: string | null; limit: number },
): Promise<StoredTimetable[]> {
  const { rows } = await db.pool.query<VersionRow>(
    `${selectToday} where $1::text is null or t.name > $1 order by t.name limit $2`,
    [page.after, page.limit],
  );
  return rows.map(storedOf);
}

/**
 * Corrects the version of a timetable that holds today. The database itself hands the schedules at its places to the
 * planner again, in the same transaction: a moment that is planned already moves, and isn't planned twice.
 *
 * @throws not_found; invalid_request where the kind is another
 */
export async function patchTimetable(db: Database, name: string, timetable: Timetable): Promise<StoredTimetable> {
  const { kind, ...parameters } = timetable;
  await changeVersions(db, name, { kind: "correct", version: "today", parameters, of: kind });
  return readTimetable(db, name);
}

/** The versions of a timetable, ascending by the date on which they begin. @throws not_found */
export async function listVersions(db: Database, name: string): Promise<readonly StoredVersion[]> {
  const { rows } = await db.pool.query<{ timetable_id: number }>(
    "select timetable_id from carillon.timetables where name = $1",
    [name],
  );
  const [row] = rows;
  if (row === undefined) throw noTimetable(name);
  return versionsOf(await readVersions(db.pool, [row.timetable_id]), row.timetable_id);
}

/** @throws not_found, unknown_version */
export async function readVersion(db: Database, name: string, version: number): Promise<StoredVersion> {
  return versionNumbered(name, await listVersions(db, name), version);
}

/** The numbers of the timetables with these names; a name that is missing in the result is unknown. */
export async function findTimetables(executor: Executor, names: readonly string[]): Promise<Map<string, number>> {
  const { rows } = await executor.query<{ timetable_id: number; name: string }>(
    "select timetable_id, name from carillon.timetables where name = any($1::text[])",
    [names],
  );
  return new Map(rows.map((row) => [row.name, row.timetable_id]));
}

const selectToday = `select t.timetable_id, t.name, t.kind, v.*
  from carillon.timetables t
  cross join lateral (
    select ${versionColumns}
    from carillon.timetable_versions v
    where v.timetable_id = t.timetable_id
      and (v.effective_from is null or v.effective_from <= (carillon.clock() at time zone 'UTC')::date)
    order by v.effective_from desc nulls last
    limit 1
  ) v`;

async function readStored(executor: Executor, name: string): Promise<StoredTimetable> {
  const { rows } = await executor.query<VersionRow>(`${selectToday} where t.name = $1`, [name]);
  const [row] = rows;
  if (row === undefined) throw noTimetable(name);
  return storedOf(row);
}

function storedOf(row: VersionRow): StoredTimetable {
  return { timetableId: row.timetable_id, name: row.name, ...storedVersionOf(row) };
}
