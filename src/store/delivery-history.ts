import type { Database } from "./database.ts";
import type { Executor } from "./executor.ts";
import { findUser } from "./users.ts";

/** One delivery of a user's, as the function `delivery_history` has it. */
export interface DeliveryRecord {
  readonly dueAt: Date;
  readonly topic: string;
  readonly state: string;
  readonly reason: string | null;
  readonly acceptedAt: Date | null;
  readonly latenessMs: number | null;
  /** 0 for the first try */
  readonly attempt: number;
  readonly channel: string | null;
  /** the endpoint's; 0: the user had none */
  readonly ordinal: number;
  readonly httpStatus: number | null;
  readonly detail: string | null;
  readonly bucketId: string;
  readonly scheduleId: string;
  readonly occurrence: string;
  readonly round: number;
}

/**
 * What a user got and when, newest first.
 *
 * @param limit deliveries at most
 * @throws unknown_user
 */
export async function deliveryHistory(db: Database, userId: string, limit: number): Promise<DeliveryRecord[]> {
  await findUser(db.pool, userId);
  return readHistory(db.pool, "order by due_at desc, bucket_id desc, ordinal limit $2", [userId, limit]);
}

/** What the ledger has of a user's moments due in (fromMs, throughMs], both epoch milliseconds. */
export function deliveriesBetween(
  executor: Executor,
  userId: string,
  fromMs: number,
  throughMs: number,
): Promise<DeliveryRecord[]> {
  return readHistory(
    executor,
    `where due_at > to_timestamp($2::float8 / 1000) and due_at <= to_timestamp($3::float8 / 1000)
     order by due_at, bucket_id, ordinal`,
    [userId, fromMs, throughMs],
  );
}

async function readHistory(executor: Executor, which: string, values: readonly unknown[]): Promise<DeliveryRecord[]> {
  const { rows } = await executor.query<HistoryRow>(
    `select due_at, topic, state, reason, accepted_at, lateness_ms, attempt, channel, ordinal, http_status, detail,
            bucket_id, schedule_id, occurrence, round
     from carillon.delivery_history($1) ${which}`,
    [...values],
  );
  return rows.map((row) => ({
    dueAt: row.due_at,
    topic: row.topic,
    state: row.state,
    reason: row.reason,
    acceptedAt: row.accepted_at,
    latenessMs: row.lateness_ms,
    attempt: row.attempt,
    channel: row.channel,
    ordinal: row.ordinal,
    httpStatus: row.http_status,
    detail: row.detail,
    bucketId: row.bucket_id,
    scheduleId: row.schedule_id,
    occurrence: row.occurrence,
    round: row.round,
  }));
}

interface HistoryRow
  extends Pick<
    DeliveryRecord,
    "topic" | "state" | "reason" | "attempt" | "channel" | "ordinal" | "detail" | "occurrence" | "round"
  > {
  readonly due_at: Date;
  readonly accepted_at: Date | null;
  readonly lateness_ms: number | null;
  readonly http_status: number | null;
  readonly bucket_id: string;
  readonly schedule_id: string;
}
