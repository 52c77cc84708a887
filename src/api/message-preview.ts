import type { Delivery, Message, Moment } from "../channels/channel.ts";
import { payloadPreviews } from "../channels/payload-preview.ts";
import { CarillonError } from "../errors.ts";
import { deliveryId } from "../reminder/delivery-id.ts";
import { readMessage } from "../reminder/message.ts";
import { readClocks } from "../store/clock.ts";
import type { Database } from "../store/database.ts";
import { readTopic } from "../store/topics.ts";
import { readUser } from "../store/users.ts";

export interface MessagePreview {
  readonly dueAt: string;
  /** whom it was rendered for; null: not known */
  readonly userId: string | null;
  readonly zone: string | null;
  readonly locale: string | null;
  readonly message: Message;
  /** what would be sent, by channel; ids are made up */
  readonly payloads: Readonly<Record<string, unknown>>;
}

/**
 * A topic's message as one reader would get it. Nothing is sent and nothing stored.
 *
 * @param whose a user's id, or the zone and locale of somebody made up
 * @param atMs the moment, epoch milliseconds; null: now
 * @throws not_found, unknown_user, bad_template where the topic was stored by another way and can't be rendered
 */
export async function previewMessage(
  db: Database,
  topicName: string,
  whose: { readonly userId: string } | { readonly zone: string | null; readonly locale: string | null },
  atMs: number | null,
): Promise<MessagePreview> {
  const topic = await readTopic(db, topicName);
  const reader = "userId" in whose ? await readUser(db, whose.userId) : { userId: null, ...whose };
  const dueAtMs = atMs ?? (await readClocks(db.pool)).clockMs;
  const dueAt = new Date(Math.floor(dueAtMs / 1000) * 1000).toISOString();
  const occurrence = dueAt.replace(".000Z", "Z");
  const { userId, zone, locale } = reader;
  const written = readMessage(topic)
    .writerOf({ dueAt, occurrence, placeName: null })
    .messageFor({ userId: userId ?? "some-user", zone, locale });
  if (written.kind === "fault") throw new CarillonError("bad_template", sentence(written.reason));
  const { message } = written;
  const moment: Moment = {
    topic: topic.name,
    scheduleId: "0",
    occurrence,
    dueAt,
    expiresAt: new Date(Date.parse(dueAt) + topic.expiresAfterMs).toISOString(),
    bucketId: "0",
    groupNumber: 0,
    node: "preview",
    priority: topic.priority,
  };
  const delivery: Delivery = {
    deliveryId: deliveryId("0", occurrence, "0", 1),
    attempt: 0,
    address: userId ?? "some-user",
    destinationId: 0,
    zone,
    locale,
    message,
  };
  const payloads = Object.entries(payloadPreviews).map(([channel, show]) => [channel, show(moment, delivery)] as const);
  return { dueAt, userId, zone, locale, message, payloads: Object.fromEntries(payloads) };
}

function sentence(reason: string): string {
  return `${reason.slice(0, 1).toUpperCase()}${reason.slice(1)}.`;
}
