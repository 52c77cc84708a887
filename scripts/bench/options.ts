import { parseArgs } from "node:util";
import { CarillonError } from "../../src/errors.ts";
import { type ContenderName, contenderNames, isContenderName } from "./contender.ts";

/** What one call of `npm run bench` does. */
export interface BenchOptions {
  /** due at the one instant, each with one endpoint */
  readonly users: number;
  /** how often each contender runs; medians are taken over them */
  readonly rounds: number;
  /** one JSON object on stdout instead of a table */
  readonly json: boolean;
  readonly only: readonly ContenderName[];
  /** CARILLON_WINDOW of Carillon's node: deliveries under way at most */
  readonly window: number;
  /** where each contender's process leaves a CPU profile; null: none is taken, since that costs time */
  readonly profileDir: string | null;
  readonly help: boolean;
}

export const usage = `npm run bench -- [--users N] [--rounds R] [--json] [--only NAME]... [--window W] [--profile DIR]

  --users N      users due at one instant (50000)
  --rounds R     rounds; each contender runs once in each (3)
  --json         one JSON object on stdout instead of the table
  --only NAME    this contender alone: ${contenderNames.join(", ")} (may be given again)
  --window W     deliveries under way at most in Carillon's worker (3840)
  --profile DIR  a CPU profile of each contender's process (makes it slower)
`;

/**
 * Reads the arguments of `npm run bench`.
 * @throws CarillonError bad_configuration, with a sentence that says what is wrong
 */
export function readOptions(args: readonly string[]): BenchOptions {
  const values = parse(args);
  const only = (values.only ?? []).map((name) => {
    if (isContenderName(name)) return name;
    throw mistaken(`--only must be one of ${contenderNames.join(", ")}, not "${name}".`);
  });
  return {
    users: whole("--users", values.users, 50_000, 500, 10_000_000),
    rounds: whole("--rounds", values.rounds, 3, 1, 100),
    json: values.json ?? false,
    only: only.length === 0 ? contenderNames : only,
    window: whole("--window", values.window, 3840, 1, 100_000),
    profileDir: values.profile ?? null,
    help: values.help ?? false,
  };
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        users: { type: "string" },
        rounds: { type: "string" },
        json: { type: "boolean" },
        only: { type: "string", multiple: true },
        window: { type: "string" },
        profile: { type: "string" },
        help: { type: "boolean" },
      },
    }).values;
  } catch (error) {
    throw mistaken(error);
  }
}

/** @throws CarillonError bad_configuration */
export function whole(name: string, text: string | undefined, preset: number, least: number, most: number): number {
  if (text === undefined) return preset;
  const value = Number(text);
  if (/^\d{1,9}$/.test(text) && value >= least && value <= most) return value;
  throw mistaken(`${name} must be a whole number from ${least} to ${most}, not "${text}".`);
}

/** A mistake on the command line, or what the parser says of one. */
export function mistaken(sentence: unknown): CarillonError {
  return new CarillonError("bad_configuration", sentence instanceof Error ? sentence.message : String(sentence));
}
