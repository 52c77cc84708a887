import type { Fence } from "./claim.ts";
import type { Executor } from "./executor.ts";

/**
 * The end mark: nothing of the group is left to do.
 * @returns false if something is (deferred deliveries), or the fence refused
 */
export async function settleGroup(executor: Executor, fence: Fence): Promise<boolean> {
  const { rowCount } = await executor.query({
    name: "settle_group",
    text: `
      update carillon.groups g
      set finished_at = clock_timestamp(), claim_token = null, lease_until = null
      where g.bucket_id = $1 and g.group_number = $2 and g.epoch = $3 and g.claim_token = $4
        and g.paged_at is not null
        and not exists (
          select from carillon.deferred d where d.bucket_id = g.bucket_id and d.group_number = g.group_number)`,
    values: [fence.bucketId, fence.groupNumber, fence.epoch, fence.claimToken],
  });
  return rowCount === 1;
}

/**
 * Closes a bucket all of whose groups have their end mark. Asked after each end mark has been committed: when two last
 * groups settle together, the later of the two commits comes before its own question, which therefore sees both. A node
 * that dies between mark and question leaves it to the sweep. Nothing is counted up or down, so no count can be wrong.
 * @returns whether this call closed it
 */
export async function closeBucket(executor: Executor, bucketId: string): Promise<boolean> {
  const { rowCount } = await executor.query({
    name: "close_bucket",
    text: `
      update carillon.time_buckets b
      set closed_at = clock_timestamp(),
          closed_as = case when b.cancelled_at is not null then 'cancelled' else 'done' end
      where b.bucket_id = $1 and b.closed_at is null and b.cut_at is not null
        and not exists (select from carillon.groups g where g.bucket_id = b.bucket_id and g.finished_at is null)`,
    values: [bucketId],
  });
  return rowCount === 1;
}
