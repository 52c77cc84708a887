import { claimGroup } from "./claim.ts";
import type { Database } from "./database.ts";
import { intend } from "./intent.ts";
import { intendMany } from "./intent-many.ts";
import { recordOutcomes } from "./outcome.ts";
import { recordMany } from "./outcome-many.ts";
import { closeBucket, closeBuckets, settleGroup, settleGroups } from "./settle.ts";

/**
 * Opens connections and has each parse and plan the statements of the fire loop, so that a moment's first chunks don't
 * pay for that (some 10 ms a connection). They are run about a group that does not exist, and so do nothing.
 */
export async function warmUp(db: Database, connections: number): Promise<void> {
  const group = { bucketId: "0", groupNumber: 0, epoch: 0, claimToken: "00000000-0000-0000-0000-000000000000" };
  const claimant = { nodeId: 0, claimToken: group.claimToken, leaseMs: 0 };
  const outcome = {
    fence: group,
    dueDay: "2000-01-01",
    chunkNumber: 0,
    part: 0,
    indexes: null,
    codes: new Uint8Array(),
    afterDueMs: [],
    tally: { delivered: 0, failed: 0, suppressed: 0, expired: 0, inDoubts: 0 },
    leaseMs: 0,
    exceptions: null,
  };
  // all are waited for: one that comes after another has failed must be given back, too, or the pool never ends
  const connected = await Promise.allSettled(Array.from({ length: connections }, () => db.pool.connect()));
  const clients = connected.flatMap((each) => (each.status === "fulfilled" ? [each.value] : []));
  try {
    for (const each of connected) if (each.status === "rejected") throw each.reason;
    for (const client of clients) {
      await claimGroup(client, claimant, group.bucketId, group.groupNumber);
      await intend(client, { fence: group, chunkNumber: -1, limit: 1, leaseMs: 0, recordAs: null });
      await recordOutcomes(client, outcome);
      await settleGroup(client, group);
      await closeBucket(client, group.bucketId);
      await intendMany(client, [{ fence: group, chunkNumber: -1, limit: 1, leaseMs: 0 }]);
      await recordMany(client, [outcome]);
      await settleGroups(client, [group]);
      await closeBuckets(client, [group.bucketId]);
    }
  } finally {
    for (const client of clients) client.release();
  }
}
