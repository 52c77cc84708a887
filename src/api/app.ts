import { randomUUID } from "node:crypto";
import express, { type Express, type RequestHandler } from "express";
import helmet from "helmet";
import { monotonicMs } from "../clock.ts";
import { CarillonError } from "../errors.ts";
import type { Logger } from "../logger.ts";
import { assertMigrated } from "../store/migrate.ts";
import { withKeys, withoutKeys } from "./authentication.ts";
import { jsonBodies } from "./body.ts";
import type { ApiDeps } from "./deps.ts";
import { health } from "./health.ts";
import { answerProblem } from "./problem.ts";
import { mount, type Route } from "./route.ts";
import { bucketRoutes } from "./routes/buckets.ts";
import { destinationRoutes } from "./routes/destinations.ts";
import { endpointRoutes } from "./routes/endpoints.ts";
import { eventListenerRoutes } from "./routes/event-listeners.ts";
import { foresightRoutes } from "./routes/foresight.ts";
import { paceRoutes } from "./routes/paces.ts";
import { placeRoutes } from "./routes/places.ts";
import { preferenceRoutes, suppressionRoutes } from "./routes/preferences.ts";
import { scheduleRoutes } from "./routes/schedules.ts";
import { subscriptionRoutes } from "./routes/subscriptions.ts";
import { timetableVersionRoutes } from "./routes/timetable-versions.ts";
import { timetableRoutes } from "./routes/timetables.ts";
import { topicRoutes } from "./routes/topics.ts";
import { muteRoutes, userRoutes } from "./routes/users.ts";

/**
 * The HTTP API (docs/http.md), not yet listening: see `startApi`. Every refusal is a problem (RFC 9457) with a code of
 * the catalogue.
 */
export function createApp(deps: ApiDeps): Express {
  const app = express();
  app.disable("etag");
  app.use(withRequestId());
  app.use(logged(deps.logger));
  app.use(helmet());
  app.use(health({ ready: () => assertMigrated(deps.db), stopping: deps.stopping }));
  app.use("/v1", deps.openOnLoopback ? withoutKeys() : withKeys(deps.db), jsonBodies(), versionOne(deps));
  app.use(() => {
    throw nothingHere();
  });
  app.use(answerProblem(deps.logger));
  return app;
}

/** All routes under /v1. */
export function routesOf(deps: ApiDeps): Route[] {
  return [
    ...topicRoutes(deps),
    ...placeRoutes(deps),
    ...timetableRoutes(deps),
    ...timetableVersionRoutes(deps),
    ...destinationRoutes(deps),
    ...paceRoutes(deps),
    ...eventListenerRoutes(deps),
    ...userRoutes(deps),
    ...muteRoutes(deps),
    ...preferenceRoutes(deps),
    ...suppressionRoutes(deps),
    ...endpointRoutes(deps),
    ...subscriptionRoutes(deps),
    // before those of schedules: "preview" is none's number
    ...foresightRoutes(deps),
    ...scheduleRoutes(deps),
    ...bucketRoutes(deps),
  ];
}

function versionOne(deps: ApiDeps): RequestHandler {
  const router = express.Router({ caseSensitive: true, strict: true });
  mount(router, routesOf(deps));
  router.use(() => {
    throw nothingHere();
  });
  return router;
}

/** A caller's own id is taken over, so that one request can be followed through several logs. */
function withRequestId(): RequestHandler {
  return (request, response, next) => {
    const given = request.get("x-request-id");
    const requestId = given !== undefined && /^[\w.:-]{1,100}$/.test(given) ? given : randomUUID();
    response.setHeader("x-request-id", requestId);
    next();
  };
}

/** One line a request. The route's pattern, not the address: that may name a user. */
function logged(logger: Logger): RequestHandler {
  return (request, response, next) => {
    const beganAtMs = monotonicMs();
    response.once("close", () => {
      const { route = null, keyId } = response.locals;
      const tookMs = Math.round(monotonicMs() - beganAtMs);
      const { method } = request;
      const status = response.writableFinished ? response.statusCode : null;
      logger.debug({ requestId: response.getHeader("x-request-id"), method, route, status, tookMs, keyId }, "request");
    });
    next();
  };
}

function nothingHere(): CarillonError {
  return new CarillonError("not_found", "There is nothing at this address.");
}
