import { Command } from "commander";
import { type Config, readConfig, requireDatabaseUrl } from "../config.ts";
import { type Database, openDatabase } from "../store/database.ts";
import { assertMigrated } from "../store/migrate.ts";
import { checkDestinations, checkSecrets } from "./doctor-destinations.ts";
import { checkClock, checkPools, checkPostgres, checkZoneData } from "./doctor-postgres.ts";
import { exitCodes } from "./exit-code.ts";
import { explain } from "./explain.ts";
import { type Output, printable, tableOf } from "./table.ts";

/** What one look found. */
export type Finding =
  | { readonly check: string; readonly state: "ok" | "note" | "skipped"; readonly found: string }
  | { readonly check: string; readonly state: "problem"; readonly found: string; readonly toDo: string };

/** What all checks may ask. */
export interface Patient {
  readonly db: Database;
  readonly config: Config;
}

interface Check {
  readonly name: string;
  /** whether what comes after it has no sense without it */
  readonly vital?: true;
  look(patient: Patient): Promise<readonly Finding[]>;
}

const checks: readonly Check[] = [
  { name: "postgres", vital: true, look: checkPostgres },
  { name: "migrations", vital: true, look: checkMigrations },
  { name: "clock", look: checkClock },
  { name: "zone data", look: checkZoneData },
  { name: "connections", look: checkPools },
  { name: "secrets", look: checkSecrets },
  { name: "destinations", look: checkDestinations },
];

/** `carillon doctor`: looks at everything that a night's reminders need, and says what to do where something is wrong. */
export function doctorCommand(): Command {
  return new Command("doctor")
    .description("check Postgres, clocks, secrets and every destination; exit code 1 when something is wrong")
    .option("--json", "one JSON object")
    .addHelpText("after", "\nExample:\n  $ carillon doctor --json | jq '.findings[] | select(.state == \"problem\")'")
    .action(async ({ json }: { readonly json?: true }) => {
      const config = readConfig(process.env);
      await using db = openDatabase({ url: requireDatabaseUrl(config), applicationName: "carillon cli", max: 2 });
      const findings = await examine({ db, config });
      showFindings(findings, process.stdout, { json: json === true });
      if (!isWell(findings)) process.exitCode = exitCodes.failed;
    });
}

/** Looks at one thing after another; what fails to be looked at is a problem too. Never rejects. */
export async function examine(patient: Patient): Promise<readonly Finding[]> {
  const findings: Finding[] = [];
  let vitalFailed: string | null = null;
  for (const { name, vital, look } of checks) {
    if (vitalFailed !== null) {
      findings.push({ check: name, state: "skipped", found: `needs ${vitalFailed}` });
      continue;
    }
    const found = await look(patient).catch((error: unknown) => [unreadable(name, error)]);
    findings.push(...found);
    if (vital && !isWell(found)) vitalFailed = name;
  }
  return findings;
}

async function checkMigrations({ db }: Patient): Promise<readonly Finding[]> {
  await assertMigrated(db);
  return [{ check: "migrations", state: "ok", found: "up to date" }];
}

function unreadable(check: string, error: unknown): Finding {
  const { text, exitCode } = explain(error);
  // a stack is for a fault of ours; its first line says what
  return { check, state: "problem", found: text.split("\n")[0] ?? "", toDo: remedyOf(exitCode) };
}

function remedyOf(exitCode: number): string {
  switch (exitCode) {
    case exitCodes.unavailable:
      return "Look whether Postgres runs where DATABASE_URL says, and whether this machine may reach it.";
    case exitCodes.tryLater:
      return "Run carillon migrate with this version of the program.";
    case exitCodes.configuration:
      return "Correct the role, the password or the database in DATABASE_URL.";
    default:
      return "The code in brackets is explained in docs/errors.md; without one, report it as a fault of Carillon's.";
  }
}

function isWell(findings: readonly Finding[]): boolean {
  return !findings.some(({ state }) => state === "problem");
}

function showFindings(findings: readonly Finding[], out: Output, { json }: { readonly json: boolean }): void {
  if (json) {
    out.write(`${JSON.stringify({ well: isWell(findings), findings })}\n`);
    return;
  }
  const rows = findings.map(({ check, state, found }) => [check, state, found]);
  const problems = findings.flatMap((finding) =>
    finding.state === "problem"
      ? [`! ${printable(finding.check)}: ${printable(finding.found)}\n    to do: ${printable(finding.toDo)}`]
      : [],
  );
  const end = problems.length === 0 ? "Nothing is wrong." : ["SET THIS RIGHT", ...problems].join("\n");
  out.write(`${tableOf(["check", "state", "found"], rows)}\n${end}\n`);
}
