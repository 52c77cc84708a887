import { unreachable } from "../errors.ts";
import { accepted, type Outcome } from "./channel.ts";
import type { Ending, Reply } from "./lane.ts";
import { retryAfterMs } from "./retry-after.ts";
import { printable, unanswered } from "./unanswered.ts";

/** What a documented reason makes of a delivery. */
type Verdict =
  /** the device or the app on it is no more, for all that Apple knows */
  | "gone"
  /** this message, or how it was put, is refused */
  | "rejected"
  /** the key, the team or the app's name is refused, whatever the message */
  | "auth"
  /** refused now and not for good: certainly not accepted */
  | "retry"
  /** Apple does not say whether it had taken the message before it failed */
  | "in_doubt";

/**
 * Apple's reasons ("Handling notification responses from APNs", table of response error strings), and the one that
 * Apple's servers spell otherwise than its documents (BadEnvironmentKeyInToken).
 */
export const apnsReasons: Readonly<Record<string, Verdict>> = {
  BadDeviceToken: "gone",
  DeviceTokenNotForTopic: "gone",
  Unregistered: "gone",
  ExpiredToken: "gone",

  BadCollapseId: "rejected",
  BadExpirationDate: "rejected",
  BadMessageId: "rejected",
  BadPriority: "rejected",
  DuplicateHeaders: "rejected",
  InvalidPushType: "rejected",
  MissingDeviceToken: "rejected",
  PayloadEmpty: "rejected",
  PayloadTooLarge: "rejected",
  BadPath: "rejected",
  MethodNotAllowed: "rejected",

  // Of the destination and not of the message: set right, the same reminder can still be sent.
  BadTopic: "auth",
  MissingTopic: "auth",
  TopicDisallowed: "auth",
  BadCertificate: "auth",
  BadCertificateEnvironment: "auth",
  ExpiredProviderToken: "auth",
  Forbidden: "auth",
  InvalidProviderToken: "auth",
  MissingProviderToken: "auth",
  UnrelatedKeyIdInToken: "auth",
  BadEnvironmentKeyIdInToken: "auth",
  BadEnvironmentKeyInToken: "auth",

  IdleTimeout: "retry",
  TooManyRequests: "retry",
  TooManyProviderTokenUpdates: "retry",

  InternalServerError: "in_doubt",
  ServiceUnavailable: "in_doubt",
  Shutdown: "in_doubt",
};

/** Apple names no time; a team that changed its token too often is refused until enough of it has passed. */
const tokenUpdatesWaitMs = 60_000;

/** Apple's answer to a request that it did not accept. */
interface Refusal {
  readonly reason: string | null;
  /** epoch milliseconds; of 410 only: when Apple last found that the token is no more */
  readonly timestampMs: number | null;
}

/**
 * What became of one request.
 *
 * @param nowMs epoch milliseconds, for a Retry-After that is a date
 */
export function apnsOutcome(ending: Ending, nowMs: number): Outcome {
  if (ending.kind !== "answered") return unanswered(ending);
  const { reply } = ending;
  const { status } = reply;
  if (status >= 200 && status < 300) return accepted;
  const refusal = refusalIn(reply.body);
  const reason = refusal.reason ?? `answered ${status}`;
  const waitMs = retryAfterMs(reply.retryAfter, reply.date, nowMs);
  const wait = waitMs === null ? {} : { retryAfterMs: waitMs };
  const verdict = verdictOf(status, refusal.reason);
  switch (verdict) {
    case "gone":
      return {
        kind: "gone",
        reason,
        status,
        ...(refusal.timestampMs === null ? {} : { sinceMs: refusal.timestampMs }),
      };
    case "retry":
      return refusal.reason === "TooManyProviderTokenUpdates"
        ? { kind: "retry", reason, status, retryAfterMs: waitMs ?? tokenUpdatesWaitMs }
        : { kind: "retry", reason, status, ...wait };
    case "in_doubt":
      return { kind: "in_doubt", reason, status, ...wait };
    case "rejected":
    case "auth":
      return { kind: verdict, reason, status };
    default:
      return unreachable(verdict);
  }
}

/** Whether the provider token was too old: it is certain that nothing was accepted, and a new one may do. */
export function saysTokenExpired(ending: Ending): boolean {
  return (
    ending.kind === "answered" &&
    ending.reply.status === 403 &&
    refusalIn(ending.reply.body).reason === "ExpiredProviderToken"
  );
}

/** A reason that Apple does not document goes by the status that it came with. */
function verdictOf(status: number, reason: string | null): Verdict {
  if (status >= 500) return "in_doubt";
  if (reason !== null && Object.hasOwn(apnsReasons, reason)) return apnsReasons[reason] ?? "rejected";
  switch (status) {
    case 401:
    case 403:
      return "auth";
    case 408:
      return "in_doubt";
    case 410:
      return "gone";
    case 429:
      return "retry";
    default:
      return "rejected";
  }
}

function refusalIn(body: Reply["body"]): Refusal {
  let parsed: unknown;
  try {
    parsed = JSON.parse(body.toString("utf8"));
  } catch {
    return { reason: null, timestampMs: null };
  }
  if (typeof parsed !== "object" || parsed === null) return { reason: null, timestampMs: null };
  const { reason, timestamp } = parsed as { reason?: unknown; timestamp?: unknown };
  return {
    reason: typeof reason === "string" && reason !== "" ? printable(reason) : null,
    timestampMs: isTimestamp(timestamp) ? timestamp : null,
  };
}

/** A number that is none of a time would not fit into the database either. */
function isTimestamp(value: unknown): value is number {
  return typeof value === "number" && value > 0 && !Number.isNaN(new Date(value).getTime());
}
