import { type Fence, smallBucket, smallTogether } from "../store/claim.ts";
import type { Database } from "../store/database.ts";
import type { Chunk } from "../store/intent.ts";
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
    alone(
      // of one, `intend` is asked at once
      async (_: SmallIntent) => null,
      (intents) => intendMany(pool, intents),
    ),
    { weightOf: ({ limit }) => limit, most: membersAtOnce },
  );
  const recordSmall = together(
    alone(
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
      alone(
        (fence: Fence) => settleGroup(pool, fence),
        (fences) => settleGroups(pool, fences),
      ),
      {
        most: smallTogether,
      },
    ),
    close: together(
      alone(
        (bucketId: string) => closeBucket(pool, bucketId),
        (ids) => closeBuckets(pool, ids),
      ),
      {
        most: smallTogether,
      },
    ),
  };
}

/** The statement for many knows nothing of one: that has its own, which is planned once. */
function alone<Q, A>(
  one: (request: Q) => Promise<A>,
  many: (requests: readonly Q[]) => Promise<readonly A[]>,
): (requests: readonly Q[]) => Promise<readonly A[]> {
  return async (requests) => {
    const [first, second] = requests;
    return first !== undefined && second === undefined ? [await one(first)] : many(requests);
  };
}
