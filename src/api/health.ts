import express, { type Express, type RequestHandler } from "express";
import { CarillonError } from "../errors.ts";
import type { Logger } from "../logger.ts";
import { answerProblem } from "./problem.ts";

export interface HealthDeps {
  /** rejects, with a coded error, while the process can't do its work */
  readonly ready: () => Promise<void>;
  /** aborted when the process begins to stop: `/readyz` then says so */
  readonly stopping?: AbortSignal | undefined;
}

/** `/livez`: the process answers. `/readyz`: it can do its work. Both without a key. */
export function health({ ready, stopping }: HealthDeps): RequestHandler {
  const router = express.Router({ caseSensitive: true, strict: true });
  router.get("/livez", (_request, response) => {
    response.json({ status: "live" });
  });
  router.get("/readyz", async (_request, response) => {
    if (stopping?.aborted) throw new CarillonError("stopping", "This process is shutting down.");
    await ready();
    response.json({ status: "ready" });
  });
  return router;
}

/** For a node without the API: its health and nothing else. */
export function createHealthApp(deps: HealthDeps, logger: Logger): Express {
  const app = express();
  app.disable("x-powered-by");
  app.disable("etag");
  app.use(health(deps));
  app.use(() => {
    throw new CarillonError("not_found", "This node serves /livez and /readyz only.");
  });
  app.use(answerProblem(logger));
  return app;
}
