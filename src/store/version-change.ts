import { CarillonError, unreachable } from "../errors.ts";
import { type CivilDate, compareDates, formatDate } from "../timetable/civil-time.ts";
import { parseTimetable } from "../timetable/timetable.ts";
import { compareVersions, type TimetableVersion, versionOn } from "../timetable/versions.ts";
import type { StoredVersion } from "./timetable-versions.ts";

/* What a change of a timetable's versions comes to. Pure. */

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

/** A timetable whose versions nobody else changes meanwhile. */
export interface LockedTimetable {
  readonly timetableId: number;
  readonly name: string;
  readonly kind: string;
  readonly lastVersion: number;
  /** in UTC */
  readonly today: CivilDate;
}

/** What is to be written. */
export type WantedVersion =
  | { readonly kind: "insert" | "update"; readonly version: TimetableVersion & Pick<StoredVersion, "note"> }
  | { readonly kind: "remove"; readonly version: StoredVersion };

/**
 * What is to be written, if it may be.
 *
 * @throws unknown_version, version_overlaps, timetable_hole; what is wrong with the parameters
 */
export function decideVersion(
  timetable: LockedTimetable,
  versions: readonly StoredVersion[],
  change: VersionChange,
): WantedVersion {
  if (change.kind === "remove") {
    const version = versionNumbered(timetable.name, versions, change.version);
    if (version.effectiveFrom === null) throw hole(version, {});
    return { kind: "remove", version };
  }
  if (change.of !== undefined && change.of !== timetable.kind) {
    const detail = `The timetable ${JSON.stringify(timetable.name)} is of kind ${timetable.kind}, and stays so.`;
    throw new CarillonError("invalid_request", detail, { pointer: "/kind" });
  }
  const said = parseTimetable(timetable.kind, change.parameters, "/parameters");
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
      if (change.version !== "today") return versionNumbered(name, versions, change.version);
      return versionOn(versions, today) ?? undefined;
    default:
      return unreachable(change);
  }
}

/** The versions that there will be. */
export function versionsAfter(before: readonly TimetableVersion[], wanted: WantedVersion): TimetableVersion[] {
  const others = before.filter(({ version }) => version !== wanted.version.version);
  return (wanted.kind === "remove" ? others : [...others, wanted.version]).sort(compareVersions);
}

function sameDate(a: CivilDate | null, b: CivilDate | null): boolean {
  return a === null || b === null ? a === b : compareDates(a, b) === 0;
}

/** @throws unknown_version */
export function versionNumbered(name: string, versions: readonly StoredVersion[], version: number): StoredVersion {
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
