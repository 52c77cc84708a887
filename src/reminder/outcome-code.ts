/**
 * What a byte in the ledger means. The table `carillon.outcome_codes` says the same to SQL; a test holds both together.
 * Numbers are written into the ledger for good: a meaning may be added, never changed.
 */
export const outcomeCodes = {
  accepted: 1,
  rejected: 10,
  gone: 11,
  attemptsExhausted: 12,
  /** perhaps sent, and not to be sent again */
  inDoubt: 13,
  /** perhaps sent, and not sent again: left, lost the endpoint, expired or cancelled meanwhile */
  inDoubtLeft: 14,
  expired: 20,
  ended: 30,
  paused: 31,
  muted: 32,
  noEndpoint: 33,
  destinationDisabled: 34,
  /** another endpoint of the user accepted, or may have, and the topic is content with one */
  notNeeded: 35,
  /** by the user's own preference for the topic or channel */
  optedOut: 36,
  /** on the operator's list of those who get nothing */
  onSuppressionList: 37,
  /** the user's quiet hours outlast the expiry */
  quietHours: 38,
  cancelled: 40,
  /** certainly not sent: to be tried again */
  deferred: 50,
  /** perhaps sent: to be tried again */
  deferredInDoubt: 51,
  /** certainly not sent: comes again at the end of the user's quiet hours */
  heldByQuietHours: 52,
  /** certainly not sent: another endpoint of the user comes first, and the topic is content with one */
  standsBy: 53,
} as const;

export type OutcomeName = keyof typeof outcomeCodes;
export type OutcomeCode = (typeof outcomeCodes)[OutcomeName];

/** The reason of what is deferred by quiet hours, in carillon.deferred too. */
export const quietHoursReason = "quiet hours";
/** The reason of what stands by, in carillon.deferred too. */
export const standbyReason = "waits for another endpoint";

/** A delivery ends in exactly one of these, and stays there. */
export const finalStates = ["delivered", "failed", "expired", "suppressed", "cancelled"] as const;
export type FinalState = (typeof finalStates)[number];

/** In the words of the view `carillon.deliveries`. */
export type DeliveryState = FinalState | "deferred" | "sending" | "in doubt";

export interface OutcomeMeaning {
  readonly state: FinalState | "deferred";
  readonly reason: string;
  /** counts as a send of which nobody knows whether it arrived */
  readonly inDoubt: boolean;
}

export const outcomeMeanings: Readonly<Record<OutcomeCode, OutcomeMeaning>> = {
  1: { state: "delivered", reason: "accepted", inDoubt: false },
  10: { state: "failed", reason: "rejected", inDoubt: false },
  11: { state: "failed", reason: "gone", inDoubt: false },
  12: { state: "failed", reason: "attempts exhausted", inDoubt: false },
  13: { state: "failed", reason: "in doubt", inDoubt: true },
  // it was counted when it became doubtful, in an earlier chunk
  14: { state: "failed", reason: "in doubt, not sent again", inDoubt: false },
  20: { state: "expired", reason: "expired", inDoubt: false },
  30: { state: "suppressed", reason: "ended", inDoubt: false },
  31: { state: "suppressed", reason: "paused", inDoubt: false },
  32: { state: "suppressed", reason: "muted", inDoubt: false },
  33: { state: "suppressed", reason: "no endpoint", inDoubt: false },
  34: { state: "suppressed", reason: "destination disabled", inDoubt: false },
  35: { state: "suppressed", reason: "not needed", inDoubt: false },
  36: { state: "suppressed", reason: "opted out", inDoubt: false },
  37: { state: "suppressed", reason: "suppression list", inDoubt: false },
  38: { state: "suppressed", reason: "quiet hours", inDoubt: false },
  40: { state: "cancelled", reason: "cancelled", inDoubt: false },
  50: { state: "deferred", reason: "not sent", inDoubt: false },
  51: { state: "deferred", reason: "in doubt", inDoubt: true },
  52: { state: "deferred", reason: "quiet hours", inDoubt: false },
  53: { state: "deferred", reason: "waits for another endpoint", inDoubt: false },
};

/** Whether a byte read from the ledger is one that this program knows. */
export function isOutcomeCode(code: number): code is OutcomeCode {
  return Object.hasOwn(outcomeMeanings, code);
}

/** The final state that a code stands for; null: not final, the delivery comes again in a later chunk. */
export function finalStateOf(code: OutcomeCode): FinalState | null {
  const { state } = outcomeMeanings[code];
  return state === "deferred" ? null : state;
}
