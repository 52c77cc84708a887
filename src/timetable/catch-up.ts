/** What becomes of occurrences that nobody was there to plan in time: after a downtime, a topic's policy decides. */
import { unreachable } from "../errors.ts";
import type { Occurrence } from "../reminder/rule.ts";

export const catchUpPolicies = ["skip", "latest", "all"] as const;
export type CatchUpPolicy = (typeof catchUpPolicies)[number];

/**
 * Splits missed occurrences into those to fire now and those to record as skipped: none, the latest alone, or all.
 *
 * @param missed ascending by instant
 */
export function catchUp(
  policy: CatchUpPolicy,
  missed: readonly Occurrence[],
): { fire: Occurrence[]; skip: Occurrence[] } {
  switch (policy) {
    case "skip":
      return { fire: [], skip: [...missed] };
    case "latest":
      return { fire: missed.slice(-1), skip: missed.slice(0, -1) };
    case "all":
      return { fire: [...missed], skip: [] };
    default:
      return unreachable(policy);
  }
}

/**
 * Splits occurrences into those missed at `nowMs` (epoch milliseconds) by more than `toleranceMs`, and the current
 * ones: those still ahead and those late by no more than a planner's usual delay, which are fired as if in time.
 */
export function missedAt(
  occurrences: readonly Occurrence[],
  nowMs: number,
  toleranceMs: number,
): { missed: Occurrence[]; current: Occurrence[] } {
  const isMissed = ({ dueAtMs }: Occurrence) => dueAtMs < nowMs - toleranceMs;
  return {
    missed: occurrences.filter(isMissed),
    current: occurrences.filter((occurrence) => !isMissed(occurrence)),
  };
}
