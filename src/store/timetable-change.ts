import type pg from "pg";
import { CarillonError, unreachable } from "../errors.ts";
import { type CivilDate, compareDates, formatDate, localDate } from "../timetable/civil-time.ts";
import { isTimetableKind, parseTimetable, type Timetable } from "../timetable/timetable.ts";
import { compareVersions, type TimetableVersion, versionOn } from "../timetable/versions.ts";
import { codeOf, type Database } from "./database.ts";
import { inTransaction } from "./executor.ts";
import { readVersions, type StoredVersion, versionsOf } from "./timetable-versions.ts";

/** What is to be changed of a timetable's versions. */
export type VersionChange =
  | (Said & { readonly kind: "add"; readonly effectiveFrom: CivilDate | null })
  /** @property version its number, or the one that holds today by the date in UTC */
  | (Said & {
      readonly kind: "correct";
      readonly version: number | "today";
      readonly effectiveFrom?: CivilDate | null | undefined;
    })
  /** the version that begins on that date is corrected, or made */
  | (Said & { readonly kind: "set"; readonly effectiveFrom: CivilDate | null })
  | { readonly kind: "remove"; readonly version: number };

interface Said {
  /** as the timetable's kind has them */
  readonly parameters: unknown;
  /** left out: stays; null: none */
  readonly note?: string | null | undefined;
  /** the kind of timetable that the parameters are for; left out: whatever it is */
  readonly of?: string;
}

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
      const wanted = decide(timetable, before, change);
      const foreseen = await foresee?.(client, { timetableId, name, before, after: applied(before, wanted) });
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
  return found(name, await listVersions(db, name), version);
}

export function noTimetable(name: string): CarillonError {
  return new CarillonError("not_found", `There is no timetable named ${JSON.stringify(name)}.`);
}

interface LockedTimetable {
  readonly timetableId: number;
  readonly name: string;
  readonly kind: string;
  readonly lastVersion: number;
  /** in UTC */
  readonly today: CivilDate;
}

type Wanted =
  | { readonly kind: "insert" | "update"; readonly version: TimetableVersion & Pick<StoredVersion, "note"> }
  | { readonly kind: "remove"; readonly version: StoredVersion };

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

/** Pure: what is to be written, if it may be. */
function decide(timetable: LockedTimetable, versions: readonly StoredVersion[], change: VersionChange): Wanted {
  if (change.kind === "remove") {
    const version = found(timetable.name, versions, change.version);
    if (version.effectiveFrom === null) throw hole(version, {});
    return { kind: "remove", version };
  }
  if (change.of !== undefined && change.of !== timetable.kind) {
    const detail = `The timetable ${JSON.stringify(timetable.name)} is of kind ${timetable.kind}, and stays so.`;
    throw new CarillonError("invalid_request", detail, { pointer: "/kind" });
  }
  const said = parsed(timetable.kind, change.parameters);
  const corrected = correctedBy(timetable, versions, change);
  const effectiveFrom = change.effectiveFrom === undefined ? (corrected?.effectiveFrom ?? null) : change.effectiveFrom;
  const other = versions.find((each) => each !== corrected && sameDate(each.effectiveFrom, effectiveFrom));
  if (other !== undefined) throw overlap(other);
  if (corrected !== undefined && corrected.effectiveFrom === null && effectiveFrom !== null) {
    throw hole(corrected, { pointer: "/effectiveFrom" });
  }
  const note = change.note === undefined ? (corrected?.note ?? null) : change.note;
  const version = corrected?.version ?? timetable.lastVersion + 1;
  return {
    kind: corrected === undefined ? "insert" : "update",
    version: { version, effectiveFrom, timetable: said, note },
  };
}

function parsed(kind: string, parameters: unknown): Timetable {
  if (isTimetableKind(kind)) return parseTimetable(kind, parameters, "/parameters");
  throw new CarillonError("internal", `This program knows no timetables of kind ${JSON.stringify(kind)}.`);
}

function correctedBy(
  { name, today }: LockedTimetable,
  versions: readonly StoredVersion[],
  change: Exclude<VersionChange, { kind: "remove" }>,
): StoredVersion | undefined {
  switch (change.kind) {
    case "add":
      return undefined;
    case "set":
      return versions.find((each) => sameDate(each.effectiveFrom, change.effectiveFrom));
    case "correct":
      if (change.version !== "today") return found(name, versions, change.version);
      return versionOn(versions, today) ?? undefined;
    default:
      return unreachable(change);
  }
}

function applied(before: readonly TimetableVersion[], wanted: Wanted): TimetableVersion[] {
  const others = before.filter(({ version }) => version !== wanted.version.version);
  return (wanted.kind === "remove" ? others : [...others, wanted.version]).sort(compareVersions);
}

async function write(client: pg.PoolClient, timetableId: number, wanted: Wanted): Promise<void> {
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

function sameDate(a: CivilDate | null, b: CivilDate | null): boolean {
  return a === null || b === null ? a === b : compareDates(a, b) === 0;
}

function found(name: string, versions: readonly StoredVersion[], version: number): StoredVersion {
  const one = versions.find((each) => each.version === version);
  if (one !== undefined) return one;
  throw new CarillonError("unknown_version", `The timetable ${JSON.stringify(name)} has no version ${version}.`);
}

function overlap({ version, effectiveFrom }: StoredVersion): CarillonError {
  const begins = effectiveFrom === null ? "holds since ever" : `begins on ${formatDate(effectiveFrom)}`;
  return new CarillonError("version_overlaps", `Version ${version} ${begins}, too: correct it, or say another date.`, {
    pointer: "/effectiveFrom",
  });
}

function hole({ version }: StoredVersion, where: { pointer?: string }): CarillonError {
  const detail = `Version ${version} holds since ever: without it, dates before the next one begins would have no times.`;
  return new CarillonError("timetable_hole", detail, where);
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
