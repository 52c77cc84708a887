import { tableOf } from "../../src/cli/table.ts";
import type { Entry, Run } from "./run.ts";

/** The medians of one entry's rounds. Per reminder where the name says so. */
export interface Row {
  readonly contender: string;
  readonly concurrency: number;
  readonly logsUsers: boolean;
  readonly rounds: number;
  /** from due to the last durable record */
  readonly remindersPerS: number;
  /** with the time that enqueueing took added */
  readonly remindersPerSWithEnqueue: number;
  readonly walBytesPerReminder: number;
  readonly walBytesPerReminderWithEnqueue: number;
  readonly ledgerBytesPerReminder: number | null;
  readonly nodeCpuUsPerReminder: number;
  readonly postgresCpuUsPerReminder: number;
  readonly firstLatenessMs: number;
}

export interface Target {
  readonly target: string;
  readonly measured: number;
  readonly met: boolean;
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((one, other) => one - other);
  const middle = Math.floor(sorted.length / 2);
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}

export function rowOf(entry: Entry, runs: readonly Run[], users: number): Row {
  const of = (measure: (run: Run) => number) => median(runs.map(measure));
  return {
    contender: entry.label,
    concurrency: entry.concurrency,
    logsUsers: entry.logsUsers,
    rounds: runs.length,
    remindersPerS: of((run) => (users / run.runMs) * 1000),
    remindersPerSWithEnqueue: of((run) => (users / (run.runMs + run.enqueueMs)) * 1000),
    walBytesPerReminder: of((run) => run.run.walBytes / users),
    walBytesPerReminderWithEnqueue: of((run) => (run.run.walBytes + run.enqueue.walBytes) / users),
    ledgerBytesPerReminder: runs.some((run) => run.ledgerBytes === null)
      ? null
      : of((run) => (run.ledgerBytes ?? 0) / users),
    nodeCpuUsPerReminder: of((run) => (run.run.nodeCpuMs / users) * 1000),
    postgresCpuUsPerReminder: of((run) => (run.run.postgresCpuMs / users) * 1000),
    firstLatenessMs: of((run) => run.firstLatenessMs),
  };
}

/** Of the settings that a contender was tried with, the one with the most reminders a second. */
export function bestOf(rows: readonly Row[]): Row | undefined {
  return rows.toSorted((one, other) => other.remindersPerS - one.remindersPerS)[0];
}

export interface Ratios {
  /** to a task that does nothing: the completed job's deletion is the record */
  readonly toGraphileWorker: number | null;
  readonly toGraphileWorkerWithEnqueue: number | null;
  /** to a task that logs its user in a table */
  readonly toGraphileLogging: number | null;
  readonly toGraphileLoggingWithEnqueue: number | null;
  readonly toCronLoop: number | null;
}

/** Those that are compared, each in its best setting. */
export interface Compared {
  readonly carillon: Row | undefined;
  readonly graphile: Row | undefined;
  readonly graphileLogging: Row | undefined;
  readonly cron: Row | undefined;
}

/** How many times as many reminders a second Carillon makes; null where one of the two did not run. */
export function ratiosOf({ carillon, graphile, graphileLogging, cron }: Compared): Ratios {
  const ratio = (other: Row | undefined, measure: (row: Row) => number) =>
    carillon === undefined || other === undefined ? null : measure(carillon) / measure(other);
  return {
    toGraphileWorker: ratio(graphile, (row) => row.remindersPerS),
    toGraphileWorkerWithEnqueue: ratio(graphile, (row) => row.remindersPerSWithEnqueue),
    toGraphileLogging: ratio(graphileLogging, (row) => row.remindersPerS),
    toGraphileLoggingWithEnqueue: ratio(graphileLogging, (row) => row.remindersPerSWithEnqueue),
    toCronLoop: ratio(cron, (row) => row.remindersPerS),
  };
}

export const leastRatioToGraphileWorker = 8;
export const mostWalBytesPerReminder = 30;

/**
 * What must hold; a target whose contenders did not run is left out. The ratio is held against what does the same job:
 * a durable record of each user, and getting ready counted as well. The ratios to a task that does nothing are printed
 * beside it.
 */
export function targetsOf(carillon: Row | undefined, ratios: Ratios): Target[] {
  const targets: Target[] = [];
  const measured = ratios.toGraphileLoggingWithEnqueue;
  if (measured !== null) {
    targets.push({
      target: `at least ${leastRatioToGraphileWorker} x graphile-worker, one job per user and a row, enqueueing counted`,
      measured,
      met: measured >= leastRatioToGraphileWorker,
    });
  }
  if (carillon !== undefined) {
    targets.push({
      target: `at most ${mostWalBytesPerReminder} bytes of WAL a delivered reminder`,
      measured: carillon.walBytesPerReminder,
      met: carillon.walBytesPerReminder <= mostWalBytesPerReminder,
    });
  }
  return targets;
}

/** The rows as a table for people. */
export function tableOfRows(rows: readonly Row[]): string {
  return tableOf(
    [
      "",
      "k/s",
      "k/s, enqueueing counted",
      "WAL B",
      "with enqueueing",
      "ledger B",
      "Node us",
      "Postgres us",
      "first send ms late",
    ],
    rows.map((row) => [
      row.contender,
      (row.remindersPerS / 1000).toFixed(1),
      (row.remindersPerSWithEnqueue / 1000).toFixed(1),
      row.walBytesPerReminder.toFixed(1),
      row.walBytesPerReminderWithEnqueue.toFixed(1),
      row.ledgerBytesPerReminder?.toFixed(1) ?? "none kept",
      row.nodeCpuUsPerReminder.toFixed(1),
      row.postgresCpuUsPerReminder.toFixed(1),
      row.firstLatenessMs.toFixed(1),
    ]),
  );
}
