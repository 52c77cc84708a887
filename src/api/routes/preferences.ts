import { readPreferences, savePreferences } from "../../store/preferences.ts";
import { addSuppressions, listSuppressions, removeSuppression } from "../../store/suppressions.ts";
import { parseInstant } from "../../timetable/rule-check.ts";
import { page, parser } from "../contract/contract.ts";
import { newSuppressions, userPreferences } from "../contract/preferences.ts";
import { userPath } from "../contract/user.ts";
import type { ApiDeps } from "../deps.ts";
import { type Route, route } from "../route.ts";
import { pageOf } from "./page.ts";

/** What users want: docs/gate.md. */
export function preferenceRoutes({ db }: ApiDeps): Route[] {
  const params = parser(userPath, ":");
  return [
    route({
      method: "get",
      path: "/users/:userId/preferences",
      scope: "subscribe",
      params,
      run: async ({ params: { userId } }) => ({ status: 200, body: await readPreferences(db, userId) }),
    }),
    route({
      method: "put",
      path: "/users/:userId/preferences",
      scope: "subscribe",
      params,
      body: parser(userPreferences),
      run: async ({ params: { userId }, body }) => ({ status: 200, body: await savePreferences(db, userId, body) }),
    }),
  ];
}

/** Whom the operator keeps from being sent to. */
export function suppressionRoutes({ db }: ApiDeps): Route[] {
  return [
    route({
      method: "get",
      path: "/suppressions",
      scope: "admin",
      query: parser(page, "?"),
      run: async ({ query: { limit, cursor } }) => {
        const listed = await listSuppressions(db, { after: cursor ?? null, limit: limit + 1 });
        return { status: 200, body: pageOf("suppressions", listed, limit, ({ userId }) => userId) };
      },
    }),
    route({
      method: "post",
      path: "/suppressions",
      scope: "admin",
      body: newSuppressions,
      run: async ({ body }) => {
        const suppressions = body.map(({ until, ...rest }, index) => ({
          ...rest,
          until: until === null ? null : new Date(parseInstant(until, `/suppressions/${index}/until`)),
        }));
        return { status: 200, body: { added: await addSuppressions(db, suppressions) } };
      },
    }),
    route({
      method: "delete",
      path: "/suppressions/:userId",
      scope: "admin",
      params: parser(userPath, ":"),
      run: async ({ params: { userId } }) => ({ status: 200, body: { removed: await removeSuppression(db, userId) } }),
    }),
  ];
}
