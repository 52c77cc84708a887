import { z } from "zod";
import type { Logger, RateLimitedLogger } from "../logger.ts";
import { type CutOptions, cutBuckets } from "../store/cut.ts";
import type { Database } from "../store/database.ts";
import { keepRunning } from "../store/job-runner.ts";
import { removeDeadJobs, taskNames } from "../store/jobs.ts";
import { type PlannerOptions, planDue } from "./plan.ts";

export interface PlannerDeps {
  readonly db: Database;
  /** for the job runner, which keeps a connection */
  readonly jobsDb: Database;
  readonly options: PlannerOptions & { readonly pollMs: number; readonly drainMs: number };
  readonly cut: CutOptions;
  readonly logger: Logger;
  readonly faults: RateLimitedLogger;
}

const cutPayload = z.object({ second: z.number().int() });

/**
 * The planning part of a node: each minute, and whenever a near schedule is added, it plans ahead; shortly before a
 * moment it cuts the moment's buckets into groups. Any number of nodes may do it at once. Never rejects.
 */
export function runPlanner(deps: PlannerDeps, stopping: AbortSignal): Promise<void> {
  const { db, logger, faults } = deps;

  async function plan(): Promise<void> {
    const { cutByMs, ...done } = await planDue(db, deps.options, stopping);
    if (done.schedules > 0) logger.info(done, "planned");
    // what is due within the lead is cut here and now; its job would cost the moment some milliseconds
    if (done.buckets > 0) await cutThrough(cutByMs);
  }

  async function cut(payload: unknown): Promise<void> {
    const { second } = cutPayload.parse(payload);
    await cutThrough(second * 1000);
  }

  /** All buckets that are due by the end of this second. */
  async function cutThrough(dueAtMs: number): Promise<void> {
    const second = Math.floor(dueAtMs / 1000);
    for (;;) {
      const done = await cutBuckets(db, (second + 1) * 1000, deps.cut);
      if (done.buckets > 0) logger.info({ second, ...done }, "cut into groups");
      if (done.buckets < deps.cut.batch) break;
    }
  }

  /** What fails here is found again by its rows: the next minute, or the sweep. */
  function tolerant(name: string, run: (payload: unknown) => Promise<void>): (payload: unknown) => Promise<void> {
    return async (payload) => {
      try {
        await run(payload);
      } catch (error) {
        faults.error(name, { err: error }, `${name} failed; it will be tried again`);
      }
    };
  }

  return keepRunning(
    {
      db: deps.jobsDb,
      tasks: {
        [taskNames.plan]: tolerant("plan", plan),
        [taskNames.cut]: tolerant("cut", cut),
        [taskNames.tidy]: tolerant("tidy", async () => void (await removeDeadJobs(db.pool))),
      },
      cron: [
        { task: taskNames.plan, match: "* * * * *" },
        { task: taskNames.tidy, match: "17 * * * *" },
      ],
      concurrency: 2,
      pollMs: deps.options.pollMs,
      drainMs: deps.options.drainMs,
      logger,
      faults,
    },
    stopping,
  );
}
