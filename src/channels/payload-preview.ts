import { apnsPayload } from "./apns-body.ts";
import type { ChannelName, Delivery, Moment } from "./channel.ts";
import { fcmBodies } from "./fcm-body.ts";
import { pushPayload } from "./web-push-payload.ts";
import { momentBodies } from "./webhook-body.ts";

/** How each channel that sends something would put a delivery, to be looked at before it is sent. */
export const payloadPreviews: Partial<Record<ChannelName, (moment: Moment, delivery: Delivery) => unknown>> = {
  fcm: (moment, delivery) => JSON.parse(fcmBodies(moment, Date.parse(moment.dueAt)).body(delivery).toString()),
  webhook: (moment, delivery) => JSON.parse(momentBodies(moment).single(delivery).toString()),
  "web-push": (_moment, { message, deliveryId }) => JSON.parse(pushPayload(message, deliveryId).toString()),
  apns: (_moment, { message }) => JSON.parse(apnsPayload(message).toString()),
};
