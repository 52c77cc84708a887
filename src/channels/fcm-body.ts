import { randomUUID } from "node:crypto";
import { apnsCollapseId, webPushTopic } from "../reminder/delivery-id.ts";
import type { Delivery, Message, Moment } from "./channel.ts";

/** Keys and values of notification and data together ("FCM error codes", INVALID_ARGUMENT: message too big). */
export const fcmPayloadBytesMax = 4_096;
/** `android.ttl`: four weeks at most ("REST Resource: projects.messages", AndroidConfig). */
const ttlSecondsMax = 2_419_200;

/** Makes the bodies of one moment's requests. */
export interface FcmBodies {
  /** how many bytes of a message count against FCM's limit */
  payloadBytes(message: Message): number;
  body(delivery: Delivery): Buffer;
}

/** A message's JSON, cut where what differs between its readers belongs. */
interface Template {
  readonly payloadBytes: number;
  readonly parts: readonly string[];
  /** between the parts, each time JSON text */
  readonly slots: readonly Slot[];
}
type Slot = (typeof slotNames)[number];

const slotNames = ["token", "id", "collapseId", "topic"] as const;
/** Stand in for what differs. Nobody's text can hold them, since nobody knows them. */
const secret = randomUUID();
const markers = new Map(slotNames.map((slot) => [slot, `${slot} ${secret}`]));
const markerPattern = new RegExp(`"(${slotNames.join("|")}) ${secret}"`);

/**
 * The bodies of `messages:send` ("REST Resource: projects.messages", Firebase). A message is serialised once for all who
 * read the same; for each of them only the device token and the ids are put in.
 *
 * @param nowMs epoch milliseconds: FCM is told for how long, not until when
 * @param validateOnly FCM looks at the request and sends nothing
 */
export function fcmBodies(moment: Moment, nowMs: number, validateOnly = false): FcmBodies {
  const templates = new Map<Message, Template>();
  const templateOf = (message: Message): Template => {
    let template = templates.get(message);
    if (template === undefined) {
      template = cut(message, moment, nowMs, validateOnly);
      templates.set(message, template);
    }
    return template;
  };
  return {
    payloadBytes: (message) => templateOf(message).payloadBytes,
    body: (delivery) => fill(templateOf(delivery.message), delivery),
  };
}

function fill({ parts, slots }: Template, { address, deliveryId }: Delivery): Buffer {
  let text = parts[0] ?? "";
  for (const [at, slot] of slots.entries()) {
    text += slotText(slot, address, deliveryId) + (parts[at + 1] ?? "");
  }
  return Buffer.from(text);
}

function slotText(slot: Slot, address: string, deliveryId: string): string {
  switch (slot) {
    case "token":
      return JSON.stringify(address);
    case "id":
      return JSON.stringify(deliveryId);
    case "collapseId":
      return `"${apnsCollapseId(deliveryId)}"`;
    case "topic":
      return `"${webPushTopic(deliveryId)}"`;
  }
}

function cut(message: Message, moment: Moment, nowMs: number, validateOnly: boolean): Template {
  const notification = notificationOf(message);
  const data = dataOf(message);
  const request = {
    ...(validateOnly ? { validate_only: true } : {}),
    message: {
      token: markers.get("token"),
      notification,
      ...(Object.keys(data).length === 0 ? {} : { data }),
      ...platformsOf(message, moment, nowMs),
    },
  };
  // Alternately what stands between two markers and the slot of the marker.
  const pieces = JSON.stringify(request).split(markerPattern);
  return {
    payloadBytes: textBytes(notification) + textBytes(data),
    parts: pieces.filter((_, at) => at % 2 === 0),
    slots: pieces.filter((_, at) => at % 2 === 1).map((name) => slotNames.find((slot) => slot === name) ?? "id"),
  };
}

/**
 * How each platform behind FCM is told of expiry, priority and the id that has a repeat replace what is shown: Android
 * by FCM itself, Apple's devices by APNs's headers, browsers by those of Web Push.
 */
function platformsOf({ image, sound, link }: Message, { expiresAt, priority }: Moment, nowMs: number): object {
  const expiresAtMs = Date.parse(expiresAt);
  const ttlSeconds = Math.min(ttlSecondsMax, Math.max(0, Math.floor((expiresAtMs - nowMs) / 1_000)));
  const isHigh = priority === "high";
  const aps = { ...(sound === null ? {} : { sound }), ...(image === null ? {} : { "mutable-content": 1 }) };
  return {
    android: {
      collapse_key: markers.get("id"),
      priority: isHigh ? "HIGH" : "NORMAL",
      ttl: `${ttlSeconds}s`,
      notification: { tag: markers.get("id"), ...(sound === null ? {} : { sound }) },
    },
    apns: {
      headers: {
        "apns-collapse-id": markers.get("collapseId"),
        "apns-expiration": String(Math.floor(expiresAtMs / 1_000)),
        "apns-priority": isHigh ? "10" : "5",
      },
      payload: { aps },
      ...(image === null ? {} : { fcm_options: { image } }),
    },
    webpush: {
      headers: { TTL: String(ttlSeconds), Urgency: isHigh ? "high" : "normal", Topic: markers.get("topic") },
      notification: { tag: markers.get("id") },
      // FCM refuses the whole message for any other scheme; apps find the link among the data.
      ...(link?.startsWith("https://") === true ? { fcm_options: { link } } : {}),
    },
  };
}

function notificationOf({ title, body, image }: Message): Record<string, string> {
  return { ...(title === "" ? {} : { title }), body, ...(image === null ? {} : { image }) };
}

/** FCM's data are strings by name: strings stay as they are, anything else is JSON; what has no names is `data`. */
function dataOf({ data, link }: Message): Record<string, string> {
  const strings: Record<string, string> = Object.create(null);
  if (link !== null) strings.link = link;
  if (isRecord(data)) for (const [name, value] of Object.entries(data)) strings[name] = textOf(value);
  else if (data !== null && data !== undefined) strings.data = textOf(data);
  return strings;
}

function textOf(value: unknown): string {
  return typeof value === "string" ? value : JSON.stringify(value ?? null);
}

function textBytes(strings: Readonly<Record<string, string>>): number {
  let bytes = 0;
  for (const [name, value] of Object.entries(strings)) bytes += Buffer.byteLength(name) + Buffer.byteLength(value);
  return bytes;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
