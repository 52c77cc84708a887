import type { Delivery, Message, Moment } from "./channel.ts";

/**
 * Makes the bodies of one moment's requests. What all of a moment's users share is serialised here once, and each
 * message once; for each user only the id and the address are added.
 *
 * A body's `timestamp` is the moment's own instant (Standard Webhooks: when the event occurred), so that a repeat
 * carries the same bytes but for `attempt`.
 */
export interface MomentBodies {
  /** `{"type":"reminder", ...}` */
  single(delivery: Delivery): Buffer;
  /** `{"type":"reminders", ...}`; the deliveries are of one attempt */
  batch(deliveries: readonly Delivery[], attempt: number): Buffer;
}

export function momentBodies(moment: Moment): MomentBodies {
  const head = (type: string) => `{"type":"${type}","timestamp":${JSON.stringify(moment.dueAt)},"data":{`;
  const when = fields({
    topic: moment.topic,
    schedule: moment.scheduleId,
    occurrence: moment.occurrence,
    dueAt: moment.dueAt,
    expiresAt: moment.expiresAt,
    bucket: moment.bucketId,
    group: moment.groupNumber,
  });
  const singleHead = head("reminder");
  const beforeAttempt = `${when},"attempt":`;
  const batchHead = `${head("reminders")}${beforeAttempt}`;

  return {
    single: (delivery) =>
      Buffer.from(`${singleHead}${whom(delivery)},${beforeAttempt}${delivery.attempt},${wordsOf(delivery.message)}}}`),
    batch(deliveries, attempt) {
      const shared = mostCommonWords(deliveries);
      const reminders = deliveries.map((delivery) => {
        const words = wordsOf(delivery.message);
        return words === shared ? `{${whom(delivery)}}` : `{${whom(delivery)},${words}}`;
      });
      return Buffer.from(`${batchHead}${attempt},${shared},"reminders":[${reminders.join(",")}]}}`);
    },
  };
}

/** What has been serialised, by the message: those who read the same share one object, over many requests and chunks. */
const serialised = new WeakMap<Message, string>();

/** A message's members. A picture, a sound, a link are told where there are any. */
function wordsOf(message: Message): string {
  let words = serialised.get(message);
  if (words === undefined) {
    const { title, body, data, image, sound, link } = message;
    words = fields({
      title,
      body,
      data: data ?? null,
      ...(image === null ? {} : { image }),
      ...(sound === null ? {} : { sound }),
      ...(link === null ? {} : { link }),
    });
    serialised.set(message, words);
  }
  return words;
}

/** What a batch says for all that don't say otherwise: what most of them are told; of equally many, the first. */
function mostCommonWords(deliveries: readonly Delivery[]): string {
  const [first] = deliveries;
  if (first === undefined) return fields({ title: "", body: "", data: null });
  if (deliveries.every(({ message }) => message === first.message)) return wordsOf(first.message);
  const counts = new Map<string, number>();
  for (const { message } of deliveries) {
    const words = wordsOf(message);
    counts.set(words, (counts.get(words) ?? 0) + 1);
  }
  return [...counts].reduce((most, one) => (one[1] > most[1] ? one : most))[0];
}

function whom(delivery: Delivery): string {
  return `"id":${JSON.stringify(delivery.deliveryId)},"user":${JSON.stringify(delivery.address)}`;
}

/** An object's JSON without its braces. */
function fields(object: Record<string, unknown>): string {
  return JSON.stringify(object).slice(1, -1);
}
