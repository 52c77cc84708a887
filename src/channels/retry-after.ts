const seconds = /^\d{1,9}$/;
/** IMF-fixdate, and the two obsolete forms that RFC 9110 5.6.7 asks recipients to accept. */
const httpDate = /^(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*,? /;

/**
 * Reads a Retry-After header (RFC 9110 10.2.3): seconds, or an HTTP date.
 *
 * @param date the same reply's Date header: a date is taken relative to the receiver's clock where it says what that
 *   is, since the clocks of two machines need not agree
 * @param nowMs epoch milliseconds, for a date without a Date header
 * @returns milliseconds from now, never negative; null when the header is missing or not well formed
 */
export function retryAfterMs(header: string | undefined, date: string | undefined, nowMs: number): number | null {
  if (header === undefined) return null;
  const value = header.trim();
  if (seconds.test(value)) return Number(value) * 1_000;
  const until = httpDateMs(value);
  if (until === null) return null;
  return Math.max(0, until - (httpDateMs(date?.trim() ?? "") ?? nowMs));
}

function httpDateMs(value: string): number | null {
  if (!httpDate.test(value)) return null;
  // asctime carries no zone, and Date.parse would read it in this machine's.
  const parsed = Date.parse(value.endsWith("GMT") ? value : `${value} GMT`);
  return Number.isNaN(parsed) ? null : parsed;
}
