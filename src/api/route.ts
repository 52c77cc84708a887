import type { RequestHandler, Response, Router } from "express";
import { z } from "zod";
import { CarillonError } from "../errors.ts";
import type { Scope } from "../store/api-keys.ts";
import { assertScope } from "./authentication.ts";
import { type Parser, parser } from "./contract/contract.ts";

/** What a route answers; dates in the body become RFC 3339 in UTC. */
export interface Reply {
  readonly status: 200 | 201;
  readonly body: unknown;
}

export type Method = "get" | "post" | "put" | "patch" | "delete";

interface RouteOf<Params, Query, Body> {
  readonly method: Method;
  readonly path: string;
  /** `subscribe` is open to keys of either scope, `admin` to its own only */
  readonly scope: Scope;
  readonly params?: Parser<Params>;
  readonly query?: Parser<Query>;
  readonly body?: Parser<Body>;
  readonly run: (call: Call<Params, Query, Body>) => Promise<Reply>;
}

interface Call<Params, Query, Body> {
  readonly params: Params;
  readonly query: Query;
  readonly body: Body;
  /** for what only some may ask of a route that is open to more; throws forbidden */
  readonly demand: (scope: Scope) => void;
}

/** A route whose parsers and body have been tied together: from outside, they are only what came in. */
export interface Route {
  readonly method: Method;
  readonly path: string;
  readonly scope: Scope;
  readonly answer: (call: Call<unknown, unknown, unknown>) => Promise<Reply>;
}

type Nothing = Record<string, never>;
const nothing: Parser<Nothing> = parser(z.strictObject({}));
const noQuery: Parser<Nothing> = parser(z.strictObject({}), "?");

/** A route; without a parser, there must be nothing there: a field that nobody reads is a mistake of somebody. */
export function route<Params, Query, Body>(definition: RouteOf<Params, Query, Body>): Route {
  const { method, path, scope, params, query, body, run } = definition;
  return {
    method,
    path,
    scope,
    answer: (given) =>
      run({
        params: params === undefined ? ({} as Params) : params.parse(given.params),
        query: query === undefined ? (noQuery.parse(given.query) as Query) : query.parse(given.query),
        body: body === undefined ? (nothing.parse(given.body ?? {}) as Body) : body.parse(given.body),
        demand: given.demand,
      }),
  };
}

/** Mounts routes; a path that is there under another method answers 405 and says which it has. */
export function mount(router: Router, routes: readonly Route[]): void {
  for (const [path, there] of Map.groupBy(routes, (each) => each.path)) {
    const mounted = router.route(path);
    for (const each of there) mounted[each.method](handlerOf(each));
    const methods = there.map(({ method }) => method.toUpperCase());
    const allowed = methods.includes("GET") ? [...methods, "HEAD"] : methods;
    mounted.all((request, response) => {
      response.setHeader("allow", allowed.join(", "));
      throw new CarillonError(
        "method_not_allowed",
        `${request.method} is not allowed here; ${allowed.join(", ")} are.`,
      );
    });
  }
}

function handlerOf(each: Route): RequestHandler {
  return async (request, response) => {
    response.locals.route = each.path;
    assertScope(response, each.scope);
    const { params, query, body } = request;
    const reply = await each.answer({ params, query, body, demand: (scope) => assertScope(response, scope) });
    send(response, reply);
  };
}

function send(response: Response, reply: Reply): void {
  response.setHeader("cache-control", "no-store");
  response.status(reply.status).json(reply.body);
}
