import { unreachable } from "../errors.ts";
import { accepted, type Outcome } from "./channel.ts";
import type { Ending, Reply } from "./lane.ts";
import { retryAfterMs } from "./retry-after.ts";
import { printable, unanswered } from "./unanswered.ts";

/** What a documented error code makes of a delivery. */
type Verdict =
  /** the app is no longer on the device */
  | "gone"
  /** this message is refused */
  | "rejected"
  /** the service account, the project or its settings are refused, whatever the message */
  | "auth"
  /** refused now and not for good: certainly not accepted */
  | "retry"
  /** FCM has been seen to answer so and to deliver all the same (firebase-admin-node #1248) */
  | "in_doubt";

/**
 * FCM's error codes ("ErrorCode", FCM HTTP v1 reference). INVALID_ARGUMENT is looked at more closely: it is what both a
 * bad message and a bad token are answered with.
 */
export const fcmErrorCodes: Readonly<Record<string, Verdict>> = {
  UNREGISTERED: "gone",
  INVALID_ARGUMENT: "rejected",
  // Of the project and not of the message: once it is set right, the same reminder can still be sent.
  SENDER_ID_MISMATCH: "auth",
  THIRD_PARTY_AUTH_ERROR: "auth",
  QUOTA_EXCEEDED: "retry",
  UNAVAILABLE: "in_doubt",
  INTERNAL: "in_doubt",
  UNSPECIFIED_ERROR: "in_doubt",
};

/** "FCM error codes", QUOTA_EXCEEDED: a minute at least, where the answer does not say how long. */
const quotaWaitMs = 60_000;

/** Google's error object (google.rpc.Status), as far as it bears on the outcome. */
interface Refusal {
  /** of google.firebase.fcm.v1.FcmError */
  readonly errorCode: string | null;
  /** the canonical code, such as NOT_FOUND */
  readonly status: string | null;
  readonly message: string;
  /** of google.rpc.BadRequest: the fields that are at fault */
  readonly fields: readonly string[];
}

/**
 * What became of one request.
 *
 * @param nowMs epoch milliseconds, for a Retry-After that is a date
 */
export function fcmOutcome(ending: Ending, nowMs: number): Outcome {
  if (ending.kind !== "answered") return unanswered(ending);
  const { reply } = ending;
  const { status } = reply;
  if (status >= 200 && status < 300) return accepted;
  const refusal = refusalIn(reply.body);
  const reason = reasonOf(refusal, status);
  const waitMs = retryAfterMs(reply.retryAfter, reply.date, nowMs);
  const verdict = verdictOf(status, refusal);
  switch (verdict) {
    case "retry":
      return { kind: "retry", reason, status, retryAfterMs: waitMs ?? quotaWaitMs };
    case "in_doubt":
      return { kind: "in_doubt", reason, status, ...(waitMs === null ? {} : { retryAfterMs: waitMs }) };
    case "gone":
    case "rejected":
    case "auth":
      return { kind: verdict, reason, status };
    default:
      return unreachable(verdict);
  }
}

/** Whether the access token was refused: it is certain that nothing was accepted, and a new one may do. */
export function saysTokenRefused(ending: Ending): boolean {
  // Not so THIRD_PARTY_AUTH_ERROR: that 401 is about the project's key for Apple or for browsers.
  return ending.kind === "answered" && ending.reply.status === 401 && refusalIn(ending.reply.body)?.errorCode == null;
}

function verdictOf(status: number, refusal: Refusal | null): Verdict {
  if (status >= 500 || status === 408) return "in_doubt";
  const errorCode = refusal?.errorCode ?? null;
  if (refusal !== null && status === 400) return isAboutTheToken(refusal) ? "gone" : "rejected";
  if (errorCode !== null && Object.hasOwn(fcmErrorCodes, errorCode)) return fcmErrorCodes[errorCode] ?? "rejected";
  switch (status) {
    case 401:
    case 403:
      return "auth";
    case 404:
      // FCM says UNREGISTERED of a token. A page that isn't FCM's at all means that the destination's URL is wrong.
      return refusal === null ? "auth" : "rejected";
    case 429:
      return "retry";
    default:
      return "rejected";
  }
}

/**
 * Whether a 400 means the token and nothing else. A message that is at fault is answered alike, to everybody: taking it
 * for bad tokens would prune them all. So a field violation decides where there is one, else FCM's own sentence.
 */
function isAboutTheToken({ errorCode, fields, message }: Refusal): boolean {
  if (fields.length > 0) return fields.every((field) => field === "message.token");
  return errorCode === "INVALID_ARGUMENT" && /\bregistration token\b/i.test(message);
}

function reasonOf(refusal: Refusal | null, status: number): string {
  const code = refusal?.errorCode ?? refusal?.status ?? `answered ${status}`;
  const field = refusal?.fields[0];
  return printable(field === undefined ? code : `${code} (${field})`);
}

/** @returns null where the body is no error object of Google's */
function refusalIn(body: Reply["body"]): Refusal | null {
  const error = record(record(parse(body))?.error);
  if (error === null) return null;
  const details = (Array.isArray(error.details) ? error.details : []).map(record).filter((each) => each !== null);
  const ofType = (name: string) => details.find((each) => String(each["@type"]).endsWith(name));
  const violations = ofType("/google.rpc.BadRequest")?.fieldViolations;
  return {
    errorCode: text(ofType("/google.firebase.fcm.v1.FcmError")?.errorCode),
    status: text(error.status),
    message: text(error.message) ?? "",
    fields: (Array.isArray(violations) ? violations : []).map((each) => text(record(each)?.field) ?? ""),
  };
}

function parse(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString("utf8"));
  } catch {
    return null;
  }
}

function record(value: unknown): Record<string, unknown> | null {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : null;
}

function text(value: unknown): string | null {
  return typeof value === "string" && value !== "" ? value : null;
}
