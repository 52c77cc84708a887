import type { Message } from "./channel.ts";

const heads = new WeakMap<Message, string>();

/**
 * What a service worker gets as `event.data.json()`: `{title, body, data, image, sound?, link, id}`. Serialised once for
 * all deliveries that share a message; only the id differs.
 */
export function pushPayload(message: Message, deliveryId: string): Buffer {
  let head = heads.get(message);
  if (head === undefined) {
    const { title, body, data, image, sound, link } = message;
    const shared = { title, body, data: data ?? null, image, ...(sound === null ? {} : { sound }), link };
    head = `${JSON.stringify(shared).slice(0, -1)},"id":`;
    heads.set(message, head);
  }
  return Buffer.from(`${head}${JSON.stringify(deliveryId)}}`);
}
