import { randomUUID } from "node:crypto";
import { Command, Option } from "commander";
import { addressRule } from "../channels/address-rule.ts";
import {
  type Channel,
  type ChannelName,
  channelNames,
  type Destination,
  type Message,
  type Outcome,
  type SendRequest,
} from "../channels/channel.ts";
import { createChannels, egressPolicy } from "../channels/channels.ts";
import type { Reply } from "../channels/lane.ts";
import { type Config, readConfig } from "../config.ts";
import { CarillonError, unreachable } from "../errors.ts";
import { openDestinations, readDestination } from "../store/destinations.ts";
import { exitCodes } from "./exit-code.ts";
import { say } from "./say.ts";
import { printable, tableOf } from "./table.ts";
import { withDatabase } from "./with-database.ts";

interface SendTestOptions {
  readonly channel: ChannelName;
  readonly destination: string;
  readonly address: string;
  readonly title: string;
  readonly body: string;
  readonly json?: true;
}

/** What became of the one reminder, and all that the far side said. */
export interface Trial {
  readonly outcome: Outcome;
  readonly tookMs: number;
  /** several where the first answer had us ask again, such as after a token that had expired */
  readonly replies: readonly Reply[];
}

/** A reminder that nobody waits for need not be kept for long by a provider. */
const expiresAfterMs = 600_000;

/** `carillon send-test`: whether a destination and an address work, without a topic, a schedule or a subscription. */
export function sendTestCommand(): Command {
  return new Command("send-test")
    .description("send one reminder to one address through the real channel and show the whole answer")
    .addOption(
      new Option("--channel <channel>", "which")
        .choices(channelNames.filter((name) => name !== "memory"))
        .makeOptionMandatory(),
    )
    .requiredOption("--destination <name>", "what it goes through, by the name that it has in Carillon")
    .requiredOption(
      "--address <address>",
      "device token, browser's subscription as JSON, or the user's id at a webhook",
    )
    .option("--title <text>", "of the message", "Carillon")
    .option("--body <text>", "of the message", "This is a test.")
    .option("--json", "one JSON object")
    .addHelpText("after", "\nExample:\n  $ carillon send-test --channel webhook --destination app --address alice")
    .action(async (options: SendTestOptions) => {
      const config = readConfig(process.env);
      const destination = await findDestination(options, config);
      const trial = await tryOut(destination, options, config);
      process.stdout.write(options.json ? `${JSON.stringify(forPrograms(trial))}\n` : forPeople(trial));
      if (trial.outcome.kind !== "accepted") process.exitCode = exitCodes.failed;
    });
}

async function findDestination({ channel, destination: name }: SendTestOptions, config: Config): Promise<Destination> {
  return withDatabase(async (db) => {
    const { destinationId, disabledAt } = await readDestination(db, name);
    const [destination] = await openDestinations(db.pool, [destinationId], config.secretKey);
    if (destination === undefined) throw new CarillonError("not_found", `There is no destination named ${name}.`);
    if (destination.channel !== channel) {
      throw new CarillonError("destination_mismatch", `${name} is a destination of ${destination.channel}.`);
    }
    if (disabledAt !== null) say(`${printable(name)} is disabled: what is due there is not sent. This test is.`);
    return destination;
  });
}

/** @throws CarillonError bad_address, and destination_mismatch where this program has no such channel */
async function tryOut(destination: Destination, options: SendTestOptions, config: Config): Promise<Trial> {
  const { title, body } = options;
  const address = addressRule(egressPolicy(config))(destination.channel, options.address);
  const message = { title, body, data: { test: true }, image: null, sound: null, link: null };
  const replies: Reply[] = [];
  const channels = createChannels(config, { onReply: (reply) => void replies.push(reply) });
  const channel = channels.find(({ name }) => name === destination.channel);
  if (channel === undefined) {
    throw new CarillonError("destination_mismatch", `This program does not have the channel ${destination.channel}.`);
  }
  try {
    const startedMs = performance.now();
    const outcome = await sendOne(channel, destination, { address, message }, config);
    return { outcome, tookMs: performance.now() - startedMs, replies };
  } finally {
    await Promise.all(channels.map((each) => each.close()));
  }
}

async function sendOne(
  channel: Channel,
  destination: Destination,
  { address, message }: { readonly address: string; readonly message: Message },
  config: Config,
): Promise<Outcome> {
  const nowMs = Date.now();
  const now = new Date(nowMs).toISOString();
  const { destinationId } = destination;
  // an id that no real delivery has, and no earlier test: receivers would take a repeat for known
  const deliveryId = `d_test_${randomUUID()}`;
  let outcome: Outcome | undefined;
  const request: SendRequest = {
    moment: {
      topic: "send-test",
      scheduleId: "0",
      occurrence: now,
      dueAt: now,
      expiresAt: new Date(nowMs + expiresAfterMs).toISOString(),
      bucketId: "0",
      groupNumber: 0,
      node: config.nodeName,
      priority: "high",
    },
    deliveries: [{ deliveryId, attempt: 0, address, destinationId, zone: null, locale: null, message }],
    destination,
    timeoutMs: config.worker.sendTimeoutMs,
    mayBegin: () => true,
    signal: new AbortController().signal,
    settle: (_indexes, [settled]) => {
      outcome = settled;
    },
  };
  await channel.send(request);
  if (outcome === undefined) throw new CarillonError("internal", "The channel did not say what became of it.");
  return outcome;
}

function forPrograms({ outcome, tookMs, replies }: Trial): object {
  return {
    ...outcome,
    meaning: meaningOf(outcome),
    tookMs: Math.round(tookMs),
    replies: replies.map(({ status, retryAfter, date, body, whole }) => ({
      status,
      retryAfter: retryAfter ?? null,
      date: date ?? null,
      body: body.toString("utf8"),
      whole,
    })),
  };
}

function forPeople({ outcome, tookMs, replies }: Trial): string {
  const { status, reason } = { status: null, reason: null, ...outcome };
  const columns = ["outcome", "status", "reason", "took"];
  const parts = [
    tableOf(columns, [[outcome.kind, status ?? replies.at(-1)?.status, reason, `${Math.round(tookMs)} ms`]]),
    `${meaningOf(outcome)}\n`,
    ...replies.map(replyText),
  ];
  return parts.join("");
}

function replyText({ status, retryAfter, body, whole, cutShort }: Reply): string {
  const wait = retryAfter === undefined ? "" : `, Retry-After: ${printable(retryAfter)}`;
  const text = body.length === 0 ? "(empty)" : body.toString("utf8").split(/\r?\n/).map(printable).join("\n");
  const end = whole ? "" : `\n(the reply ${cutShort})`;
  return `\nAnswered ${status}${wait}:\n${text}${end}\n`;
}

/** What would follow for a real delivery: docs/channels/README.md, "What becomes of a reminder". */
export function meaningOf(outcome: Outcome): string {
  switch (outcome.kind) {
    case "accepted":
      return "Taken by the far side. Whether a person saw it is not known to it.";
    case "rejected":
      return "The message is refused: a real delivery would have failed; the endpoint would stay.";
    case "gone":
      return "The address is no more: a real delivery would have failed, and the endpoint would be pruned.";
    case "retry":
      return "Certainly not sent: a real delivery would be tried again.";
    case "auth":
      return "The credential or the destination is refused: real deliveries would wait until it is set right.";
    case "in_doubt":
      return "Perhaps sent: at-least-once topics would send it again, at-most-once topics would not.";
    default:
      return unreachable(outcome);
  }
}
