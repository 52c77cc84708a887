import { unreachable } from "../errors.ts";
import type { Outcome, Probe } from "./channel.ts";

/** What FCM's answer to a request that is only to be validated, for a token that is none, says of the destination. */
export function findingOf(outcome: Outcome): Probe {
  switch (outcome.kind) {
    case "accepted":
      return { well: true, found: "FCM takes its service account" };
    case "gone":
      return {
        well: true,
        found: `FCM takes its service account (and answers ${outcome.reason} to a token that is none)`,
      };
    case "auth":
      return { well: false, found: `refused: ${outcome.reason}`, toDo: remedyFor(outcome.reason) };
    case "rejected":
      return {
        well: false,
        found: `refused: ${outcome.reason}`,
        toDo: "Correct the destination's URL and project id.",
      };
    case "retry":
    case "in_doubt":
      return {
        well: false,
        found: outcome.reason,
        toDo: "Look whether this machine may reach Google's hosts on port 443, with HTTP/2 and no proxy that opens TLS.",
      };
    default:
      return unreachable(outcome);
  }
}

function remedyFor(reason: string): string {
  if (/invalid_grant/.test(reason)) {
    return "Compare e-mail and key with the service account's in Google's console, and set this machine's clock by NTP.";
  }
  if (/private key/.test(reason))
    return "Set the destination's private key anew, from the service account's JSON file.";
  if (/PERMISSION_DENIED/.test(reason)) {
    return "Give the service account the role Firebase Cloud Messaging API Admin, and enable that API for the project.";
  }
  return "Compare the project with the service account's JSON file; the account must not be disabled.";
}
