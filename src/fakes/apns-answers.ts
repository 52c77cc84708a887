import type { Reply } from "./provider-exchange.ts";

/** APNs's reasons with their statuses (Apple, "Handling notification responses from APNs"). */
const statuses = {
  BadCollapseId: 400,
  BadDeviceToken: 400,
  BadExpirationDate: 400,
  BadMessageId: 400,
  BadPriority: 400,
  BadTopic: 400,
  DeviceTokenNotForTopic: 400,
  DuplicateHeaders: 400,
  IdleTimeout: 400,
  InvalidPushType: 400,
  MissingDeviceToken: 400,
  MissingTopic: 400,
  PayloadEmpty: 400,
  TopicDisallowed: 400,
  BadCertificate: 403,
  BadCertificateEnvironment: 403,
  BadEnvironmentKeyIdInToken: 403,
  ExpiredProviderToken: 403,
  Forbidden: 403,
  InvalidProviderToken: 403,
  MissingProviderToken: 403,
  UnrelatedKeyIdInToken: 403,
  BadPath: 404,
  MethodNotAllowed: 405,
  ExpiredToken: 410,
  Unregistered: 410,
  PayloadTooLarge: 413,
  TooManyProviderTokenUpdates: 429,
  TooManyRequests: 429,
  InternalServerError: 500,
  ServiceUnavailable: 503,
  Shutdown: 503,
} as const;

export type ApnsAnswer = keyof typeof statuses;
export const apnsAnswerNames = Object.keys(statuses) as readonly ApnsAnswer[];

/**
 * @param apnsId the request's apns-id, or the one made for it
 * @param goneSinceMs with status 410: when the token was last confirmed to be no longer valid, epoch milliseconds
 */
export function apnsAnswer(reason: ApnsAnswer, apnsId: string, goneSinceMs: number): Reply {
  const status = statuses[reason];
  return {
    status,
    headers: { "content-type": "application/json", "apns-id": apnsId },
    body: JSON.stringify(status === 410 ? { reason, timestamp: Math.trunc(goneSinceMs) } : { reason }),
    name: reason,
  };
}

export function apnsAccepted(apnsId: string): Reply {
  return { status: 200, headers: { "apns-id": apnsId } };
}
