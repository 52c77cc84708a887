import type { Reply } from "./provider-exchange.ts";

/**
 * FCM's answers to a message, by their names (firebase.google.com/docs/reference/fcm/rest/v1/ErrorCode, and the
 * samples under docs/cloud-messaging/error-codes). INVALID_ARGUMENT comes in two kinds, told apart by `details`: a bad
 * token, and a bad message.
 */
export const fcmAnswerNames = [
  "UNREGISTERED",
  "INVALID_TOKEN",
  "INVALID_ARGUMENT",
  "SENDER_ID_MISMATCH",
  "PERMISSION_DENIED",
  "UNAUTHENTICATED",
  "THIRD_PARTY_AUTH_ERROR",
  "QUOTA_EXCEEDED",
  "UNAVAILABLE",
  "INTERNAL",
] as const;
export type FcmAnswer = (typeof fcmAnswerNames)[number];

const json = { "content-type": "application/json; charset=UTF-8" } as const;

function failure(status: number, canonical: string, name: string, message: string, details: readonly object[]): Reply {
  const error = { code: status, message, status: canonical, ...(details.length === 0 ? {} : { details }) };
  return { status, headers: json, body: JSON.stringify({ error }, null, 2), name };
}

function fcmError(errorCode: string): object {
  return { "@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", errorCode };
}

/** 400 for a value that the API's own types refuse: which one, under BadRequest. */
export function badRequest(field: string, description: string): Reply {
  const violation = { "@type": "type.googleapis.com/google.rpc.BadRequest", fieldViolations: [{ field, description }] };
  return failure(400, "INVALID_ARGUMENT", "INVALID_ARGUMENT", description, [violation]);
}

/** 400 for a message that FCM refuses as a whole (too big, reserved keys): both kinds of details. */
export function badMessage(field: string, description: string): Reply {
  return failure(400, "INVALID_ARGUMENT", "INVALID_ARGUMENT", description, [
    fcmError("INVALID_ARGUMENT"),
    { "@type": "type.googleapis.com/google.rpc.BadRequest", fieldViolations: [{ field, description }] },
  ]);
}

const credentials =
  "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid authentication credential.";

const answers: Readonly<Record<FcmAnswer, Reply>> = {
  UNREGISTERED: failure(404, "NOT_FOUND", "UNREGISTERED", "Requested entity was not found.", [
    fcmError("UNREGISTERED"),
  ]),
  INVALID_TOKEN: failure(
    400,
    "INVALID_ARGUMENT",
    "INVALID_TOKEN",
    "The registration token is not a valid FCM registration token",
    [fcmError("INVALID_ARGUMENT")],
  ),
  INVALID_ARGUMENT: badRequest("message.data[0].value", "Invalid value at 'message.data[0].value' (TYPE_STRING), 12"),
  SENDER_ID_MISMATCH: failure(403, "PERMISSION_DENIED", "SENDER_ID_MISMATCH", "SenderId mismatch", [
    fcmError("SENDER_ID_MISMATCH"),
  ]),
  PERMISSION_DENIED: failure(
    403,
    "PERMISSION_DENIED",
    "PERMISSION_DENIED",
    "Permission 'cloudmessaging.messages.create' denied on resource (or it may not exist).",
    [
      {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        reason: "IAM_PERMISSION_DENIED",
        domain: "cloudresourcemanager.googleapis.com",
      },
    ],
  ),
  UNAUTHENTICATED: {
    ...failure(401, "UNAUTHENTICATED", "UNAUTHENTICATED", credentials, [
      {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        reason: "ACCESS_TOKEN_EXPIRED",
        domain: "googleapis.com",
        metadata: { service: "fcm.googleapis.com", method: "google.firebase.fcm.v1.FcmService.SendMessage" },
      },
    ]),
    headers: { ...json, "www-authenticate": 'Bearer realm="https://accounts.google.com/", error="invalid_token"' },
  },
  THIRD_PARTY_AUTH_ERROR: failure(
    401,
    "UNAUTHENTICATED",
    "THIRD_PARTY_AUTH_ERROR",
    "Auth error from APNS or Web Push Service",
    [
      fcmError("THIRD_PARTY_AUTH_ERROR"),
      {
        "@type": "type.googleapis.com/google.firebase.fcm.v1.ApnsError",
        statusCode: 403,
        reason: "InvalidProviderToken",
      },
    ],
  ),
  QUOTA_EXCEEDED: failure(
    429,
    "RESOURCE_EXHAUSTED",
    "QUOTA_EXCEEDED",
    "Quota exceeded for quota metric 'Send requests' and limit 'Send requests per minute'.",
    [
      fcmError("QUOTA_EXCEEDED"),
      {
        "@type": "type.googleapis.com/google.rpc.QuotaFailure",
        violations: [{ subject: "project", description: "Send requests per minute" }],
      },
    ],
  ),
  UNAVAILABLE: failure(503, "UNAVAILABLE", "UNAVAILABLE", "The service is currently unavailable.", [
    fcmError("UNAVAILABLE"),
  ]),
  INTERNAL: failure(500, "INTERNAL", "INTERNAL", "Internal error encountered.", [fcmError("INTERNAL")]),
};

export function fcmAnswer(name: FcmAnswer): Reply {
  return answers[name];
}

export function fcmAccepted(projectId: string, messageId: string): Reply {
  return {
    status: 200,
    headers: json,
    body: `{\n  "name": ${JSON.stringify(`projects/${projectId}/messages/${messageId}`)}\n}\n`,
  };
}

/** The token endpoint's refusals (RFC 6749, section 5.2, with Google's descriptions). */
export function grantRefused(error: "invalid_grant" | "invalid_scope" | "unsupported_grant_type", why: string): Reply {
  const body = JSON.stringify({ error, error_description: why });
  return { status: 400, headers: json, body, name: error };
}

export function grantGiven(accessToken: string, lifetimeSeconds: number): Reply {
  const body = JSON.stringify({ access_token: accessToken, expires_in: lifetimeSeconds, token_type: "Bearer" });
  return { status: 200, headers: { ...json, "cache-control": "no-store" }, body, name: "token" };
}
