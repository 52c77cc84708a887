import { addressRule } from "../../channels/address-rule.ts";
import { CarillonError } from "../../errors.ts";
import { shownAddress } from "../../reminder/address.ts";
import { type Endpoint, listEndpoints, removeEndpoint, saveEndpoints } from "../../store/endpoints.ts";
import { bulkOf, parser } from "../contract/contract.ts";
import { endpointPath, endpointsQuery, newEndpoint, newEndpointOfUser } from "../contract/endpoint.ts";
import { userPath } from "../contract/user.ts";
import type { ApiDeps } from "../deps.ts";
import { type Route, route } from "../route.ts";

export function endpointRoutes({ db, egressPolicy }: ApiDeps): Route[] {
  const params = parser(userPath, ":");
  const rule = addressRule(egressPolicy);
  return [
    route({
      method: "post",
      path: "/users/:userId/endpoints",
      scope: "subscribe",
      params,
      body: parser(newEndpoint),
      run: async ({ params: { userId }, body }) => {
        const [saved] = await saveEndpoints(db, [{ ...body, userId, pointer: "" }], rule);
        if (saved === undefined) throw new CarillonError("internal", "The endpoint was not stored.");
        return { status: saved.created ? 201 : 200, body: shown(saved.endpoint) };
      },
    }),
    route({
      method: "get",
      path: "/users/:userId/endpoints",
      scope: "subscribe",
      params,
      query: parser(endpointsQuery, "?"),
      run: async ({ params: { userId }, query: { addresses }, demand }) => {
        if (addresses === "full") demand("admin");
        const endpoints = await listEndpoints(db, userId);
        return { status: 200, body: { endpoints: addresses === "full" ? endpoints : endpoints.map(shown) } };
      },
    }),
    route({
      method: "delete",
      path: "/users/:userId/endpoints/:ordinal",
      scope: "subscribe",
      params: parser(endpointPath, ":"),
      run: async ({ params: { userId, ordinal } }) => ({
        status: 200,
        body: shown(await removeEndpoint(db, userId, ordinal)),
      }),
    }),
    route({
      method: "post",
      path: "/endpoints",
      scope: "subscribe",
      body: bulkOf(newEndpointOfUser, "endpoints"),
      run: async ({ body }) => {
        const requests = body.map((endpoint, index) => ({ ...endpoint, pointer: `/endpoints/${index}` }));
        const saved = await saveEndpoints(db, requests, rule);
        const endpoints = saved.map(({ userId, endpoint, created }) => ({ userId, ...shown(endpoint), created }));
        return { status: 200, body: { endpoints } };
      },
    }),
  ];
}

function shown(endpoint: Endpoint): Endpoint {
  return { ...endpoint, address: shownAddress(endpoint.channel, endpoint.address) };
}
