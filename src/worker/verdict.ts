import type { Outcome } from "../channels/channel.ts";
import { unreachable } from "../errors.ts";
import { type OutcomeCode, outcomeCodes } from "../reminder/outcome-code.ts";
import { attemptsMax, nextTryAfterAuthMs, nextTryMs } from "../reminder/retry-policy.ts";

/** What is recorded of an outcome, and what follows from it. */
export interface Verdict {
  readonly code: OutcomeCode;
  readonly reason: string | null;
  readonly httpStatus: number | null;
  /** the endpoint is no more */
  readonly gone: boolean;
  /** epoch milliseconds: when the far side found it so, where it says */
  readonly goneSinceMs?: number;
  readonly next: { readonly attempt: number; readonly waitMs: number } | null;
}

export interface Circumstances {
  readonly deliveryMode: "at_least_once" | "at_most_once";
  readonly attempt: number;
  /** real time, as is a receiver's Retry-After; epoch milliseconds */
  readonly nowMs: number;
  /** the real time of the expiry */
  readonly expiresAtMs: number;
  readonly random: number;
}

/** The reason of a channel's `retry` for what `mayBegin` held back. */
export const heldBack = "held_back";

/** What this worker did not even hand to a channel: its circuit is open, or its pace is used up. No attempt is burned. */
export interface HeldBack {
  readonly kind: "held_back";
  readonly reason: string;
  readonly waitMs: number;
}

/** What would be held back for as long as its expiry is tried once more so shortly before it. */
const lastTryMs = 1_000;

/** Decides what becomes of a delivery after an outcome, by the classes that docs/channels/README.md lists. */
export function judge(outcome: Outcome | HeldBack, circumstances: Circumstances): Verdict {
  const { attempt, nowMs, expiresAtMs } = circumstances;
  switch (outcome.kind) {
    case "accepted":
      return accepted;
    case "rejected":
      return final(outcomeCodes.rejected, outcome);
    case "gone":
      return {
        ...final(outcomeCodes.gone, outcome),
        gone: true,
        ...(outcome.sinceMs === undefined ? {} : { goneSinceMs: outcome.sinceMs }),
      };
    case "retry": {
      if (outcome.reason === heldBack) {
        if (nowMs >= expiresAtMs) return final(outcomeCodes.expired, outcome);
        return again(outcomeCodes.deferred, outcome, Math.max(1, attempt), nowMs, nowMs);
      }
      const nextMs = nextTryMs({ ...circumstances, retryAfterMs: outcome.retryAfterMs });
      if (nextMs !== null) return again(outcomeCodes.deferred, outcome, attempt + 1, nextMs, nowMs);
      return final(attempt + 1 >= attemptsMax ? outcomeCodes.attemptsExhausted : outcomeCodes.expired, outcome);
    }
    case "held_back": {
      if (nowMs >= expiresAtMs) return final(outcomeCodes.expired, outcome);
      // all that were held back together don't come back together
      const wantedMs = nowMs + outcome.waitMs * (1 + circumstances.random);
      const lastMs = expiresAtMs - lastTryMs;
      // after the last try only the expiry is left: asked again and again until then, it would be for nothing
      const nextMs = nowMs < lastMs ? Math.min(wantedMs, lastMs) : expiresAtMs;
      return again(outcomeCodes.deferred, outcome, Math.max(1, attempt), nextMs, nowMs);
    }
    case "auth": {
      const nextMs = nextTryAfterAuthMs(circumstances);
      if (nextMs !== null) return again(outcomeCodes.deferred, outcome, Math.max(1, attempt), nextMs, nowMs);
      return final(outcomeCodes.expired, outcome);
    }
    case "in_doubt": {
      if (circumstances.deliveryMode === "at_most_once") return final(outcomeCodes.inDoubt, outcome);
      const nextMs = nextTryMs({ ...circumstances, retryAfterMs: outcome.retryAfterMs });
      if (nextMs !== null) return again(outcomeCodes.deferredInDoubt, outcome, attempt + 1, nextMs, nowMs);
      return final(outcomeCodes.inDoubt, outcome);
    }
    default:
      return unreachable(outcome);
  }
}

type Failed = Exclude<Outcome, { kind: "accepted" }> | HeldBack;

const accepted: Verdict = { code: outcomeCodes.accepted, reason: null, httpStatus: null, gone: false, next: null };

function final(code: OutcomeCode, outcome: Failed): Verdict {
  return { code, reason: outcome.reason, httpStatus: statusOf(outcome), gone: false, next: null };
}

function again(code: OutcomeCode, outcome: Failed, attempt: number, nextMs: number, nowMs: number): Verdict {
  return { ...final(code, outcome), next: { attempt, waitMs: Math.max(0, nextMs - nowMs) } };
}

function statusOf(outcome: Failed): number | null {
  return "status" in outcome ? (outcome.status ?? null) : null;
}
