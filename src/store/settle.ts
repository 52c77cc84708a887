import { type Fence, fenceColumns } from "./claim.ts";
import { byKey, type Executor } from "./executor.ts";

/*
 * These statements are planned once, perhaps on empty tables, and must be look-ups nevertheless. OFFSET 0 keeps them from
 * being anti joins, and a bucket is asked for by closed_as: by closed_at, each was looked for among all that are open.
 */
const nothingLeft = `
  g.paged_at is not null
  and not exists (
    select from carillon.deferred d
    where d.bucket_id = g.bucket_id and d.group_number = g.group_number
    offset 0)`;
const allFinished = `
  b.closed_as is null and b.cut_at is not null
  and not exists (
    select from carillon.groups g where g.bucket_id = b.bucket_id and g.finished_at is null offset 0)`;
const closedNow = `
  closed_at = clock_timestamp(),
  closed_as = case when b.cancelled_at is not null then 'cancelled' else 'done' end`;

/**
 * The end mark: nothing of the group is left to do. Rows are locked in the order of their key, so that two of these can't
 * deadlock.
 * @returns one for each group, in order: false if something is left (deferred deliveries), or the fence refused
 */
export async function settleGroups(executor: Executor, fences: readonly Fence[]): Promise<readonly boolean[]> {
  const { rows } = await executor.query<{ nth: number }>({
    name: "settle_groups",
    text: `
      with held as materialized (
        select a.*
        from (
          select *
          from unnest($1::bigint[], $2::int[], $3::int[], $4::uuid[]) with ordinality
            as a (bucket_id, group_number, epoch, claim_token, nth)
          order by bucket_id, group_number
        ) a
        cross join lateral (
          select from carillon.groups g
          where g.bucket_id = a.bucket_id and g.group_number = a.group_number
            and g.epoch = a.epoch and g.claim_token = a.claim_token
          for no key update of g
        ) g
      )
      update carillon.groups g
      set finished_at = clock_timestamp(), claim_token = null, lease_until = null
      from held h
      where ${byKey("g.bucket_id", "h.bucket_id")} and ${byKey("g.group_number", "h.group_number")}
        and g.epoch = h.epoch and g.claim_token = h.claim_token
        and ${nothingLeft}
      returning h.nth::int`,
    values: [...fenceColumns(fences)],
  });
  const settled = new Set(rows.map((row) => row.nth));
  return fences.map((_, index) => settled.has(index + 1));
}

/** As `settleGroups`, one. */
export async function settleGroup(executor: Executor, fence: Fence): Promise<boolean> {
  const { rowCount } = await executor.query({
    name: "settle_group",
    text: `
      update carillon.groups g
      set finished_at = clock_timestamp(), claim_token = null, lease_until = null
      where g.bucket_id = $1 and g.group_number = $2 and g.epoch = $3 and g.claim_token = $4
        and ${nothingLeft}`,
    values: [fence.bucketId, fence.groupNumber, fence.epoch, fence.claimToken],
  });
  return rowCount === 1;
}

/**
 * Closes the buckets all of whose groups have their end mark. Asked after each end mark has been committed: when two last
 * groups settle together, the later of the two commits comes before its own question, which therefore sees both. A node
 * that dies between mark and question leaves it to the sweep. Nothing is counted up or down, so no count can be wrong.
 * @returns one for each bucket, in order: whether this call closed it
 */
export async function closeBuckets(executor: Executor, bucketIds: readonly string[]): Promise<readonly boolean[]> {
  const { rows } = await executor.query<{ bucket_id: string }>({
    name: "close_buckets",
    text: `
      with open as materialized (
        select b.bucket_id
        from (select distinct bucket_id from unnest($1::bigint[]) as w (bucket_id) order by bucket_id) w
        cross join lateral (
          select b.bucket_id from carillon.time_buckets b
          where b.bucket_id = w.bucket_id and ${allFinished}
          for no key update of b
        ) b
      )
      update carillon.time_buckets b
      set ${closedNow}
      from open o
      -- still open, since it is locked
      where ${byKey("b.bucket_id", "o.bucket_id")}
      returning b.bucket_id`,
    values: [bucketIds],
  });
  const closed = new Set(rows.map((row) => row.bucket_id));
  return bucketIds.map((bucketId) => closed.delete(bucketId));
}

/** As `closeBuckets`, one. */
export async function closeBucket(executor: Executor, bucketId: string): Promise<boolean> {
  const { rowCount } = await executor.query({
    name: "close_bucket",
    text: `
      update carillon.time_buckets b
      set ${closedNow}
      where b.bucket_id = $1 and ${allFinished}`,
    values: [bucketId],
  });
  return rowCount === 1;
}
