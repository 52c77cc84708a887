import { CarillonError } from "../errors.ts";
import type { Database } from "./database.ts";

/** A time bucket and how far it is, as the view `bucket_progress` has it. */
export interface BucketProgress {
  /** bigint */
  readonly bucketId: string;
  readonly topic: string;
  readonly scheduleId: string;
  readonly occurrence: string;
  readonly round: number;
  readonly dueAt: Date;
  readonly expiresAt: Date;
  readonly state: string;
  /** estimated when it was cut */
  readonly population: number | null;
  readonly groups: number;
  readonly groupsFinished: number;
  readonly intended: number;
  readonly delivered: number;
  readonly failed: number;
  readonly suppressed: number;
  readonly expired: number;
  readonly cancelled: number;
  readonly inDoubts: number;
  readonly closedAt: Date | null;
}

/** `open`: not closed, soonest first; `recent`: closed, due within the last day or two, latest first. */
export type BucketSelection = "open" | "recent";

/**
 * @param page.after number of the last bucket of the page before
 */
export async function listBuckets(
  db: Database,
  selection: BucketSelection,
  page: { after: string | null; limit: number },
): Promise<BucketProgress[]> {
  // the page is chosen on the bare table, by its indexes; only then are the groups of its buckets summed up
  const { rows } = await db.pool.query<ProgressRow>(
    selection === "open"
      ? `select ${columns} from carillon.bucket_progress p
         where p.bucket_id in (
           select b.bucket_id from carillon.time_buckets b
           where b.closed_at is null
             and ($1::bigint is null or (b.due_at, b.bucket_id) >
                  (select a.due_at, a.bucket_id from carillon.time_buckets a where a.bucket_id = $1))
           order by b.due_at, b.bucket_id limit $2)
         order by p.due_at, p.bucket_id`
      : `select ${columns} from carillon.bucket_progress p
         where p.bucket_id in (
           select b.bucket_id from carillon.time_buckets b
           where b.closed_at is not null
             and b.due_day between (carillon.clock() at time zone 'UTC')::date - 1
                               and (carillon.clock() at time zone 'UTC')::date + 1
             and ($1::bigint is null or (b.due_at, b.bucket_id) <
                  (select a.due_at, a.bucket_id from carillon.time_buckets a where a.bucket_id = $1))
           order by b.due_at desc, b.bucket_id desc limit $2)
         order by p.due_at desc, p.bucket_id desc`,
    [page.after, page.limit],
  );
  return rows.map(progressOf);
}

/** @throws unknown_bucket */
export async function readBucket(db: Database, bucketId: string): Promise<BucketProgress> {
  const { rows } = await db.pool.query<ProgressRow>(
    `select ${columns} from carillon.bucket_progress p where p.bucket_id = $1`,
    [bucketId],
  );
  const [row] = rows;
  if (row === undefined) throw new CarillonError("unknown_bucket", `There is no time bucket ${bucketId}.`);
  return progressOf(row);
}

const columns = `p.bucket_id, p.topic, p.schedule_id, p.occurrence, p.round, p.due_at, p.expires_at, p.state, p.population,
  p.groups, p.groups_finished, p.intended, p.delivered, p.failed, p.suppressed, p.expired, p.cancelled, p.in_doubts,
  p.closed_at`;

interface ProgressRow
  extends Pick<
    BucketProgress,
    | "topic"
    | "occurrence"
    | "round"
    | "state"
    | "population"
    | "groups"
    | "intended"
    | "delivered"
    | "failed"
    | "suppressed"
    | "expired"
    | "cancelled"
  > {
  readonly bucket_id: string;
  readonly schedule_id: string;
  readonly due_at: Date;
  readonly expires_at: Date;
  readonly groups_finished: number;
  readonly in_doubts: number;
  readonly closed_at: Date | null;
}

function progressOf(row: ProgressRow): BucketProgress {
  const { topic, occurrence, round, state, population, groups } = row;
  const { intended, delivered, failed, suppressed, expired, cancelled } = row;
  return {
    bucketId: row.bucket_id,
    topic,
    scheduleId: row.schedule_id,
    occurrence,
    round,
    dueAt: row.due_at,
    expiresAt: row.expires_at,
    state,
    population,
    groups,
    groupsFinished: row.groups_finished,
    intended,
    delivered,
    failed,
    suppressed,
    expired,
    cancelled,
    inDoubts: row.in_doubts,
    closedAt: row.closed_at,
  };
}
