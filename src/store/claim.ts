import type { Executor, Statement } from "./executor.ts";

/** Who may write about a group: rises with each claim, and a token that no other claim has. */
export interface Fence {
  readonly bucketId: string;
  readonly groupNumber: number;
  readonly epoch: number;
  readonly claimToken: string;
}

export interface ClaimedGroup extends Fence {
  readonly dueDay: string;
  readonly dueAtMs: number;
  readonly expiresAtMs: number;
  readonly scheduleId: string;
  readonly occurrence: string;
  readonly nextChunk: number;
  readonly pagedThrough: boolean;
  readonly takeovers: number;
  readonly cancelled: boolean;
  readonly paused: boolean;
  /** most users with an endpoint are members of the bucket */
  readonly dense: boolean;
  readonly topic: {
    readonly topicId: number;
    readonly name: string;
    readonly title: string;
    readonly body: string;
    readonly data: unknown;
    readonly deliveryMode: "at_least_once" | "at_most_once";
  };
}

export interface Claimant {
  readonly nodeId: number;
  /** a fresh uuid */
  readonly claimToken: string;
  readonly leaseMs: number;
}

/**
 * Claiming. Interleavings:
 * - two workers, one group: SKIP LOCKED gives it to one; the other, if it comes after the commit, finds a live lease.
 * - a worker that lost its lease and does not know: epoch and token have moved on, and every write of its is refused.
 * - its write of an outcome is under way just now: it holds the row's lock, so this claim passes the group over (the
 *   next sweep comes back), and who claims later sees that outcome.
 * - halted groups are left alone until their bucket is cancelled or expired: then somebody must record that.
 *
 * NO KEY UPDATE, since the foreign keys of `deferred` share-lock the key.
 */
const claimStatement = (name: string, chosen: string): Statement => ({
  name,
  text: `
    with chosen as materialized (
      select g.bucket_id, g.group_number
      from carillon.time_buckets b
      join carillon.groups g on g.bucket_id = b.bucket_id
      where b.closed_at is null
        and g.finished_at is null
        and g.not_before <= clock_timestamp()
        and (g.lease_until is null or g.lease_until < clock_timestamp())
        and (g.halted_at is null or b.cancelled_at is not null or b.expires_at <= carillon.clock())
        and ${chosen}
      order by b.due_at, g.bucket_id, g.group_number
      limit 1
      for no key update of g skip locked
    ), claimed as (
      update carillon.groups g
      set epoch = g.epoch + 1,
          claim_token = $2,
          node_id = $1,
          lease_until = clock_timestamp() + $3::int * interval '1 millisecond',
          started_at = coalesce(g.started_at, clock_timestamp()),
          takeovers = g.takeovers + (g.lease_until is not null)::int,
          rescues = g.rescues + (g.lease_until is not null)::int
      from chosen c
      where g.bucket_id = c.bucket_id and g.group_number = c.group_number
      returning g.bucket_id, g.group_number, g.epoch, g.next_chunk, g.paged_at, g.takeovers
    )
    select c.bucket_id, c.group_number, c.epoch, c.next_chunk, c.paged_at is not null as paged_through, c.takeovers,
      b.due_day::text, b.schedule_id, b.occurrence, b.cancelled_at is not null as cancelled,
      (extract(epoch from b.due_at) * 1000)::float8 as due_at_ms,
      (extract(epoch from b.expires_at) * 1000)::float8 as expires_at_ms,
      s.paused_at is not null or t.paused_at is not null as paused,
      coalesce(b.population, 0) * 4.0 >= (
        select greatest(c.reltuples, 0) from pg_class c where c.oid = 'carillon.endpoints'::regclass) as dense,
      t.topic_id, t.name, t.title, t.body, t.data, t.delivery_mode
    from claimed c
    join carillon.time_buckets b on b.bucket_id = c.bucket_id
    join carillon.schedules s on s.schedule_id = b.schedule_id
    join carillon.topics t on t.topic_id = b.topic_id`,
});

const claimNextDueStatement = claimStatement("claim_next_due", "b.due_at <= carillon.clock()");
const claimGroupStatement = claimStatement("claim_group", "g.bucket_id = $4 and g.group_number = $5");

/** Takes the group that has been due longest of those that nobody holds; null where there is none. */
export function claimNextDue(executor: Executor, claimant: Claimant): Promise<ClaimedGroup | null> {
  return claim(executor, claimNextDueStatement, claimant, []);
}

/** Takes this very group, even ahead of its moment; null where somebody holds it or nothing is to be done yet. */
export function claimGroup(
  executor: Executor,
  claimant: Claimant,
  bucketId: string,
  groupNumber: number,
): Promise<ClaimedGroup | null> {
  return claim(executor, claimGroupStatement, claimant, [bucketId, groupNumber]);
}

interface ClaimRow {
  bucket_id: string;
  group_number: number;
  epoch: number;
  next_chunk: number;
  paged_through: boolean;
  takeovers: number;
  due_day: string;
  schedule_id: string;
  occurrence: string;
  cancelled: boolean;
  paused: boolean;
  dense: boolean;
  due_at_ms: number;
  expires_at_ms: number;
  topic_id: number;
  name: string;
  title: string;
  body: string;
  data: unknown;
  delivery_mode: "at_least_once" | "at_most_once";
}

async function claim(
  executor: Executor,
  statement: Statement,
  claimant: Claimant,
  which: readonly unknown[],
): Promise<ClaimedGroup | null> {
  const { rows } = await executor.query<ClaimRow>({
    ...statement,
    values: [claimant.nodeId, claimant.claimToken, claimant.leaseMs, ...which],
  });
  const [row] = rows;
  if (row === undefined) return null;
  return {
    bucketId: row.bucket_id,
    groupNumber: row.group_number,
    epoch: row.epoch,
    claimToken: claimant.claimToken,
    dueDay: row.due_day,
    dueAtMs: row.due_at_ms,
    expiresAtMs: row.expires_at_ms,
    scheduleId: row.schedule_id,
    occurrence: row.occurrence,
    nextChunk: row.next_chunk,
    pagedThrough: row.paged_through,
    takeovers: row.takeovers,
    cancelled: row.cancelled,
    paused: row.paused,
    dense: row.dense,
    topic: {
      topicId: row.topic_id,
      name: row.name,
      title: row.title,
      body: row.body,
      data: row.data,
      deliveryMode: row.delivery_mode,
    },
  };
}
