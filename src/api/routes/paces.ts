import { readPace, setPace } from "../../store/outlets.ts";
import { namePath, parser } from "../contract/contract.ts";
import { pace } from "../contract/pace.ts";
import type { ApiDeps } from "../deps.ts";
import { type Route, route } from "../route.ts";

/** How fast a destination may be sent to, by all nodes together. */
export function paceRoutes({ db }: ApiDeps): Route[] {
  const params = parser(namePath, ":");
  const path = "/destinations/:name/pace";
  return [
    route({
      method: "get",
      path,
      scope: "admin",
      params,
      run: async ({ params: { name } }) => ({ status: 200, body: { pace: await readPace(db.pool, name) } }),
    }),
    route({
      method: "put",
      path,
      scope: "admin",
      params,
      body: parser(pace),
      run: async ({ params: { name }, body }) => ({ status: 200, body: { pace: await setPace(db.pool, name, body) } }),
    }),
    route({
      method: "delete",
      path,
      scope: "admin",
      params,
      run: async ({ params: { name } }) => ({ status: 200, body: { pace: await setPace(db.pool, name, null) } }),
    }),
  ];
}
