import { sleep } from "../clock.ts";
import type { Logger, RateLimitedLogger } from "../logger.ts";
import type { Database } from "../store/database.ts";
import { retireSilentNodes, sweep } from "../store/rescue.ts";

export interface RescueOptions {
  readonly sweepMs: number;
  readonly leadMs: number;
}

/** Groups that one sweep wakes at most; the next one comes soon. */
const sweepLimit = 1000;
const silentNodeMs = 60_000;

/** Every few seconds looks for work that nobody holds and wakes somebody for it. Never rejects. */
export async function runRescue(
  db: Database,
  options: RescueOptions,
  logger: Logger,
  faults: RateLimitedLogger,
  stopping: AbortSignal,
): Promise<void> {
  while (!stopping.aborted) {
    await sleep(options.sweepMs, stopping).catch(() => undefined);
    if (stopping.aborted) return;
    try {
      const found = await sweep(db.pool, { leadMs: options.leadMs, limit: sweepLimit });
      if (found.wokenGroups > 0 || found.uncutSeconds > 0 || found.closedBuckets > 0) {
        logger.info(found, "the sweep found work that nobody held");
      }
      await retireSilentNodes(db.pool, silentNodeMs);
    } catch (error) {
      faults.warn("sweep", { err: error }, "the sweep failed; the next one comes soon");
    }
  }
}
