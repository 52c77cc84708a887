import { parseArgs } from "node:util";
import type { ProviderChannel } from "../../../src/fakes/receiver-log.ts";
import { mistaken, whole } from "../options.ts";
import { benchChannels } from "./sender.ts";

/** What one call of `npm run bench:channels` does. */
export interface ChannelBenchOptions {
  /** each is sent one message by each sender in each round */
  readonly users: number;
  /** how often each sender runs; medians are taken over them */
  readonly rounds: number;
  readonly only: readonly ProviderChannel[];
  /** one JSON object on stdout instead of a table */
  readonly json: boolean;
  /** where each sender's process leaves a CPU profile; null: none is taken, since that costs time */
  readonly profileDir: string | null;
  readonly help: boolean;
}

export const usage = `npm run bench:channels -- [--users N] [--rounds R] [--only CHANNEL]... [--json] [--profile DIR]

  --users N       messages that each sender sends in a round (20000)
  --rounds R      rounds; medians are taken over them (5)
  --only CHANNEL  this channel alone: ${benchChannels.join(", ")} (may be given again)
  --json          one JSON object on stdout instead of the table
  --profile DIR   a CPU profile of each sender's process (makes it slower)
`;

/**
 * Reads the arguments of `npm run bench:channels`.
 * @throws CarillonError bad_configuration, with a sentence that says what is wrong
 */
export function readOptions(args: readonly string[]): ChannelBenchOptions {
  const values = parse(args);
  const only = (values.only ?? []).map((name) => {
    const channel = benchChannels.find((known) => known === name);
    if (channel !== undefined) return channel;
    throw mistaken(`--only must be one of ${benchChannels.join(", ")}, not "${name}".`);
  });
  return {
    users: whole("--users", values.users, 20_000, 500, 10_000_000),
    rounds: whole("--rounds", values.rounds, 5, 1, 100),
    only: only.length === 0 ? benchChannels : only,
    json: values.json ?? false,
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
        only: { type: "string", multiple: true },
        json: { type: "boolean" },
        profile: { type: "string" },
        help: { type: "boolean" },
      },
    }).values;
  } catch (error) {
    throw mistaken(error);
  }
}
