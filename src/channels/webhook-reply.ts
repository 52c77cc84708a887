import { accepted, type Outcome } from "./channel.ts";
import type { Ending, Reply } from "./lane.ts";
import { retryAfterMs } from "./retry-after.ts";
import { printable, unanswered } from "./unanswered.ts";

const reasonLengthMax = 120;

/** What became of a request with one reminder. Its reply's body is of no account. */
export function singleOutcome(ending: Ending, nowMs: number): Outcome {
  if (ending.kind !== "answered") return unanswered(ending);
  const { status } = ending.reply;
  if (status >= 200 && status < 300) return accepted;
  if (status === 410) return { kind: "gone", reason: "the receiver no longer knows the user", status };
  return refusal(ending.reply, nowMs);
}

/**
 * What became of each reminder of a batch. A 2xx may name exceptions in a JSON body,
 * `{"results":[{"id","status":"accepted"|"rejected"|"gone"|"retry","reason"?,"retryAfterMs"?}]}`; who is not named is
 * accepted. A body that could name exceptions but did not arrive whole leaves all of them in doubt.
 */
export function batchOutcomes(ending: Ending, deliveryIds: readonly string[], nowMs: number): readonly Outcome[] {
  const all = (outcome: Outcome) => deliveryIds.map(() => outcome);
  if (ending.kind !== "answered") return all(unanswered(ending));
  const { reply } = ending;
  if (reply.status < 200 || reply.status >= 300) return all(refusal(reply, nowMs));
  if (!reply.whole) {
    return mayNameExceptions(reply.body)
      ? all({ kind: "in_doubt", reason: `the reply ${reply.cutShort}`, status: reply.status })
      : all(accepted);
  }
  const exceptions = namedOutcomes(reply);
  return exceptions === null ? all(accepted) : deliveryIds.map((id) => exceptions.get(id) ?? accepted);
}

function refusal(reply: Reply, nowMs: number): Outcome {
  const { status } = reply;
  const waitMs = retryAfterMs(reply.retryAfter, reply.date, nowMs);
  const wait = waitMs === null ? {} : { retryAfterMs: waitMs };
  if (status >= 300 && status < 400) return { kind: "rejected", reason: "redirect refused", status };
  if (status === 401 || status === 403) return { kind: "auth", reason: `answered ${status}`, status };
  if (status === 429) return { kind: "retry", reason: "answered 429", status, ...wait, forAll: true };
  // 408 says that the request did not arrive whole in time (RFC 9110 15.5.9): no verdict on the message.
  if (status >= 400 && status < 500 && status !== 408)
    return { kind: "rejected", reason: `answered ${status}`, status };
  return { kind: "in_doubt", reason: `answered ${status}`, status, ...wait };
}

function namedOutcomes(reply: Reply): ReadonlyMap<string, Outcome> | null {
  const results = resultsIn(reply.body.toString("utf8"));
  if (results === null) return null;
  const outcomes = new Map<string, Outcome>();
  for (const result of results) {
    if (isRecord(result) && typeof result.id === "string" && !outcomes.has(result.id)) {
      outcomes.set(result.id, namedOutcome(result, reply.status));
    }
  }
  return outcomes;
}

function namedOutcome(result: Record<string, unknown>, status: number): Outcome {
  const reason =
    typeof result.reason === "string"
      ? printable(result.reason, reasonLengthMax)
      : `named ${printable(result.status, reasonLengthMax)}`;
  switch (result.status) {
    case "accepted":
      return accepted;
    case "rejected":
      return { kind: "rejected", reason, status };
    case "gone":
      return { kind: "gone", reason, status };
    case "retry": {
      const waitMs = result.retryAfterMs;
      const given = typeof waitMs === "number" && Number.isFinite(waitMs) && waitMs >= 0;
      return { kind: "retry", reason, status, ...(given ? { retryAfterMs: Math.ceil(waitMs) } : {}) };
    }
    default:
      // Named, but with no word that we know: the receiver did not simply accept it.
      return { kind: "in_doubt", reason, status };
  }
}

function resultsIn(text: string): readonly unknown[] | null {
  if (!text.includes('"results"')) return null;
  try {
    const parsed: unknown = JSON.parse(text);
    return isRecord(parsed) && Array.isArray(parsed.results) ? parsed.results : null;
  } catch {
    return null;
  }
}

/** A page of HTML or an "ok" names nobody; what begins as a JSON object might. */
function mayNameExceptions(body: Buffer): boolean {
  const start = body.toString("latin1").trimStart();
  return start === "" || start.startsWith("{");
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
