import { checkUrl } from "../../channels/egress-guard.ts";
import {
  createDestination,
  listDestinations,
  patchDestination,
  readDestination,
  type WithNewSecret,
} from "../../store/destinations.ts";
import { namePath, page, parser } from "../contract/contract.ts";
import { destinationPatch, newDestination } from "../contract/destination.ts";
import type { ApiDeps } from "../deps.ts";
import { type Route, route } from "../route.ts";
import { pageOf } from "./page.ts";

export function destinationRoutes({ db, secretKey, egressPolicy }: ApiDeps): Route[] {
  const params = parser(namePath, ":");
  return [
    route({
      method: "post",
      path: "/destinations",
      scope: "admin",
      body: parser(newDestination),
      run: async ({ body }) => {
        const { href } = checkUrl(body.url, egressPolicy, "/url");
        return { status: 201, body: withSecret(await createDestination(db, { ...body, url: href }, secretKey)) };
      },
    }),
    route({
      method: "get",
      path: "/destinations",
      scope: "admin",
      query: parser(page, "?"),
      run: async ({ query: { limit, cursor = null } }) => {
        const destinations = await listDestinations(db, { after: cursor, limit: limit + 1 });
        return { status: 200, body: pageOf("destinations", destinations, limit, (each) => each.name) };
      },
    }),
    route({
      method: "get",
      path: "/destinations/:name",
      scope: "admin",
      params,
      run: async ({ params: { name } }) => ({ status: 200, body: await readDestination(db, name) }),
    }),
    route({
      method: "patch",
      path: "/destinations/:name",
      scope: "admin",
      params,
      body: parser(destinationPatch),
      run: async ({ params: { name }, body }) => {
        const url = body.url === undefined ? undefined : checkUrl(body.url, egressPolicy, "/url").href;
        return { status: 200, body: withSecret(await patchDestination(db, name, { ...body, url }, secretKey)) };
      },
    }),
  ];
}

/** A generated secret is handed over here, once; it can't be asked for again. */
function withSecret({ destination, newSecret }: WithNewSecret) {
  return newSecret === null ? destination : { ...destination, secret: newSecret };
}
