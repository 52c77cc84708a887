import type { Fence } from "./claim.ts";
import type { Executor } from "./executor.ts";

/** What an intent that was refused is to be followed by. */
export type Refusal =
  /** real milliseconds that the moment is still ahead */
  | { readonly kind: "not_yet_due"; readonly waitMs: number }
  /** until it is resumed */
  | { readonly kind: "halted" }
  | { readonly kind: "expired"; readonly paused: boolean }
  | { readonly kind: "cancelled" }
  /** the mark has moved: an intent whose reply was lost stands after all */
  | { readonly kind: "moved" }
  /** another claim has the group */
  | { readonly kind: "lost" };

/** Why an intent was refused just now. */
export async function whyRefused(executor: Executor, fence: Fence, chunkNumber: number): Promise<Refusal> {
  const { rows } = await executor.query<{
    mine: boolean;
    next_chunk: number;
    halted: boolean;
    cancelled: boolean;
    paused: boolean;
    expired: boolean;
    wait_ms: number;
  }>({
    name: "why_refused",
    text: `
      select g.epoch = $3 and g.claim_token is not distinct from $4::uuid as mine, g.next_chunk,
        g.halted_at is not null as halted, b.cancelled_at is not null as cancelled,
        s.paused_at is not null or t.paused_at is not null as paused,
        b.expires_at <= carillon.clock() as expired,
        (extract(epoch from carillon.real_time(b.due_at) - clock_timestamp()) * 1000)::float8 as wait_ms
      from carillon.groups g
      join carillon.time_buckets b on b.bucket_id = g.bucket_id
      join carillon.schedules s on s.schedule_id = b.schedule_id
      join carillon.topics t on t.topic_id = b.topic_id
      where g.bucket_id = $1 and g.group_number = $2`,
    values: [fence.bucketId, fence.groupNumber, fence.epoch, fence.claimToken],
  });
  const [row] = rows;
  if (row?.mine !== true) return { kind: "lost" };
  if (row.cancelled) return { kind: "cancelled" };
  if (row.next_chunk !== chunkNumber) return { kind: "moved" };
  if (row.expired) return { kind: "expired", paused: row.paused };
  if (row.paused || row.halted) return { kind: "halted" };
  return { kind: "not_yet_due", waitMs: Math.max(0, row.wait_ms) };
}
