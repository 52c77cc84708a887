import { type Fence, fenceColumns } from "./claim.ts";
import type { Executor } from "./executor.ts";
import { addGroupJobAt, anyShare } from "./jobs.ts";

export interface Renewal {
  readonly bucketId: string;
  readonly groupNumber: number;
  /** false: another claim has taken the group, or it is gone */
  readonly held: boolean;
  /** false while held: a statement of our own had the row locked just now, and that renews the lease itself */
  readonly renewed: boolean;
}

/**
 * Extends the leases of all groups that a node holds, by one statement. It never waits for a row (SKIP LOCKED): the
 * heartbeat must not queue behind the statements whose leases it keeps, nor deadlock with a cancel, which locks a
 * bucket's groups in another order.
 */
export async function renewLeases(
  executor: Executor,
  fences: readonly Fence[],
  leaseMs: number,
): Promise<readonly Renewal[]> {
  if (fences.length === 0) return [];
  const { rows } = await executor.query<{ bucket_id: string; group_number: number; held: boolean; renewed: boolean }>({
    name: "renew_leases",
    text: `
      with mine as materialized (
        select * from unnest($1::bigint[], $2::int[], $3::int[], $4::uuid[])
          as m (bucket_id, group_number, epoch, claim_token)
      ), free as materialized (
        select g.bucket_id, g.group_number
        from mine m
        join carillon.groups g on g.bucket_id = m.bucket_id and g.group_number = m.group_number
        where g.epoch = m.epoch and g.claim_token = m.claim_token
        for no key update of g skip locked
      ), renewed as (
        update carillon.groups g
        set lease_until = clock_timestamp() + $5::int * interval '1 millisecond'
        from free f
        where g.bucket_id = f.bucket_id and g.group_number = f.group_number
        returning g.bucket_id, g.group_number
      )
      select m.bucket_id, m.group_number,
        coalesce(g.epoch = m.epoch and g.claim_token = m.claim_token, false) as held,
        r.bucket_id is not null as renewed
      from mine m
      left join carillon.groups g on g.bucket_id = m.bucket_id and g.group_number = m.group_number
      left join renewed r on r.bucket_id = m.bucket_id and r.group_number = m.group_number`,
    values: [...fenceColumns(fences), leaseMs],
  });
  return rows.map((row) => ({
    bucketId: row.bucket_id,
    groupNumber: row.group_number,
    held: row.held,
    renewed: row.renewed,
  }));
}

export interface Release {
  /** nobody takes the group up before; milliseconds from now */
  readonly waitMs: number;
  /** what went wrong, where something did; counts as a takeover without progress */
  readonly fault: string | null;
}

/**
 * Gives a group back, with a fresh job for when there is something to do. Deferred deliveries decide when that is, if
 * the group has no other work: the earliest next try, or the expiry where all that is left is parked. A halted group
 * does not wait for them: once it is cancelled there is no next try, and while it is paused nobody can claim it.
 * @returns false if the fence refused: another claim has the group
 */
export async function releaseGroup(executor: Executor, fence: Fence, release: Release): Promise<boolean> {
  const { rows } = await executor.query<{ not_before: Date; due_at_ms: number }>({
    name: "release_group",
    text: `
      with waiting as (
        select min(case when d.parked_at is null then d.next_try_at else carillon.real_time(b.expires_at) end) as next_at
        from carillon.deferred d
        join carillon.time_buckets b on b.bucket_id = d.bucket_id
        where d.bucket_id = $1 and d.group_number = $2
      )
      update carillon.groups g
      set claim_token = null,
          lease_until = null,
          last_fault = coalesce($6, g.last_fault),
          takeovers = g.takeovers + ($6::text is not null)::int,
          not_before = greatest(
            clock_timestamp() + $5::int * interval '1 millisecond',
            case when g.paged_at is not null and g.halted_at is null then least(w.next_at, carillon.real_time(b.expires_at)) end)
      from waiting w, carillon.time_buckets b
      where g.bucket_id = $1 and g.group_number = $2 and g.epoch = $3 and g.claim_token = $4
        and b.bucket_id = g.bucket_id
      returning g.not_before, (extract(epoch from b.due_at) * 1000)::float8 as due_at_ms`,
    values: [fence.bucketId, fence.groupNumber, fence.epoch, fence.claimToken, release.waitMs, release.fault],
  });
  const [row] = rows;
  if (row === undefined) return false;
  await addGroupJobAt(
    executor,
    { bucketId: fence.bucketId, groupNumber: fence.groupNumber, dueAtMs: row.due_at_ms, share: anyShare },
    row.not_before,
  );
  return true;
}
