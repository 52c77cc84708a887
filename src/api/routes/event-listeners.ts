import { readListener, removeListener, setListener } from "../../store/event-listeners.ts";
import { namePath, parser } from "../contract/contract.ts";
import { eventListener } from "../contract/event-listener.ts";
import type { ApiDeps } from "../deps.ts";
import { type Route, route } from "../route.ts";

/** Which destinations are told what happens here (docs/events.md). */
export function eventListenerRoutes({ db }: ApiDeps): Route[] {
  const params = parser(namePath, ":");
  const path = "/event-listeners/:name";
  return [
    route({
      method: "get",
      path,
      scope: "admin",
      params,
      run: async ({ params: { name } }) => ({ status: 200, body: await readListener(db.pool, name) }),
    }),
    route({
      method: "put",
      path,
      scope: "admin",
      params,
      body: parser(eventListener),
      run: async ({ params: { name }, body }) => ({ status: 200, body: await setListener(db, name, body.kinds) }),
    }),
    route({
      method: "delete",
      path,
      scope: "admin",
      params,
      run: async ({ params: { name } }) => {
        await removeListener(db, name);
        return { status: 200, body: { destination: name, kinds: [] } };
      },
    }),
  ];
}
