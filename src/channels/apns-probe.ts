import { randomUUID } from "node:crypto";
import { unreachable } from "../errors.ts";
import type { Destination, Message, Outcome, Probe, SendRequest } from "./channel.ts";

/** Of the right form, and no device's: Apple answers BadDeviceToken, once it has let the credential pass. */
const nobodysToken = "0".repeat(64);
const timeoutMs = 5_000;
const message: Message = { title: "", body: "probe", data: null, image: null, sound: null, link: null };

/** One request as reminders make them, to a device that there can't be. */
export function probeRequest(
  destination: Destination,
  signal: AbortSignal,
  nowMs: number,
  settled: (outcome: Outcome) => void,
): SendRequest {
  const now = new Date(nowMs).toISOString();
  const { destinationId } = destination;
  const deliveryId = `d_probe_${randomUUID()}`;
  return {
    moment: {
      topic: "probe",
      scheduleId: "0",
      occurrence: now,
      dueAt: now,
      expiresAt: now,
      bucketId: "0",
      groupNumber: 0,
      node: "",
      priority: "normal",
    },
    deliveries: [{ deliveryId, attempt: 0, address: nobodysToken, destinationId, zone: null, locale: null, message }],
    destination,
    timeoutMs,
    signal,
    mayBegin: () => true,
    settle: (_indexes, outcomes) => outcomes.forEach(settled),
  };
}

/** What the answer to that request says of the destination. */
export function findingOf(outcome: Outcome): Probe {
  switch (outcome.kind) {
    case "accepted":
      return { well: true, found: "Apple takes its key" };
    case "gone":
      return { well: true, found: `Apple takes its key (and answers ${outcome.reason} to a token that is none)` };
    case "auth":
      return { well: false, found: `refused: ${outcome.reason}`, toDo: remedyFor(outcome.reason) };
    case "rejected":
      return { well: false, found: `refused: ${outcome.reason}`, toDo: "Correct the destination's URL and bundle id." };
    case "retry":
    case "in_doubt":
      return {
        well: false,
        found: outcome.reason,
        toDo: "Look whether this machine may reach Apple's host on port 443, with HTTP/2 and no proxy that opens TLS.",
      };
    default:
      return unreachable(outcome);
  }
}

function remedyFor(reason: string): string {
  if (/Topic/.test(reason)) return "Correct the bundle id: the key must be allowed to send to this app.";
  if (/Environment/.test(reason)) return "The key is for the other environment: change the destination's, or its key.";
  if (/Expired/.test(reason)) return "Set this machine's clock by NTP: Apple found the token too old.";
  return "Compare team id, key id and .p8 file with developer.apple.com; the key must not be revoked.";
}
