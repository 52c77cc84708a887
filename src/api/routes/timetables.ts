import {
  createTimetable,
  listTimetables,
  patchTimetable,
  readTimetable,
  type StoredTimetable,
} from "../../store/timetables.ts";
import { parseTimetable, slotsOf } from "../../timetable/timetable.ts";
import { namePath, page, parser } from "../contract/contract.ts";
import { newTimetable, timetablePatch } from "../contract/timetable.ts";
import type { ApiDeps } from "../deps.ts";
import { type Route, route } from "../route.ts";
import { pageOf } from "./page.ts";

export function timetableRoutes({ db }: ApiDeps): Route[] {
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
      body: parser(timetablePatch),
      run: async ({ params: { name }, body: { parameters } }) => {
        const { timetable } = await readTimetable(db, name);
        const stored = await patchTimetable(db, name, parseTimetable(timetable.kind, parameters, "/parameters"));
        return { status: 200, body: shown(stored) };
      },
    }),
  ];
}

function shown({ timetableId, name, timetable, version, updatedAt }: StoredTimetable) {
  const { kind, ...parameters } = timetable;
  return { timetableId, name, kind, parameters, slots: slotsOf(timetable), version, updatedAt };
}
