import { badMessage, badRequest } from "./fcm-answers.ts";
import type { Reply } from "./provider-exchange.ts";

/** What a message says that the fake needs to know. */
export interface FcmMessage {
  readonly token: string;
  /** what a repeat replaces: the notification's tag, else the collapse key */
  readonly id: string;
  readonly validateOnly: boolean;
  readonly message: Readonly<Record<string, unknown>>;
}

const payloadBytesMax = 4_096;
const ttlSecondsMax = 2_419_200;
const reservedKeys = /^(from|message_type|google.*|gcm.*)$/;

/** @returns the 400 that FCM gives, where it is not a message as FCM documents it */
export function readFcmMessage(body: Buffer): FcmMessage | Reply {
  const parsed = parseJson(body);
  if (!isRecord(parsed)) return badRequest("", "Invalid JSON payload received. Unexpected end of string.");
  const { message, validate_only: validateOnly = false } = parsed;
  if (typeof validateOnly !== "boolean") {
    return badRequest("validate_only", "Invalid value at 'validate_only' (TYPE_BOOL)");
  }
  if (!isRecord(message)) return badMessage("message", "Recipient of the message is not set.");
  const { token } = message;
  if (typeof token !== "string" || token === "") {
    return badMessage("message", "Recipient of the message is not set.");
  }
  return (
    wrongData(message.data) ??
    wrongNotification(message.notification) ??
    wrongAndroid(message.android) ??
    tooBig(message) ?? { token, id: idOf(message.android), validateOnly, message }
  );
}

export function isReply(value: FcmMessage | Reply): value is Reply {
  return "status" in value;
}

function wrongData(data: unknown): Reply | undefined {
  if (data === undefined) return undefined;
  if (!isRecord(data)) return badRequest("message.data", "Invalid value at 'message.data' (Map)");
  for (const [at, [key, value]] of Object.entries(data).entries()) {
    if (typeof value !== "string") {
      const field = `message.data[${at}].value`;
      return badRequest(field, `Invalid value at '${field}' (TYPE_STRING), ${JSON.stringify(value)}`);
    }
    if (reservedKeys.test(key)) return badMessage("message.data", `Invalid data payload key: ${key}`);
  }
  return undefined;
}

const notificationFields = new Set(["title", "body", "image"]);

function wrongNotification(notification: unknown): Reply | undefined {
  if (notification === undefined) return undefined;
  if (!isRecord(notification)) return badRequest("message.notification", "Invalid value at 'message.notification'");
  for (const [name, value] of Object.entries(notification)) {
    if (!notificationFields.has(name)) return unknownName(name, "message.notification");
    if (typeof value !== "string") {
      return badRequest(
        `message.notification.${name}`,
        `Invalid value at 'message.notification.${name}' (TYPE_STRING), ${JSON.stringify(value)}`,
      );
    }
  }
  return undefined;
}

const androidFields = new Set([
  "collapse_key",
  "priority",
  "ttl",
  "restricted_package_name",
  "data",
  "notification",
  "fcm_options",
  "direct_boot_ok",
]);

function wrongAndroid(android: unknown): Reply | undefined {
  if (android === undefined) return undefined;
  if (!isRecord(android)) return badRequest("message.android", "Invalid value at 'message.android'");
  const unknown = Object.keys(android).find((name) => !androidFields.has(name));
  if (unknown !== undefined) return unknownName(unknown, "message.android");
  const { ttl, priority } = android;
  if (ttl !== undefined) {
    const seconds = typeof ttl === "string" && /^\d+(\.\d{1,9})?s$/.test(ttl) ? Number(ttl.slice(0, -1)) : Number.NaN;
    if (Number.isNaN(seconds)) {
      return badRequest(
        "message.android.ttl",
        "Invalid value at 'message.android.ttl' (type.googleapis.com/google.protobuf.Duration)",
      );
    }
    if (seconds > ttlSecondsMax)
      return badMessage("message.android.ttl", "The ttl must be between 0 and 2419200 seconds");
  }
  if (priority !== undefined && !["normal", "high", "NORMAL", "HIGH"].includes(String(priority))) {
    return badRequest("message.android.priority", "Invalid value at 'message.android.priority'");
  }
  return undefined;
}

/** Keys and values of data and notification together (FCM's own sum is not documented to the byte). */
function tooBig({ data, notification, android }: Readonly<Record<string, unknown>>): Reply | undefined {
  const shown = isRecord(android) ? android.notification : undefined;
  const bytes = [data, notification, shown].map(textBytes).reduce((sum, part) => sum + part, 0);
  return bytes > payloadBytesMax ? badMessage("message", "Android message is too big") : undefined;
}

function textBytes(part: unknown): number {
  if (!isRecord(part)) return 0;
  let bytes = 0;
  for (const [key, value] of Object.entries(part)) {
    bytes += Buffer.byteLength(key) + (typeof value === "string" ? Buffer.byteLength(value) : 0);
  }
  return bytes;
}

function idOf(android: unknown): string {
  if (!isRecord(android)) return "";
  const { notification, collapse_key: collapseKey } = android;
  const tag = isRecord(notification) ? notification.tag : undefined;
  if (typeof tag === "string") return tag;
  return typeof collapseKey === "string" ? collapseKey : "";
}

function unknownName(name: string, at: string): Reply {
  const description = `Invalid JSON payload received. Unknown name "${name}" at '${at}': Cannot find field.`;
  return badRequest(at, description);
}

function parseJson(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString("utf8"));
  } catch {
    return undefined;
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
