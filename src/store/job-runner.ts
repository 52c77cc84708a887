import { Logger as JobLogger, parseCronItems, type Runner, run, type TaskList } from "graphile-worker";
import { sleep } from "../clock.ts";
import type { Logger, RateLimitedLogger } from "../logger.ts";
import type { Database } from "./database.ts";

export interface JobRunnerOptions {
  /** a pool of its own: graphile-worker keeps one connection to listen */
  readonly db: Database;
  readonly tasks: TaskList;
  /** five-field crontab patterns, UTC, by task */
  readonly cron: readonly { readonly task: string; readonly match: string }[];
  readonly concurrency: number;
  readonly pollMs: number;
  /** how long running tasks are waited for when stopping */
  readonly drainMs: number;
  readonly logger: Logger;
  readonly faults: RateLimitedLogger;
}

/**
 * Keeps a graphile-worker runner going until the signal is aborted, then lets its tasks end. Never rejects.
 *
 * A runner can end by itself (a restart of Postgres shuts its pool down, say); whenever one does unasked, a new one is
 * started, with a back-off.
 */
export async function keepRunning(options: JobRunnerOptions, stopping: AbortSignal): Promise<void> {
  for (let failures = 0; !stopping.aborted; ) {
    const startedAt = performance.now();
    try {
      await runOnce(options, stopping);
    } catch (error) {
      options.faults.warn("runner", { err: error }, "the job runner ended; starting a new one");
    }
    failures = performance.now() - startedAt > 10_000 ? 0 : failures + 1;
    await sleep(Math.min(2000, 100 * 2 ** failures), stopping).catch(() => undefined);
  }
}

async function runOnce(options: JobRunnerOptions, stopping: AbortSignal): Promise<void> {
  const runner = await run({
    pgPool: options.db.pool,
    taskList: options.tasks,
    parsedCronItems: parseCronItems(
      options.cron.map(({ task, match }) => ({ task, match, options: { backfillPeriod: 0, maxAttempts: 3 } })),
    ),
    concurrency: options.concurrency,
    pollInterval: options.pollMs,
    noHandleSignals: true,
    noPreparedStatements: false,
    preset: {
      worker: {
        // what it awaits of its own accord: see ARCHITECTURE.md, "What graphile-worker is for"
        completeJobBatchDelay: 0,
        failJobBatchDelay: 0,
        gracefulShutdownAbortTimeout: options.drainMs + 5_000,
      },
    },
    logger: jobLogger(options.logger, options.faults),
  });
  const stop = () => void stopRunner(runner);
  stopping.addEventListener("abort", stop, { once: true });
  if (stopping.aborted) stop();
  try {
    await runner.promise;
  } finally {
    stopping.removeEventListener("abort", stop);
    await stopRunner(runner);
  }
}

async function stopRunner(runner: Runner): Promise<void> {
  try {
    await runner.stop();
  } catch {
    // it was stopped already, or ended by itself
  }
}

/** graphile-worker's own words, at our levels; what it repeats during an outage is limited. */
function jobLogger(logger: Logger, faults: RateLimitedLogger): JobLogger {
  return new JobLogger((scope) => (level, message, meta) => {
    const fields = { scope: scope.label, task: scope.taskIdentifier, job: scope.jobId };
    if (level === "error" || level === "warning") {
      faults.warn(`graphile-worker ${level}`, { ...fields, err: meta?.error }, message);
    } else {
      logger.trace(fields, message);
    }
  });
}
