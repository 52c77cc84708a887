import { createTimetable, listTimetables, readTimetable, type StoredTimetable } from "../../store/timetables.ts";
import { parseTimetable, slotsOf } from "../../timetable/timetable.ts";
import { namePath, page, parser } from "../contract/contract.ts";
import { dryRunQuery, newTimetable, timetablePatch } from "../contract/timetable.ts";
import type { ApiDeps } from "../deps.ts";
import { type Route, route } from "../route.ts";
import { pageOf } from "./page.ts";
import { changeWithDiff, shownDate } from "./timetable-versions.ts";

export function timetableRoutes(deps: ApiDeps): Route[] {
  const { db } = deps;
  const params = parser(namePath, ":");
  return [
    route({
      method: "post",
      path: "/timetables",
      scope: "admin",
      body: parser(newTimetable),
      run: async ({ body: { name, kind, parameters } }) => {
        const stored = await createTimetable(db, name, parseTimetable(kind, parameters, "/parameters"));
        return { status: 201, body: shown(stored) };
      },
    }),
    route({
      method: "get",
      path: "/timetables",
      scope: "admin",
      query: parser(page, "?"),
      run: async ({ query: { limit, cursor = null } }) => {
        const timetables = await listTimetables(db, { after: cursor, limit: limit + 1 });
        return { status: 200, body: pageOf("timetables", timetables.map(shown), limit, (each) => each.name) };
      },
    }),
    route({
      method: "get",
      path: "/timetables/:name",
      scope: "admin",
      params,
      run: async ({ params: { name } }) => ({ status: 200, body: shown(await readTimetable(db, name)) }),
    }),
    route({
      method: "patch",
      path: "/timetables/:name",
      scope: "admin",
      params,
      query: parser(dryRunQuery, "?"),
      body: parser(timetablePatch),
      run: async ({ params: { name }, query: { dryRun }, body: { parameters } }) => {
        const change = { kind: "correct", version: "today", parameters } as const;
        const { timetableId, version, foreseen } = await changeWithDiff(deps, name, change, dryRun);
        return { status: 200, body: { ...shown({ timetableId, name, ...version }), dryRun, diff: foreseen } };
      },
    }),
  ];
}

/** A timetable as it is today: the version that holds. */
function shown({ timetableId, name, timetable, version, effectiveFrom, updatedAt }: StoredTimetable) {
  const { kind, ...parameters } = timetable;
  const slots = slotsOf(timetable);
  return { timetableId, name, kind, parameters, slots, version, effectiveFrom: shownDate(effectiveFrom), updatedAt };
}
