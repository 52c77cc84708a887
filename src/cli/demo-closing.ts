import { sleep } from "../clock.ts";
import type { Database } from "../store/database.ts";
import { bucketOf } from "../store/rehearsal.ts";

/** Resolves with a schedule's only time bucket when it is closed. */
export async function whenClosed(db: Database, scheduleId: string, stopping: AbortSignal): Promise<string> {
  for (;;) {
    const bucket = await bucketOf(db, scheduleId);
    if (bucket?.closed === true) return bucket.bucketId;
    await sleep(100, stopping);
  }
}
