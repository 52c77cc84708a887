import type { Delivery, Moment } from "./channel.ts";

/**
 * Makes the bodies of one moment's requests. What all of a moment's users share is serialised here once; for each
 * user only the id and the address are added.
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
  const { title, body, data } = moment.message;
  const message = fields({ title, body, data: data ?? null });
  const singleHead = head("reminder");
  const beforeAttempt = `${when},"attempt":`;
  const batchHead = `${head("reminders")}${beforeAttempt}`;
  const afterAttempt = `,${message}`;

  return {
    single: (delivery) =>
      Buffer.from(`${singleHead}${whom(delivery)},${beforeAttempt}${delivery.attempt}${afterAttempt}}}`),
    batch: (deliveries, attempt) => {
      const reminders = deliveries.map((delivery) => `{${whom(delivery)}}`).join(",");
      return Buffer.from(`${batchHead}${attempt}${afterAttempt},"reminders":[${reminders}]}}`);
    },
  };
}

function whom(delivery: Delivery): string {
  return `"id":${JSON.stringify(delivery.deliveryId)},"user":${JSON.stringify(delivery.address)}`;
}

/** An object's JSON without its braces. */
function fields(object: Record<string, unknown>): string {
  return JSON.stringify(object).slice(1, -1);
}
