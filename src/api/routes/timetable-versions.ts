import { diffTimetable } from "../../planner/timetable-diff.ts";
import { type ChangedVersion, changeVersions } from "../../store/timetable-change.ts";
import type { StoredVersion } from "../../store/timetable-versions.ts";
import { listVersions, readVersion } from "../../store/timetables.ts";
import type { VersionChange } from "../../store/version-change.ts";
import { type CivilDate, formatDate } from "../../timetable/civil-time.ts";
import { slotsOf } from "../../timetable/timetable.ts";
import { namePath, parser } from "../contract/contract.ts";
import { dryRunQuery, versionBody, versionPath } from "../contract/timetable.ts";
import type { ApiDeps } from "../deps.ts";
import { type Reply, type Route, route } from "../route.ts";

export function timetableVersionRoutes(deps: ApiDeps): Route[] {
  const { db } = deps;
  const params = parser(versionPath, ":");
  const query = parser(dryRunQuery, "?");
  const body = parser(versionBody);
  return [
    route({
      method: "post",
      path: "/timetables/:name/versions",
      scope: "admin",
      params: parser(namePath, ":"),
      query,
      body,
      run: ({ params: { name }, query: { dryRun }, body: { effectiveFrom = null, ...said } }) =>
        changed(deps, name, { kind: "add", effectiveFrom, ...said }, dryRun),
    }),
    route({
      method: "get",
      path: "/timetables/:name/versions",
      scope: "admin",
      params: parser(namePath, ":"),
      run: async ({ params: { name } }) => {
        const versions = await listVersions(db, name);
        return { status: 200, body: { versions: versions.map(shown) } };
      },
    }),
    route({
      method: "get",
      path: "/timetables/:name/versions/:version",
      scope: "admin",
      params,
      run: async ({ params: { name, version } }) => ({
        status: 200,
        body: shownWhole(await readVersion(db, name, version)),
      }),
    }),
    route({
      method: "put",
      path: "/timetables/:name/versions/:version",
      scope: "admin",
      params,
      query,
      body,
      run: ({ params: { name, version }, query: { dryRun }, body: said }) =>
        changed(deps, name, { kind: "correct", version, ...said }, dryRun),
    }),
    route({
      method: "delete",
      path: "/timetables/:name/versions/:version",
      scope: "admin",
      params,
      query,
      run: ({ params: { name, version }, query: { dryRun } }) =>
        changed(deps, name, { kind: "remove", version }, dryRun),
    }),
  ];
}

async function changed(deps: ApiDeps, name: string, change: VersionChange, dryRun: boolean): Promise<Reply> {
  const { version, created, foreseen } = await changeWithDiff(deps, name, change, dryRun);
  return {
    status: created && !dryRun ? 201 : 200,
    body: { ...shownWhole(version), removed: change.kind === "remove", dryRun, diff: foreseen },
  };
}

/** A change whose reply says what it does to the moments ahead. */
export function changeWithDiff(
  { db, planHorizonMs }: Pick<ApiDeps, "db" | "planHorizonMs">,
  name: string,
  change: VersionChange,
  dryRun: boolean,
): Promise<ChangedVersion<Awaited<ReturnType<typeof diffTimetable>>>> {
  return changeVersions(db, name, change, {
    dryRun,
    foresee: (client, foreseen) => diffTimetable(client, foreseen, planHorizonMs),
  });
}

/** Without its parameters: an uploaded table is long. */
function shown({ version, effectiveFrom, timetable, note, createdAt, updatedAt }: StoredVersion) {
  return {
    version,
    effectiveFrom: shownDate(effectiveFrom),
    note,
    slots: slotsOf(timetable),
    createdAt,
    updatedAt,
  };
}

function shownWhole(version: StoredVersion) {
  const { kind, ...parameters } = version.timetable;
  return { ...shown(version), kind, parameters };
}

export function shownDate(date: CivilDate | null): string | null {
  return date === null ? null : formatDate(date);
}
