import { CarillonError } from "../errors.ts";
import { parseDate } from "../timetable/civil-time.ts";
import { parseTimetable, type Timetable } from "../timetable/timetable.ts";
import { compareVersions, type TimetableVersion } from "../timetable/versions.ts";
import type { Executor } from "./executor.ts";

export interface StoredVersion extends TimetableVersion {
  /** why it was made, for people */
  readonly note: string | null;
  readonly createdAt: Date;
  readonly updatedAt: Date;
}

/** The versions of a timetable, or why they can't be read: parameters may have been written by hand. */
export type VersionsRead = readonly StoredVersion[] | CarillonError;

/**
 * Reads the versions of many timetables in one statement, each timetable once: an uploaded table may be large, and
 * thousands of places may have it.
 *
 * @returns for each timetable that there is its versions, ascending by the date on which they begin
 */
export async function readVersions(
  executor: Executor,
  timetableIds: readonly number[],
): Promise<Map<number, VersionsRead>> {
  const distinct = [...new Set(timetableIds)];
  if (distinct.length === 0) return new Map();
  const { rows } = await executor.query<VersionRow>(
    `select t.timetable_id, t.name, t.kind, ${versionColumns}
     from carillon.timetable_versions v join carillon.timetables t using (timetable_id)
     where v.timetable_id = any ($1::int[])`,
    [distinct],
  );
  const grouped = Map.groupBy(rows, (row) => row.timetable_id);
  return new Map([...grouped].map(([timetableId, versions]) => [timetableId, parsed(versions)]));
}

/** @throws internal where the timetable is not there or can't be read */
export function versionsOf(read: ReadonlyMap<number, VersionsRead>, timetableId: number): readonly StoredVersion[] {
  const versions = read.get(timetableId) ?? new CarillonError("internal", `Timetable ${timetableId} has no version.`);
  if (versions instanceof CarillonError) throw versions;
  return versions;
}

/** The columns that a `VersionRow` needs of `carillon.timetable_versions v`. */
export const versionColumns = "v.version, v.effective_from, v.parameters, v.note, v.created_at, v.updated_at";

export interface VersionRow {
  readonly timetable_id: number;
  readonly name: string;
  readonly kind: string;
  readonly version: number;
  /** "2026-11-24" */
  readonly effective_from: string | null;
  readonly parameters: unknown;
  readonly note: string | null;
  readonly created_at: Date;
  readonly updated_at: Date;
}

/** @throws internal when parameters are stored that this program can't read, naming the version */
export function storedVersionOf(row: VersionRow): StoredVersion {
  return {
    version: row.version,
    effectiveFrom: row.effective_from === null ? null : parseDate(row.effective_from),
    timetable: storedTimetable(row),
    note: row.note,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
  };
}

function storedTimetable({ name, version, kind, parameters }: VersionRow): Timetable {
  try {
    return parseTimetable(kind, parameters);
  } catch (error) {
    if (!(error instanceof CarillonError)) throw error;
    const detail = `Version ${version} of the timetable ${JSON.stringify(name)} can't be read: ${error.message}`;
    throw new CarillonError("internal", detail, { cause: error });
  }
}

function parsed(rows: readonly VersionRow[]): VersionsRead {
  try {
    return rows.map(storedVersionOf).sort(compareVersions);
  } catch (error) {
    if (error instanceof CarillonError) return error;
    throw error;
  }
}
