import type { ReceivedReminder } from "../fakes/receiver-log.ts";
import { percentile, rounded } from "./figures.ts";

/**
 * The report of a demo run, computed from what the receiver logged and the list of users that were generated. Milliseconds
 * are real ones, whatever clock the run lived by.
 */
export interface DemoReport {
  readonly users: number;
  readonly delivered: number;
  readonly lost: number;
  readonly duplicates: number;
  /** recorded ones */
  readonly in_doubt: number;
  readonly early: number;
  readonly groups: number;
  readonly group_max_over_mean: number;
  readonly nodes: number;
  readonly node_max_over_mean: number;
  readonly rescued_groups: number;
  readonly killed: number;
  readonly resumed_after_ms: number | null;
  readonly first_lateness_ms: number;
  readonly p50_lateness_ms: number;
  readonly p99_lateness_ms: number;
  /** of the moment that took longest */
  readonly makespan_ms: number;
  /** while moments lasted */
  readonly reminders_per_s: number;
  readonly ledger_imbalance: number;
}

/** What only Carillon itself can say: what it put on record. */
export interface Recorded {
  readonly inDoubt: number;
  readonly ledgerImbalance: number;
  /** "bucket:group" of groups that were taken back from a node that was lost */
  readonly rescuedGroups: ReadonlySet<string>;
}

export interface Kill {
  readonly node: string;
  /** epoch milliseconds */
  readonly atMs: number;
}

/**
 * @param users the outside ids of all users that were subscribed
 * @param log what the receiver got; other users in it are passed over
 * @param realTimeOf when, on real time, an instant came; both epoch milliseconds
 */
export async function demoReport(
  users: ReadonlySet<string>,
  log: AsyncIterable<ReceivedReminder>,
  recorded: Recorded,
  kill: Kill | null,
  realTimeOf: (dueAtMs: number) => number = (dueAtMs) => dueAtMs,
): Promise<DemoReport> {
  const reached = new Set<string>();
  const deliveries = new Set<string>();
  const byGroup = new Map<string, number>();
  const byNode = new Map<string, number>();
  const latenessMs: number[] = [];
  let entries = 0;
  let early = 0;
  const lastMs = new Map<number, number>();
  let resumedAtMs: number | null = null;
  for await (const entry of log) {
    if (!users.has(entry.user)) continue;
    entries += 1;
    const lateMs = entry.receivedAtMs - realTimeOf(entry.dueAtMs);
    if (lateMs < 0) early += 1;
    lastMs.set(entry.dueAtMs, Math.max(lastMs.get(entry.dueAtMs) ?? 0, lateMs));
    const group = `${entry.bucket}:${entry.group}`;
    if (!deliveries.has(entry.id)) {
      latenessMs.push(lateMs);
      byGroup.set(group, (byGroup.get(group) ?? 0) + 1);
      byNode.set(entry.node, (byNode.get(entry.node) ?? 0) + 1);
    }
    deliveries.add(entry.id);
    reached.add(entry.user);
    const resumes =
      kill !== null && entry.node !== kill.node && entry.receivedAtMs > kill.atMs && recorded.rescuedGroups.has(group);
    if (resumes) resumedAtMs = Math.min(resumedAtMs ?? Number.POSITIVE_INFINITY, entry.receivedAtMs);
  }
  latenessMs.sort((one, other) => one - other);
  const makespansMs = [...lastMs.values()];
  const sendingMs = makespansMs.reduce((sum, ms) => sum + ms, 0);
  return {
    users: users.size,
    delivered: reached.size,
    lost: users.size - reached.size,
    duplicates: entries - deliveries.size,
    in_doubt: recorded.inDoubt,
    early,
    groups: byGroup.size,
    group_max_over_mean: maxOverMean([...byGroup.values()]),
    nodes: byNode.size,
    node_max_over_mean: maxOverMean([...byNode.values()]),
    rescued_groups: recorded.rescuedGroups.size,
    killed: kill === null ? 0 : 1,
    resumed_after_ms: resumedAtMs === null || kill === null ? null : rounded(resumedAtMs - kill.atMs),
    first_lateness_ms: rounded(latenessMs[0] ?? 0),
    p50_lateness_ms: rounded(percentile(latenessMs, 0.5)),
    p99_lateness_ms: rounded(percentile(latenessMs, 0.99)),
    makespan_ms: rounded(Math.max(0, ...makespansMs)),
    reminders_per_s: sendingMs > 0 ? Math.round(deliveries.size / (sendingMs / 1000)) : 0,
    ledger_imbalance: recorded.ledgerImbalance,
  };
}

/**
 * What a run must show, in words; empty when it does.
 * @param window deliveries that one killed worker may leave in doubt
 */
export function demoFaults(report: DemoReport, window: number): string[] {
  const faults: string[] = [];
  const killed = report.killed > 0;
  if (report.lost > 0) faults.push(`${report.lost} users were not reached`);
  if (report.early > 0) faults.push(`${report.early} reminders came early`);
  if (report.duplicates > report.in_doubt) {
    faults.push(`${report.duplicates} duplicates, but only ${report.in_doubt} deliveries on record as in doubt`);
  }
  if (!killed && report.in_doubt > 0) faults.push(`${report.in_doubt} deliveries in doubt without a fault`);
  if (killed && report.in_doubt > window) faults.push(`${report.in_doubt} in doubt, more than the window of ${window}`);
  if (report.ledger_imbalance > 0) faults.push(`the ledger is off by ${report.ledger_imbalance}`);
  if (killed && report.rescued_groups === 0) faults.push("the kill led to no rescue");
  if (killed && report.resumed_after_ms === null) faults.push("no rescued group was seen to go on");
  return faults;
}

function maxOverMean(counts: readonly number[]): number {
  if (counts.length === 0) return 0;
  const mean = counts.reduce((sum, count) => sum + count, 0) / counts.length;
  return Math.round((Math.max(...counts) / mean) * 1000) / 1000;
}
