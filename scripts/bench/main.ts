import { cpus, totalmem } from "node:os";
import type { ContenderName } from "./contender.ts";
import { type BenchOptions, readOptions, usage } from "./options.ts";
import { progress, runProgram } from "./program.ts";
import { bestOf, type Ratios, type Row, ratiosOf, rowOf, type Target, tableOfRows, targetsOf } from "./report.ts";
import { type Entry, type Run, runOnce } from "./run.ts";
import { serverSettings, startBenchServer } from "./server.ts";

/** One object for programs; what `--json` prints. */
interface Report {
  readonly users: number;
  readonly rounds: number;
  readonly window: number;
  readonly machine: {
    readonly cpus: number;
    readonly model: string;
    readonly memoryGiB: number;
    readonly node: string;
    readonly postgres: string;
  };
  readonly settings: typeof serverSettings;
  /** every entry; of graphile-worker one a concurrency, with and without a log of users */
  readonly rows: readonly Row[];
  readonly ratios: Ratios;
  readonly targets: readonly Target[];
  readonly ok: boolean;
}

function entriesOf({ only, window }: BenchOptions): Entry[] {
  const entries: Entry[] = [
    { label: `Carillon, W = ${window}`, name: "carillon", window, concurrency: 0, logsUsers: true },
    ...[false, true].flatMap((logsUsers) =>
      [256, 512, 1000].map((concurrency) => ({
        label: `graphile-worker, a job per user${logsUsers ? " and a row" : ""}, ${concurrency} at once`,
        name: "graphile-worker" as const,
        window,
        concurrency,
        logsUsers,
      })),
    ),
    { label: "cron loop, batches of 500, 4 connections", name: "cron-loop", window, concurrency: 4, logsUsers: true },
  ];
  return entries.filter((entry) => only.includes(entry.name));
}

/** Rounds are interleaved, and each begins with another entry, so that a machine that slows down slows down all. */
async function measure(options: BenchOptions): Promise<Report> {
  const { users, rounds } = options;
  const entries = entriesOf(options);
  progress(`Postgres with ${users} users is being set up`);
  await using server = await startBenchServer(users);
  const runs = new Map<Entry, Run[]>(entries.map((entry) => [entry, []]));
  for (let round = 0; round < rounds; round += 1) {
    const first = round % entries.length;
    for (const entry of [...entries.slice(first), ...entries.slice(0, first)]) {
      const run = await runOnce(server, entry, options.profileDir);
      runs.get(entry)?.push(run);
      const perS = ((users / run.runMs) * 1000).toFixed(0);
      progress(`round ${round + 1}/${rounds}: ${entry.label}: ${perS}/s, enqueued in ${run.enqueueMs.toFixed(0)} ms`);
    }
  }
  const rowsOf = (name: ContenderName) =>
    entries.filter((entry) => entry.name === name).map((entry) => rowOf(entry, runs.get(entry) ?? [], users));
  const [carillon, graphile, cron] = [rowsOf("carillon"), rowsOf("graphile-worker"), rowsOf("cron-loop")];
  const ratios = ratiosOf({
    carillon: carillon[0],
    graphile: bestOf(graphile.filter((row) => !row.logsUsers)),
    graphileLogging: bestOf(graphile.filter((row) => row.logsUsers)),
    cron: cron[0],
  });
  const targets = targetsOf(carillon[0], ratios);
  return {
    users,
    rounds,
    window: options.window,
    machine: {
      cpus: cpus().length,
      model: cpus()[0]?.model ?? "",
      memoryGiB: Math.round(totalmem() / 2 ** 30),
      node: process.version,
      postgres: server.version,
    },
    settings: serverSettings,
    rows: [...carillon, ...graphile, ...cron],
    ratios,
    targets,
    ok: targets.every((target) => target.met),
  };
}

function textOf(report: Report): string {
  const { machine, ratios } = report;
  const shown = (name: string, ratio: number | null) => (ratio === null ? [] : [`${name}: ${ratio.toFixed(2)} x`]);
  return [
    `${report.users} users due at one instant, sending is a no-op, medians of ${report.rounds} rounds, per reminder.`,
    `${machine.cpus} x ${machine.model}, ${machine.memoryGiB} GiB, Node ${machine.node}, Postgres ${machine.postgres}, fsync on.`,
    tableOfRows(report.rows).trimEnd(),
    "graphile-worker deletes a completed job: that is its record of a user, where its task does not log a row.",
    ...shown("Carillon to graphile-worker's best, enqueueing not counted", ratios.toGraphileWorker),
    ...shown("Carillon to graphile-worker's best, enqueueing counted", ratios.toGraphileWorkerWithEnqueue),
    ...shown(
      "Carillon to graphile-worker's best with a row per user, enqueueing not counted",
      ratios.toGraphileLogging,
    ),
    ...shown(
      "Carillon to graphile-worker's best with a row per user, enqueueing counted",
      ratios.toGraphileLoggingWithEnqueue,
    ),
    ...shown("Carillon to the cron loop", ratios.toCronLoop),
    ...report.targets.map(
      ({ target, measured, met }) => `${met ? "met" : "MISSED"}: ${target} (${measured.toFixed(1)})`,
    ),
    "",
  ].join("\n");
}

await runProgram({ usage, readOptions, measure, textOf });
