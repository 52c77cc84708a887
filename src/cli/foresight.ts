import { Command, InvalidArgumentError } from "commander";
import { cutOptions } from "../app.ts";
import { readConfig, zoneDataVersion } from "../config.ts";
import { explainUser } from "../planner/explain.ts";
import { previewMax, previewSchedule } from "../planner/preview.ts";
import { rehearsePlan } from "../planner/rehearse.ts";
import { parseInstant } from "../timetable/rule-check.ts";
import { explanationText } from "./explanation-text.ts";
import { planText } from "./plan-text.ts";
import { previewText } from "./preview-text.ts";
import { withDatabase } from "./with-database.ts";

interface Format {
  readonly json?: true;
}

/** The verbs that say what will happen: docs/time.md, "Preview and explain". They change nothing. */
export function foresightCommands(): Command[] {
  return [previewCommand(), explainCommand(), planCommand()];
}

function previewCommand(): Command {
  return new Command("preview")
    .description("the next moments of a schedule, what gives them, and what is odd about them")
    .argument("<schedule>", "its number", scheduleNumber)
    .option("--count <n>", "how many", countOf, 10)
    .option("--from <time>", "after this instant instead of now", instantOf)
    .option("--json", "one JSON object")
    .addHelpText("after", "\nExample:\n  $ carillon preview 12 --count 20 --from 2027-03-20T00:00:00Z")
    .action(async (schedule: string, { count, from, json }: Format & { count: number; from?: number }) => {
      const options = { count, fromMs: from ?? null, tzdata: zoneDataVersion };
      const preview = await withDatabase((db) => previewSchedule(db, schedule, options));
      process.stdout.write(json ? `${JSON.stringify(preview)}\n` : previewText(preview, count));
    });
}

function explainCommand(): Command {
  return new Command("explain")
    .description("what a user gets within 24 hours, when and by which endpoint, and if not, why not")
    .argument("<user>", "the user's id")
    .option("--at <time>", "the 24 hours after this instant instead of now", instantOf)
    .option("--json", "one JSON object")
    .addHelpText("after", "\nExample:\n  $ carillon explain ada --at 2027-03-28T00:00:00Z")
    .action(async (user: string, { at, json }: Format & { at?: number }) => {
      const explanation = await withDatabase((db) =>
        explainUser(db, user, { atMs: at ?? null, tzdata: zoneDataVersion }),
      );
      process.stdout.write(json ? `${JSON.stringify(explanation)}\n` : explanationText(explanation));
    });
}

function planCommand(): Command {
  return new Command("plan")
    .description("what planning and cutting would do: moments, people, groups")
    .requiredOption("--dry-run", "only say so: planning itself is what planning nodes do")
    .option("--at <time>", "as if it were this instant instead of now", instantOf)
    .option("--within <duration>", "how far ahead, such as 90s, 30min, 1h, 2d", durationOf, 3_600_000)
    .option("--json", "one JSON object")
    .addHelpText("after", "\nExample:\n  $ carillon plan --dry-run --at 2027-03-28T00:00:00Z --within 2h")
    .action(async ({ at, within, json }: Format & { at?: number; within: number }) => {
      const cut = cutOptions(readConfig(process.env));
      const plan = await withDatabase((db) =>
        rehearsePlan(db, { atMs: at ?? null, withinMs: within, cut, tzdata: zoneDataVersion }),
      );
      process.stdout.write(json ? `${JSON.stringify(plan)}\n` : planText(plan));
    });
}

function scheduleNumber(text: string): string {
  if (!/^[1-9]\d{0,17}$/.test(text)) throw new InvalidArgumentError("It must be a number.");
  return text;
}

function countOf(text: string): number {
  const count = /^\d{1,4}$/.test(text) ? Number(text) : 0;
  if (count < 1 || count > previewMax) throw new InvalidArgumentError(`It must be a number from 1 to ${previewMax}.`);
  return count;
}

function instantOf(text: string): number {
  try {
    return Date.parse(parseInstant(text, ""));
  } catch (error) {
    throw new InvalidArgumentError(error instanceof Error ? error.message : String(error));
  }
}

const unitsMs: Readonly<Record<string, number>> = { s: 1000, min: 60_000, h: 3_600_000, d: 86_400_000 };
const withinMaxMs = 31 * 86_400_000;

function durationOf(text: string): number {
  const [, number, unit = ""] = /^(\d{1,6})(s|min|h|d)$/.exec(text) ?? [];
  const durationMs = Number(number) * (unitsMs[unit] ?? Number.NaN);
  if (durationMs > 0 && durationMs <= withinMaxMs) return durationMs;
  throw new InvalidArgumentError("Say it like 90s, 30min, 1h or 2d, up to 31 days.");
}
