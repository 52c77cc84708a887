import { createHash, hash } from "node:crypto";

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
  // One digest a message: the one-shot form takes a tenth of the time of a Hash object.
  return hash("sha256", deliveryId, "base64url").slice(0, 32);
}

/**
 * The `webhook-id` of a request with several reminders: a hash of its delivery ids in their order. A smaller retry is
 * another request with another id, which is why receivers of batches dedupe by reminder.
 */
export function batchWebhookId(deliveryIds: readonly string[]): string {
  return `msg_b_${createHash("sha256").update(deliveryIds.join("\n")).digest().subarray(0, 16).toString("base64url")}`;
}

/** Any UUID will do as a namespace (RFC 9562, 6.6); it must never change, since repeats are told by what follows from it. */
const apnsNamespace = Buffer.from("6f1d1f3a8f8b4f0f9d5d3c7a0e6b4c21", "hex");

/** The `apns-id` of a delivery: a UUIDv5 (RFC 9562, 5.5) in the canonical form. It names the request; Apple does not dedupe by it. */
export function apnsId(deliveryId: string): string {
  const hex = hash("sha1", Buffer.concat([apnsNamespace, Buffer.from(deliveryId)]), "hex");
  const variant = ((Number.parseInt(hex.charAt(16), 16) & 0b0011) | 0b1000).toString(16);
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-5${hex.slice(13, 16)}-${variant}${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}

/** The `apns-collapse-id` of a delivery: 64 bytes, Apple's limit. A repeat replaces what the phone shows of the first. */
export function apnsCollapseId(deliveryId: string): string {
  return hash("sha256", deliveryId, "hex");
}
