import { Command } from "commander";
import { exitCodes } from "./exit-code.ts";
import { askQuestion, listQuestions, readQuestions } from "./sql.ts";
import { showStatus } from "./status.ts";
import { withDatabase } from "./with-database.ts";

interface Format {
  readonly json?: true;
}

/** The verbs that look and change nothing. */
export function inspectCommands(): Command[] {
  const status = new Command("status")
    .description("what is late and why, what is under way, what comes next; exit code 1 when something needs a hand")
    .option("--json", "one JSON object")
    .addHelpText("after", "\nExample:\n  $ carillon status --json | jq .attention")
    .action(async ({ json }: Format) => {
      const well = await withDatabase((db) => showStatus(db, process.stdout, { json: json === true }));
      if (!well) process.exitCode = exitCodes.failed;
    });
  const sql = new Command("sql")
    .description("ask one of the questions of docs/inspection.md; without one, list them")
    .argument("[question]")
    .argument("[values...]")
    .option("--json", "an array of objects")
    .addHelpText("after", "\nExample:\n  $ carillon sql received alice")
    .action(async (name: string | undefined, values: readonly string[], { json }: Format) => {
      const questions = await readQuestions();
      const format = { json: json === true };
      if (name === undefined) listQuestions(questions, process.stdout, format);
      else await withDatabase((db) => askQuestion(db, questions, { name, values }, process.stdout, format));
    });
  return [status, sql];
}
