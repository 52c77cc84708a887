import { finalStateOf, outcomeMeanings } from "../reminder/outcome-code.ts";
import type { OutcomeExceptions, OutcomeRecord } from "../store/outcome.ts";
import type { Verdict } from "./verdict.ts";

/** Whom a verdict is about. */
export interface Judged {
  readonly index: number;
  readonly hashSlot: number | null;
  readonly userNumber: string;
  readonly ordinal: number;
  readonly verdict: Verdict;
  readonly afterDueMs: number;
  /** found in doubt after its owner was lost */
  readonly takenOver: boolean;
}

export type LedgerEntry = Pick<OutcomeRecord, "indexes" | "codes" | "afterDueMs" | "tally" | "exceptions">;

/** Which members of which chunk these are. */
export interface Entering {
  /** all that were to be sent, in order: then indexes need no room */
  readonly whole: boolean;
  /** the chunk tries again what was deferred, so whatever is final now leaves `deferred` */
  readonly repeated: boolean;
  /** other endpoints of theirs may stand by for what becomes of these */
  readonly standby: boolean;
}

/** Puts the verdicts on some members of a chunk into the form that one statement records. */
export function ledgerEntry(judged: readonly Judged[], { whole, repeated, standby }: Entering): LedgerEntry {
  const codes = new Uint8Array(judged.length);
  const afterDueMs = new Array<number>(judged.length);
  const tally = { delivered: 0, failed: 0, suppressed: 0, expired: 0, inDoubts: 0 };
  let plain = !repeated;
  for (const [position, { verdict, afterDueMs: late }] of judged.entries()) {
    codes[position] = verdict.code;
    afterDueMs[position] = Math.max(-2_147_483_648, Math.min(2_147_483_647, Math.round(late)));
    if (verdict.reason !== null || verdict.next !== null) plain = false;
    if (outcomeMeanings[verdict.code].inDoubt) tally.inDoubts += 1;
    const state = finalStateOf(verdict.code);
    if (standby && state !== null) plain = false;
    if (state === "delivered") tally.delivered += 1;
    else if (state === "failed") tally.failed += 1;
    else if (state === "suppressed") tally.suppressed += 1;
    else if (state === "expired") tally.expired += 1;
  }
  return {
    indexes: whole ? null : judged.map(({ index }) => index),
    codes,
    afterDueMs,
    tally,
    exceptions: plain ? null : exceptionsOf(judged, { repeated, standby }),
  };
}

function exceptionsOf(
  judged: readonly Judged[],
  { repeated, standby }: Pick<Entering, "repeated" | "standby">,
): OutcomeExceptions {
  const failures: OutcomeExceptions["failures"][number][] = [];
  const deferred: OutcomeExceptions["deferred"][number][] = [];
  const finished: OutcomeExceptions["finished"][number][] = [];
  const gone: OutcomeExceptions["gone"][number][] = [];
  const reachedByUser = new Map<string, boolean>();
  for (const { hashSlot, userNumber, ordinal, verdict, takenOver } of judged) {
    const { code, reason, httpStatus, next } = verdict;
    const inDoubt = outcomeMeanings[code].inDoubt;
    if (reason !== null) failures.push({ userNumber, ordinal, code, httpStatus, reason });
    if (next !== null) {
      deferred.push({ hashSlot, userNumber, ordinal, ...next, inDoubt, takenOver, reason: reason ?? "" });
    } else if (repeated) {
      finished.push({ hashSlot, userNumber, ordinal });
    }
    if (verdict.gone)
      gone.push({ userNumber, ordinal, reason: reason ?? "gone", sinceMs: verdict.goneSinceMs ?? null });
    const state = finalStateOf(code);
    if (standby && state !== null) {
      const reached = state === "delivered" || inDoubt || reachedByUser.get(userNumber) === true;
      reachedByUser.set(userNumber, reached);
    }
  }
  const ended = [...reachedByUser].map(([userNumber, reached]) => ({ userNumber, reached }));
  return { failures, deferred, finished, gone, ended };
}
