import { createHash } from "node:crypto";

/**
 * The id of one delivery: the same in every attempt and round, on every node. It derives from what the delivery is
 * (schedule, occurrence, user, endpoint) and from nothing about how it is sent, so that a receiver can tell a repeat.
 *
 * @param scheduleId the schedule's id
 * @param occurrence the occurrence's own key (see Occurrence.key)
 * @returns a function that gives one user's id; it is called for every delivery, so the hash is made here, once
 */
export function deliveryIds(scheduleId: string, occurrence: string): (userNumber: string, ordinal: number) => string {
  const moment = createHash("sha256")
    .update(JSON.stringify([scheduleId, occurrence]))
    .digest()
    .subarray(0, 16)
    .toString("base64url");
  return (userNumber, ordinal) => `d_${moment}_${userNumber}_${ordinal}`;
}

/**
 * One delivery's id, for callers that need just one.
 *
 * @param ordinal the endpoint's ordinal among the user's endpoints
 */
export function deliveryId(scheduleId: string, occurrence: string, userNumber: string, ordinal: number): string {
  return deliveryIds(scheduleId, occurrence)(userNumber, ordinal);
}

/** The `webhook-id` of a request with one reminder: constant over its attempts, the receiver's idempotency key. */
export function webhookId(deliveryId: string): string {
  return `msg_${deliveryId}`;
}

/**
 * The `Topic` of a Web Push message: constant over its attempts, so that a push service replaces one that it still
 * holds (RFC 8030, 5.4: 32 characters of base64url at most; these are 24 bytes of the id's SHA-256).
 */
export function webPushTopic(deliveryId: string): string {
  return createHash("sha256").update(deliveryId).digest().subarray(0, 24).toString("base64url");
}

/**
 * The `webhook-id` of a request with several reminders: a hash of its delivery ids in their order. A smaller retry is
 * another request with another id, which is why receivers of batches dedupe by reminder.
 */
export function batchWebhookId(deliveryIds: readonly string[]): string {
  return `msg_b_${createHash("sha256").update(deliveryIds.join("\n")).digest().subarray(0, 16).toString("base64url")}`;
}
