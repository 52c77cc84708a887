import type { Chunk } from "../store/chunk.ts";
import { bundleGroups, type Fence, smallBucket } from "../store/claim.ts";
import { type Database, isTransient } from "../store/database.ts";
import { intendMany, type SmallIntent } from "../store/intent-many.ts";
import { type OutcomeRecord, recordOutcomes } from "../store/outcome.ts";
import { isPlain, type PlainRecord, recordMany } from "../store/outcome-many.ts";
import { closeBucket, closeBuckets, settleGroup, settleGroups } from "../store/settle.ts";
import { together } from "../store/together.ts";

/**
 * The statements of the fire loop that the groups of small buckets share: what several of them ask for at about the same
 * time goes to Postgres as one. A large group's go alone.
 */
export interface Statements {
  /** null: `intend` is to be asked */
  intendSmall(intent: SmallIntent): Promise<Chunk | null>;
  /** as `recordOutcomes` */
  record(record: OutcomeRecord): Promise<boolean>;
  /** as `settleGroups`, one */
  settle(fence: Fence): Promise<boolean>;
  /** as `closeBuckets`, one */
  close(bucketId: string): Promise<boolean>;
}

/** Members whose intents or outcomes one statement writes: as long as a large group's chunk takes. */
const membersAtOnce = 1000;

export function createStatements({ pool }: Pick<Database, "pool">): Statements {
  const intendSmall = together(
    manyOrAlone(
      async (intent: SmallIntent) => (await intendMany(pool, [intent]))[0] ?? null,
      (intents) => intendMany(pool, intents),
    ),
    { weightOf: ({ limit }) => limit, most: membersAtOnce },
  );
  const recordSmall = together(
    manyOrAlone(
      (record: PlainRecord) => recordOutcomes(pool, record),
      (records) => recordMany(pool, records),
    ),
    { weightOf: ({ codes }) => codes.length, most: membersAtOnce },
  );
  return {
    intendSmall,
    record: (record) =>
      isPlain(record) && record.codes.length <= smallBucket ? recordSmall(record) : recordOutcomes(pool, record),
    settle: together(
      manyOrAlone(
        (fence: Fence) => settleGroup(pool, fence),
        (fences) => settleGroups(pool, fences),
      ),
      {
        most: bundleGroups,
      },
    ),
    close: together(
      manyOrAlone(
        (bucketId: string) => closeBucket(pool, bucketId),
        (ids) => closeBuckets(pool, ids),
      ),
      {
        most: bundleGroups,
      },
    ),
  };
}

/**
 * One statement for many, or the one that there is for one, which is planned once. Where it can't be written for many
 * because of one of them (its ledger's day is gone, say), that one must not keep the others from it: each goes alone. Not
 * so where the connection was lost: then it may stand, and whoever asked looks for its own.
 */
function manyOrAlone<Q, A>(
  one: (request: Q) => Promise<A>,
  many: (requests: readonly Q[]) => Promise<readonly A[]>,
): (requests: readonly Q[]) => Promise<readonly (A | Promise<A>)[]> {
  return async (requests) => {
    if (requests.length === 1) return requests.map(one);
    try {
      return await many(requests);
    } catch (error) {
      if (isTransient(error)) throw error;
      return requests.map(one);
    }
  };
}
