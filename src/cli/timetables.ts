import { readFile } from "node:fs/promises";
import { Command, InvalidArgumentError } from "commander";
import { readConfig } from "../config.ts";
import { CarillonError } from "../errors.ts";
import { diffTimetable, type TimetableDiff } from "../planner/timetable-diff.ts";
import type { Database } from "../store/database.ts";
import { type ChangedVersion, changeVersions } from "../store/timetable-change.ts";
import { listTimetables, listVersions, readTimetable } from "../store/timetables.ts";
import type { VersionChange } from "../store/version-change.ts";
import { type CivilDate, formatDate, parseDate } from "../timetable/civil-time.ts";
import { parseTableCsv } from "../timetable/table-csv.ts";
import { slotsOf } from "../timetable/timetable.ts";
import { type Output, tableOf } from "./table.ts";
import { withDatabase } from "./with-database.ts";

interface Format {
  readonly json?: true;
}

interface SetOptions extends Format {
  readonly file: string;
  readonly from?: CivilDate;
  readonly note?: string;
  readonly dryRun?: true;
}

/** `carillon timetables`: what gives places their times, and corrections of it. */
export function timetablesCommand(): Command {
  const set = new Command("set")
    .description("correct a timetable from a file: the version that holds today, or the one from a date on")
    .argument("<name>", "the timetable's name")
    .requiredOption("--file <file>", "its parameters as JSON; for an uploaded table, CSV (.csv)")
    .option("--from <date>", "the first date on which it holds; without it: what holds today is corrected", dateOf)
    .option("--note <text>", "why, for people")
    .option("--dry-run", "say what it would do, and change nothing")
    .option("--json", "one JSON object")
    .addHelpText(
      "after",
      "\nExample:\n  $ carillon timetables set city --file city.json --dry-run\n  $ carillon timetables set mosque --file 2027.csv --from 2027-01-01",
    )
    .action(async (name: string, _: unknown, command: Command) => {
      // the command above has --json, too, and takes it
      const options: SetOptions = command.optsWithGlobals();
      await withDatabase((db) =>
        setTimetable(db, name, options, readConfig(process.env).planner.horizonMs, process.stdout),
      );
    });
  return new Command("timetables")
    .description("list timetables; one: its versions; set: correct one")
    .argument("[name]")
    .option("--json", "one JSON object")
    .addHelpText("after", "\nExample:\n  $ carillon timetables prayer")
    .action(async (name: string | undefined, { json }: Format) => {
      await withDatabase((db) =>
        name === undefined
          ? showTimetables(db, process.stdout, json === true)
          : showVersions(db, name, process.stdout, json === true),
      );
    })
    .addCommand(set);
}

/** Writes all timetables, each with the version that holds today. */
export async function showTimetables(db: Database, out: Output, json: boolean): Promise<void> {
  const timetables = (await listTimetables(db, { after: null, limit: 1000 })).map((each) => ({
    name: each.name,
    kind: each.timetable.kind,
    version: each.version,
    effectiveFrom: shownDate(each.effectiveFrom),
    note: each.note,
    updatedAt: each.updatedAt,
    slots: slotsOf(each.timetable),
  }));
  if (json) {
    out.write(`${JSON.stringify({ timetables })}\n`);
    return;
  }
  const rows = timetables.map((each) => [
    each.name,
    each.kind,
    each.version,
    each.effectiveFrom ?? "since ever",
    each.updatedAt,
    each.note,
  ]);
  out.write(tableOf(["timetable", "kind", "version today", "from", "corrected", "note"], rows));
}

/** Writes the versions of one. @throws CarillonError not_found */
export async function showVersions(db: Database, name: string, out: Output, json: boolean): Promise<void> {
  const today = await readTimetable(db, name);
  const versions = (await listVersions(db, name)).map(({ timetable, ...each }) => {
    const { kind: _, ...parameters } = timetable;
    return {
      ...each,
      effectiveFrom: shownDate(each.effectiveFrom),
      holdsToday: each.version === today.version,
      parameters,
    };
  });
  if (json) {
    out.write(`${JSON.stringify({ name, kind: today.timetable.kind, versions })}\n`);
    return;
  }
  const rows = versions.map((each) => [
    each.version,
    each.effectiveFrom ?? "since ever",
    each.holdsToday ? "yes" : "",
    each.createdAt,
    each.updatedAt,
    each.note,
    short(JSON.stringify(each.parameters)),
  ]);
  out.write(`${name}, kind ${today.timetable.kind}\n`);
  out.write(tableOf(["version", "from", "today", "made", "corrected", "note", "parameters"], rows));
}

/**
 * Corrects a timetable from a file and writes what that does to the moments ahead.
 *
 * @param horizonMs how far ahead moments are planned
 * @throws CarillonError not_found, version_overlaps, and what is wrong with the file
 */
export async function setTimetable(
  db: Database,
  name: string,
  { file, from, note, dryRun = false, json }: Omit<SetOptions, "dryRun"> & { readonly dryRun?: boolean },
  horizonMs: number,
  out: Output,
): Promise<void> {
  const said = { ...(await readParameters(file)), note };
  const change: VersionChange =
    from === undefined ? { kind: "correct", version: "today", ...said } : { kind: "set", effectiveFrom: from, ...said };
  const changed = await changeVersions(db, name, change, {
    dryRun,
    foresee: (client, foreseen) => diffTimetable(client, foreseen, horizonMs),
  });
  const { version, created, foreseen: diff } = changed;
  if (json) {
    const { effectiveFrom } = version;
    const body = { name, version: version.version, effectiveFrom: shownDate(effectiveFrom), created, dryRun, diff };
    out.write(`${JSON.stringify(body)}\n`);
    return;
  }
  out.write(`${sentenceOf(name, changed, dryRun)}\n${diff === undefined ? "" : diffText(diff)}`);
}

async function readParameters(file: string): Promise<{ parameters: unknown; of?: string }> {
  const text = await readFile(file, "utf8").catch((error: Error) => {
    throw new CarillonError("invalid_request", `The file can't be read: ${error.message}`, { cause: error });
  });
  if (/\.csv$/i.test(file)) {
    const { kind, ...parameters } = parseTableCsv(text);
    return { parameters, of: kind };
  }
  try {
    return { parameters: JSON.parse(text) };
  } catch (error) {
    throw new CarillonError("malformed_json", `${file} is neither .csv nor valid JSON.`, { cause: error });
  }
}

function sentenceOf(name: string, { version, created }: ChangedVersion<unknown>, dryRun: boolean): string {
  const verb = created ? "is made" : "is corrected";
  const from = version.effectiveFrom === null ? "since ever" : `from ${formatDate(version.effectiveFrom)} on`;
  const dry = dryRun ? " Dry run: nothing was changed." : "";
  return `Version ${version.version} of ${name} ${verb}; it holds ${from}.${dry}`;
}

function diffText({ moments, more, claimed }: TimetableDiff): string {
  const kept = claimed === 0 ? "" : `${claimed} that would be others are claimed already, and stay.\n`;
  if (moments.length === 0) return `No moment within the planner's horizon changes.\n${kept}`;
  const rows = moments.map((each) => [
    each.topic,
    each.place.key,
    each.slot,
    each.localDate,
    each.change,
    each.from,
    each.to,
    each.people,
  ]);
  const table = tableOf(["topic", "place", "slot", "date", "what", "from", "to", "people"], rows);
  return `${table}${more ? "These are the first of more.\n" : ""}${kept}`;
}

function dateOf(text: string): CivilDate {
  const date = parseDate(text);
  if (date === null) throw new InvalidArgumentError("It must be a date of the calendar, like 2026-11-24.");
  return date;
}

function shownDate(date: CivilDate | null): string | null {
  return date === null ? null : formatDate(date);
}

function short(text: string): string {
  return text.length <= 60 ? text : `${text.slice(0, 59)}…`;
}
