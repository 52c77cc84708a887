import { accepted, type Outcome } from "./channel.ts";
import type { Ending, Reply } from "./lane.ts";
import { retryAfterMs } from "./retry-after.ts";
import { unanswered } from "./unanswered.ts";

/**
 * That the subscription was made with another VAPID key than ours, in the words of each push service: Google's (403),
 * Mozilla's (401, errno 109) and Apple's (400).
 */
const saysOtherKey =
  /do not correspond to the credentials used|sender ID used to subscribe|VAPID public key mismatch|VapidPkHashMismatch/i;

/** Microsoft's ("Push request and response headers", 403): this URI is not ours, though we are authenticated. */
const microsoftHost = /\.notify\.windows\.com$/;

/**
 * What became of one message, by RFC 8030 and what the push services' own documents add.
 *
 * - 401 and 403 are the destination's fault (`auth`), unless the service says that this one subscription belongs to
 *   another key. Then no try can help, and others may well be fine: one such endpoint must not stop them all, so it is
 *   `rejected`. It is not `gone`: were a wrong key configured, that would prune everybody for good.
 * - 406 with a Retry-After is Microsoft's throttling ("406 Not Acceptable: exceeded its throttle limit").
 *
 * @param hostname the push service's
 * @param nowMs epoch milliseconds, for a Retry-After that is a date
 */
export function pushOutcome(ending: Ending, hostname: string, nowMs: number): Outcome {
  if (ending.kind !== "answered") return unanswered(ending);
  const { reply } = ending;
  const { status } = reply;
  const waitMs = retryAfterMs(reply.retryAfter, reply.date, nowMs);
  const wait = waitMs === null ? {} : { retryAfterMs: waitMs };
  if (status >= 200 && status < 300) return accepted;
  if (status === 404 || status === 410) return { kind: "gone", reason: words(reply), status };
  if (status === 429 || (status === 406 && waitMs !== null))
    return { kind: "retry", reason: words(reply), status, ...wait };
  // 408 says that the request did not arrive whole in time (RFC 9110 15.5.9): no verdict on the message.
  if (status >= 500 || status === 408) return { kind: "in_doubt", reason: words(reply), status, ...wait };
  if (status >= 300 && status < 400) return { kind: "rejected", reason: "redirect refused", status };
  if (isOfAnotherKey(reply, hostname))
    return { kind: "rejected", reason: "the subscription belongs to another VAPID key", status };
  if (status === 401 || status === 403) return { kind: "auth", reason: words(reply), status };
  return { kind: "rejected", reason: words(reply), status };
}

function isOfAnotherKey({ status, body }: Reply, hostname: string): boolean {
  if (status === 403 && microsoftHost.test(hostname)) return true;
  return (status === 400 || status === 401 || status === 403) && saysOtherKey.test(body.toString("latin1"));
}

/** The status, and the one word for it that Apple (`reason`) and Mozilla (`errno`) put in; never their prose. */
function words({ status, body }: Reply): string {
  const word = wordIn(body);
  return word === null ? `answered ${status}` : `answered ${status} ${word}`;
}

function wordIn(body: Buffer): string | null {
  if (!body.includes("{")) return null;
  try {
    const parsed: unknown = JSON.parse(body.toString("utf8"));
    if (typeof parsed !== "object" || parsed === null) return null;
    if ("reason" in parsed && typeof parsed.reason === "string" && /^\w{1,60}$/.test(parsed.reason))
      return parsed.reason;
    return "errno" in parsed && Number.isInteger(parsed.errno) ? `errno ${parsed.errno}` : null;
  } catch {
    return null;
  }
}
