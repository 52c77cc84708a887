import type { Reply } from "./provider-exchange.ts";

/**
 * What push services answer (RFC 8030, sections 5 and 8; RFC 8292, section 4.2), by names of our own: the protocol has
 * none. The bodies are of the kind that Mozilla's service gives.
 */
const statuses = {
  BadRequest: [400, "Bad Request"],
  MissingVapid: [401, "Unauthorized"],
  BadVapid: [403, "Forbidden"],
  NotFound: [404, "Not Found"],
  MethodNotAllowed: [405, "Method Not Allowed"],
  Gone: [410, "Gone"],
  PayloadTooLarge: [413, "Payload Too Large"],
  TooManyRequests: [429, "Too Many Requests"],
  InternalServerError: [500, "Internal Server Error"],
  ServiceUnavailable: [503, "Service Unavailable"],
} as const;

export type WebPushAnswer = keyof typeof statuses;
export const webPushAnswerNames = Object.keys(statuses) as readonly WebPushAnswer[];

export function webPushAnswer(name: WebPushAnswer, message = ""): Reply {
  const [status, error] = statuses[name];
  return {
    status,
    headers: {
      "content-type": "application/json",
      ...(name === "MissingVapid" ? { "www-authenticate": "vapid" } : {}),
    },
    body: JSON.stringify({ code: status, error, message }),
    name,
  };
}

/** @param location the message's own resource, which could be asked for a receipt */
export function webPushAccepted(location: string, ttlSeconds: string): Reply {
  return { status: 201, headers: { location, ttl: ttlSeconds } };
}
