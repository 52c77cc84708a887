import { CarillonError, unreachable } from "../errors.ts";
import type { Outcome } from "./channel.ts";
import type { Ending } from "./lane.ts";

const wordsLengthMax = 60;

/** What a request without a status makes of what it carried; the same on every channel. */
export function unanswered(ending: Exclude<Ending, { kind: "answered" }>): Outcome {
  switch (ending.kind) {
    case "held_back":
      return { kind: "retry", reason: "held_back" };
    case "unsent":
      return (
        refusedByUs(ending.error) ?? {
          kind: "retry",
          reason: `not sent: ${wordsOf(ending.error)}`,
          ...(ending.heard === true ? { heard: true } : {}),
        }
      );
    case "broken_off":
      return { kind: "in_doubt", reason: `no reply: ${wordsOf(ending.error)}` };
    default:
      return unreachable(ending);
  }
}

/** Words from outside go into our ledger and on screens: short, and printable ASCII only. */
export function printable(words: unknown, lengthMax = wordsLengthMax): string {
  return String(words)
    .slice(0, lengthMax)
    .replace(/[^\x20-\x7e]/g, "?");
}

/** Neither the guard nor a URL that is no request target will think otherwise at the next try. */
function refusedByUs(error: Error): Outcome | null {
  if (error instanceof CarillonError && error.code === "hostile_url") {
    return { kind: "rejected", reason: `refused by the egress guard: ${error.message}` };
  }
  if (codeOf(error) === "UND_ERR_INVALID_ARG") return { kind: "rejected", reason: wordsOf(error) };
  return null;
}

/** Codes say it without the addresses that messages carry. */
function wordsOf(error: Error): string {
  return codeOf(error) ?? printable(error.message);
}

function codeOf(error: Error): string | undefined {
  return "code" in error && typeof error.code === "string" ? error.code : undefined;
}
