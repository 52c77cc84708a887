import type pg from "pg";
import { CarillonError } from "../errors.ts";
import { formatDate, localDate } from "../timetable/civil-time.ts";
import type { TimetableVersion } from "../timetable/versions.ts";
import { codeOf, type Database } from "./database.ts";
import { inTransaction } from "./executor.ts";
import { readVersions, type StoredVersion, versionsOf } from "./timetable-versions.ts";
import {
  decideVersion,
  type LockedTimetable,
  type VersionChange,
  versionsAfter,
  type WantedVersion,
} from "./version-change.ts";

export interface ForeseenChange {
  readonly timetableId: number;
  readonly name: string;
  /** ascending by the date on which they begin */
  readonly before: readonly TimetableVersion[];
  readonly after: readonly TimetableVersion[];
}

export interface ChangeOptions<T> {
  /** everything is done, said, and taken back */
  readonly dryRun?: boolean;
  /** what the change will mean, asked while nobody else can change this timetable and before anything is written */
  readonly foresee?: (client: pg.PoolClient, change: ForeseenChange) => Promise<T>;
}

export interface ChangedVersion<T> {
  readonly timetableId: number;
  /** the version that was made, corrected or removed, as it stands now or stood last */
  readonly version: StoredVersion;
  readonly created: boolean;
  readonly foreseen: T | undefined;
}

/**
 * Changes one version of a timetable. Triggers hand the schedules at its places to the planner, in the same transaction.
 *
 * Interleavings: the timetable's row is locked, so two changes of one timetable come one after the other, and each sees
 * what the other left. Changes by plain SQL do not take this lock: what they can break is held by constraints, which
 * answer with the same codes.
 *
 * @throws not_found, unknown_version, version_overlaps, timetable_hole; what is wrong with the parameters, each with a
 *   pointer to the field
 */
export async function changeVersions<T = never>(
  db: Database,
  name: string,
  change: VersionChange,
  { dryRun = false, foresee }: ChangeOptions<T> = {},
): Promise<ChangedVersion<T>> {
  try {
    return await inTransaction(db, async (client) => {
      const timetable = await lockTimetable(client, name);
      const { timetableId } = timetable;
      const before = versionsOf(await readVersions(client, [timetableId]), timetableId);
      const wanted = decideVersion(timetable, before, change);
      const foreseen = await foresee?.(client, { timetableId, name, before, after: versionsAfter(before, wanted) });
      if (dryRun) await client.query("savepoint before_dry_run");
      await write(client, timetableId, wanted);
      const [version] =
        wanted.kind === "remove" ? [wanted.version] : await readOne(client, timetableId, wanted.version);
      if (dryRun) await client.query("rollback to savepoint before_dry_run");
      if (version === undefined) throw new CarillonError("internal", "The version was not stored.");
      return { timetableId, version, created: wanted.kind === "insert", foreseen };
    });
  } catch (error) {
    throw asVersionError(error);
  }
}

export function noTimetable(name: string): CarillonError {
  return new CarillonError("not_found", `There is no timetable named ${JSON.stringify(name)}.`);
}

async function lockTimetable(client: pg.PoolClient, name: string): Promise<LockedTimetable> {
  const { rows } = await client.query<{ timetable_id: number; kind: string; last_version: number; now_ms: number }>(
    `select timetable_id, kind, last_version, (extract(epoch from carillon.clock()) * 1000)::float8 as now_ms
     from carillon.timetables where name = $1 for no key update`,
    [name],
  );
  const [row] = rows;
  if (row === undefined) throw noTimetable(name);
  return {
    timetableId: row.timetable_id,
    name,
    kind: row.kind,
    lastVersion: row.last_version,
    today: localDate(row.now_ms, "UTC"),
  };
}

async function write(client: pg.PoolClient, timetableId: number, wanted: WantedVersion): Promise<void> {
  const { version } = wanted;
  if (wanted.kind === "remove") {
    await client.query("delete from carillon.timetable_versions where timetable_id = $1 and version = $2", [
      timetableId,
      version.version,
    ]);
    return;
  }
  const { kind: _, ...parameters } = version.timetable;
  const from = version.effectiveFrom === null ? null : formatDate(version.effectiveFrom);
  const values = [timetableId, version.version, from, JSON.stringify(parameters), version.note];
  await client.query(
    wanted.kind === "insert"
      ? `insert into carillon.timetable_versions (timetable_id, version, effective_from, parameters, note)
         values ($1, $2, $3, $4, $5)`
      : `update carillon.timetable_versions set effective_from = $3, parameters = $4, note = $5
         where timetable_id = $1 and version = $2`,
    values,
  );
}

async function readOne(
  client: pg.PoolClient,
  timetableId: number,
  { version }: TimetableVersion,
): Promise<StoredVersion[]> {
  const versions = versionsOf(await readVersions(client, [timetableId]), timetableId);
  return versions.filter((each) => each.version === version);
}

/** What plain SQL did meanwhile, without our lock, is found by the constraints. */
function asVersionError(error: unknown): unknown {
  const constraint = error instanceof Error && "constraint" in error ? error.constraint : undefined;
  if (codeOf(error) === "23505" && constraint === "timetable_versions_overlap") {
    return new CarillonError("version_overlaps", "Another version begins on the same date.", {
      pointer: "/effectiveFrom",
      cause: error,
    });
  }
  if (constraint === "timetable_versions_without_hole") {
    return new CarillonError("timetable_hole", "No version would hold since ever.", { cause: error });
  }
  return error;
}
