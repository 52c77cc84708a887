import { Argument, Command, Option } from "commander";
import { addressRule } from "../channels/address-rule.ts";
import { egressPolicy } from "../channels/channels.ts";
import { readConfig, requireDatabaseUrl } from "../config.ts";
import type { Kind } from "../import/kind.ts";
import { kinds } from "../import/kinds.ts";
import { runImport } from "../import/run-import.ts";
import { type Lifecycle, runUntilSignal } from "../lifecycle.ts";
import { createLogger } from "../logger.ts";
import { openDatabase } from "../store/database.ts";
import { type ImportFormat, type ImportKind, type ImportState, importKinds } from "../store/imports.ts";
import { assertMigrated } from "../store/migrate.ts";
import { exitCodes } from "./exit-code.ts";
import { FaultReport } from "./import-faults.ts";
import { faultsText, type ImportSummary, progressText, summaryText } from "./import-report.ts";
import { citiesSource, formatOf, type InspectedSource, openSource } from "./import-source.ts";
import { wholeNumber } from "./whole-number.ts";

interface Options {
  readonly format?: "csv" | "ndjson";
  readonly geonames?: true;
  readonly cityTimezones?: true;
  readonly errors?: string;
  readonly allowErrors?: true;
  readonly restart?: true;
  readonly batch?: number;
  readonly json?: true;
}

/** A statement works on a whole batch here, and may have to wait for what HTTP is doing to the same users. */
const statementTimeoutMs = 120_000;
const lockTimeoutMs = 30_000;
const progressEveryMs = 2000;

/** `carillon import`: files with what HTTP takes one by one (docs/importing.md). */
export function importCommand(): Command {
  return new Command("import")
    .description("read places, users, endpoints, subscriptions or timetables from a file")
    .addArgument(new Argument("<kind>", "what the file holds").choices(importKinds))
    .argument("[file]", "its name, or - for standard input")
    .addOption(new Option("--format <format>", "where the file's name doesn't say").choices(["csv", "ndjson"]))
    .option("--geonames", "places: the file is a dump of GeoNames")
    .option("--city-timezones", "places: the cities that come with this program, and no file")
    .option("--errors <file>", "write the lines that are left out, with the reasons, as NDJSON")
    .option("--allow-errors", "exit code 0 also where lines were left out")
    .option("--restart", "begin at the first line where an earlier run was cut off")
    .option("--batch <lines>", "lines in one transaction", wholeNumber(1, 100_000))
    .option("--json", "a summary as the last line of standard output")
    .addHelpText("after", "\nExample:\n  $ carillon import users users.csv --errors left-out.ndjson")
    .action(async (name: ImportKind, file: string | undefined, options: Options, command: Command) => {
      const format = chosenFormat(name, file, options, command);
      // where a signal comes before there is anything to go on with
      let exitCode: number = exitCodes.tryLater;
      const stopCode = await runUntilSignal(
        async (lifecycle) => {
          exitCode = await importFile(kinds[name], format, file ?? "", options, lifecycle);
        },
        { log: createLogger("error", "import") },
      );
      process.exitCode = stopCode === 0 ? exitCode : stopCode;
    });
}

/** Commander ends the command with what is wrong. */
function chosenFormat(kind: ImportKind, file: string | undefined, options: Options, command: Command): ImportFormat {
  const { geonames, cityTimezones, format } = options;
  const said = [format, geonames, cityTimezones].filter((option) => option !== undefined);
  if (said.length > 1) command.error("error: --format, --geonames and --city-timezones exclude each other");
  if ((geonames || cityTimezones) && kind !== "places") command.error(`error: that is for places, not for ${kind}`);
  if (cityTimezones) {
    if (file !== undefined) command.error("error: --city-timezones reads no file");
    return "city-timezones";
  }
  if (file === undefined) return command.error("error: missing required argument 'file'");
  if (geonames) return "geonames";
  const chosen = format ?? formatOf(file);
  if (chosen === null) return command.error(`error: say with --format what ${file} is: csv or ndjson`);
  if (kinds[kind].columns === null && chosen === "csv")
    command.error(`error: there is no CSV of ${kind}: write one JSON object a line`);
  return chosen;
}

/** @returns the exit code */
async function importFile(
  kind: Kind,
  format: ImportFormat,
  file: string,
  options: Options,
  lifecycle: Lifecycle,
): Promise<number> {
  const config = readConfig(process.env);
  const db = lifecycle.use(
    "database",
    openDatabase({
      url: requireDatabaseUrl(config),
      applicationName: "carillon import",
      max: 3,
      statementTimeoutMs,
      lockTimeoutMs,
      idleInTransactionTimeoutMs: 60_000,
    }),
  );
  await assertMigrated(db);
  const source = format === "city-timezones" ? await citiesSource() : await openSource(file, format, kind, lifecycle);
  await using faults = new FaultReport(options.errors);
  const progress = progressOf(source);
  const stopping = () => say("Stopping behind the lines that are being stored.\n");
  lifecycle.stopping.addEventListener("abort", stopping);
  const { state, finished } = await runImport(db, kind, source, {
    planHorizonMs: config.planner.horizonMs,
    addressRule: addressRule(egressPolicy(config)),
    batchLines: options.batch,
    restart: options.restart === true,
    signal: lifecycle.stopping,
    onBegin: async (begun) => {
      progress.begin(begun);
      const lacking = await faults.begin(begun);
      if (lacking > 0) say(`${options.errors} lacks ${lacking} of the lines that earlier runs left out.\n`);
    },
    onFaults: (found) => faults.add(found),
    onProgress: progress.tell,
  }).finally(() => lifecycle.stopping.removeEventListener("abort", stopping));

  const { startedAt: _, ...counts } = state;
  const pace = progress.pace(state);
  const { name, sha256, lines } = source;
  const summary = { kind: kind.name, source: name, sha256, lines, ...counts, ...pace, finished };
  say(summaryText(summary));
  if (state.bad > 0) say(faultsText(faults.shown, state.bad, options.errors));
  if (options.json) process.stdout.write(`${JSON.stringify(summary)}\n`);
  if (!finished) return exitCodes.tryLater;
  return state.bad > 0 && !options.allowErrors ? exitCodes.failed : exitCodes.ok;
}

interface Progress {
  begin(state: ImportState): void;
  tell(state: ImportState): void;
  pace(state: ImportState): Pick<ImportSummary, "resumedBehind" | "seconds" | "linesPerSecond">;
}

/** Says every two seconds how far an import is, which a quick one never does. */
function progressOf({ lines }: InspectedSource): Progress {
  let begunAtMs = performance.now();
  let toldAtMs = begunAtMs;
  let resumedBehind = 0;
  const pace: Progress["pace"] = ({ linesDone }) => {
    const seconds = (performance.now() - begunAtMs) / 1000;
    return { resumedBehind, seconds, linesPerSecond: Math.round((linesDone - resumedBehind) / seconds) };
  };
  return {
    begin: ({ linesDone, startedAt }) => {
      begunAtMs = toldAtMs = performance.now();
      resumedBehind = linesDone;
      if (linesDone === 0) return;
      const since = startedAt.toISOString();
      say(`Going on behind line ${linesDone} of the import of ${since}; --restart begins at the first line.\n`);
    },
    tell: (state) => {
      if (performance.now() - toldAtMs < progressEveryMs) return;
      toldAtMs = performance.now();
      say(progressText(state, lines, pace(state).linesPerSecond));
    },
    pace,
  };
}

function say(text: string): void {
  process.stderr.write(text);
}
