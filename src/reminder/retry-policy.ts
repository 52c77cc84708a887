/** The first wait's upper bound; it doubles with each attempt. */
export const retryBaseMs = 1_000;
/** No wait drawn by us is longer. A receiver's Retry-After may be. */
export const retryCapMs = 60_000;
/** How often one delivery is tried in one round, the first time included. */
export const attemptsMax = 8;
/** Of events that a listener does not take, which are tried for days. */
export const eventRetryCapMs = 600_000;
/** A refused credential is not healed by hurrying: until then the circuit stays open. */
export const authWaitMs = 30_000;

export interface FailedTry {
  /** 0 when it was the first try that failed */
  readonly attempt: number;
  /** what the receiver asked for, milliseconds from now; undefined or null when it did not */
  readonly retryAfterMs?: number | null | undefined;
  /** epoch milliseconds */
  readonly nowMs: number;
  /** epoch milliseconds; nothing is tried at or after it */
  readonly expiresAtMs: number;
  /** drawn evenly from [0, 1) */
  readonly random: number;
}

/**
 * When to try again what was certainly not sent, or may be sent again: exponential back-off with full jitter (the wait
 * is drawn from zero up to the bound, so that a group that failed at one instant does not come back at one instant).
 * The jitter comes on top of a Retry-After for the same reason, and never shortens it.
 *
 * @returns epoch milliseconds of the next try; null when the attempts are used up or it would not be before expiry
 */
export function nextTryMs({ attempt, retryAfterMs, nowMs, expiresAtMs, random }: FailedTry): number | null {
  if (attempt + 1 >= attemptsMax) return null;
  const boundMs = Math.min(retryCapMs, retryBaseMs * 2 ** attempt);
  const nextMs = nowMs + Math.max(0, retryAfterMs ?? 0) + Math.floor(random * boundMs);
  return nextMs < expiresAtMs ? nextMs : null;
}

/**
 * When to try again after the credential or destination was refused (outcome `auth`). It is a flat wait, and the
 * caller keeps the attempt's number: attempts aren't burned by what is not the delivery's fault.
 *
 * @returns epoch milliseconds of the next try; null when that would not be before expiry
 */
export function nextTryAfterAuthMs({ nowMs, expiresAtMs }: Pick<FailedTry, "nowMs" | "expiresAtMs">): number | null {
  const nextMs = nowMs + authWaitMs;
  return nextMs < expiresAtMs ? nextMs : null;
}

/**
 * How long to wait with what a listener did not take: as `nextTryMs`, with a higher cap, and without an end.
 *
 * @param failures so many before this one
 * @returns milliseconds
 */
export function eventWaitMs(failures: number, retryAfterMs: number | undefined, random: number): number {
  const boundMs = Math.min(eventRetryCapMs, retryBaseMs * 2 ** failures);
  return Math.max(0, retryAfterMs ?? 0) + Math.floor(random * boundMs);
}
