import type { Message } from "./channel.ts";

/** What Apple takes of an alert ("Generating a remote notification", Apple): a longer payload is answered 413. */
export const apnsPayloadBytesMax = 4_096;

const payloads = new WeakMap<Message, Buffer>();

/**
 * The JSON payload of a message ("Generating a remote notification", Apple). Deliveries that read the same share one
 * message, so that it is serialised once for all of them.
 *
 * What is ours to show stands under `aps`; what is the app's own stands beside it, each under a key of its own: `data`
 * as the topic has it, `link` and `image` as URLs. An image has the app's notification service extension woken
 * (`mutable-content`), which alone can fetch it.
 */
export function apnsPayload(message: Message): Buffer {
  const known = payloads.get(message);
  if (known !== undefined) return known;
  const payload = Buffer.from(JSON.stringify(payloadOf(message)));
  payloads.set(message, payload);
  return payload;
}

function payloadOf({ title, body, data, image, sound, link }: Message): object {
  return {
    aps: {
      alert: { ...(title === "" ? {} : { title }), body },
      ...(sound === null ? {} : { sound }),
      ...(image === null ? {} : { "mutable-content": 1 }),
    },
    ...(data === undefined || data === null ? {} : { data }),
    ...(link === null ? {} : { link }),
    ...(image === null ? {} : { image }),
  };
}
