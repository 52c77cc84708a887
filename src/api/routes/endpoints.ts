import { CarillonError } from "../../errors.ts";
import { listEndpoints, removeEndpoint, saveEndpoints } from "../../store/endpoints.ts";
import { bulkOf, parser } from "../contract/contract.ts";
import { endpointPath, newEndpoint, newEndpointOfUser } from "../contract/endpoint.ts";
import { userPath } from "../contract/user.ts";
import type { ApiDeps } from "../deps.ts";
import { type Route, route } from "../route.ts";

export function endpointRoutes({ db }: ApiDeps): Route[] {
  const params = parser(userPath, ":");
  return [
    route({
      method: "post",
      path: "/users/:userId/endpoints",
      scope: "subscribe",
      params,
      body: parser(newEndpoint),
      run: async ({ params: { userId }, body }) => {
        const [saved] = await saveEndpoints(db, [{ ...body, userId, pointer: "" }]);
        if (saved === undefined) throw new CarillonError("internal", "The endpoint was not stored.");
        return { status: saved.created ? 201 : 200, body: saved.endpoint };
      },
    }),
    route({
      method: "get",
      path: "/users/:userId/endpoints",
      scope: "subscribe",
      params,
      run: async ({ params: { userId } }) => ({ status: 200, body: { endpoints: await listEndpoints(db, userId) } }),
    }),
    route({
      method: "delete",
      path: "/users/:userId/endpoints/:ordinal",
      scope: "subscribe",
      params: parser(endpointPath, ":"),
      run: async ({ params: { userId, ordinal } }) => ({
        status: 200,
        body: await removeEndpoint(db, userId, ordinal),
      }),
    }),
    route({
      method: "post",
      path: "/endpoints",
      scope: "subscribe",
      body: bulkOf(newEndpointOfUser, "endpoints"),
      run: async ({ body }) => {
        const requests = body.map((endpoint, index) => ({ ...endpoint, pointer: `/endpoints/${index}` }));
        const saved = await saveEndpoints(db, requests);
        const endpoints = saved.map(({ userId, endpoint, created }) => ({ userId, ...endpoint, created }));
        return { status: 200, body: { endpoints } };
      },
    }),
  ];
}
