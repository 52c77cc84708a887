import { createHash } from "node:crypto";
import { CarillonError, unreachable } from "../errors.ts";
import { type ProviderChannel, type ReceivedReminder, readReceiverLog } from "../fakes/receiver-log.ts";
import type { Lifecycle } from "../lifecycle.ts";
import { inDoubtCount, ledgerImbalance } from "../store/invariants.ts";
import { type ChannelsReport, channelsReport } from "./channels-report.ts";
import { whenClosed } from "./demo-closing.ts";
import { buildStage, type DemoStage, demoLeadMs } from "./demo-stage.ts";
import { type DemoUser, demoUsers } from "./demo-users.ts";
import { progress, say } from "./say.ts";

export const demoChannels = ["webhook", "fcm", "apns", "web-push"] as const;
export type DemoChannel = (typeof demoChannels)[number];

export interface ChannelsOptions {
  readonly channels: readonly DemoChannel[];
  readonly users: number;
  readonly batch: number;
  readonly databaseUrl: string | null;
}

/** A user who is reached over one channel, and what the far side knows them by. */
interface Reachable extends DemoUser {
  readonly channel: DemoChannel;
  readonly knownAs: string;
}

const expiresAfterMs = 600_000;

/**
 * One moment of users who are reached over several channels, dealt out in turn: through the channels as they are, to
 * providers that are played by processes of this machine, with their protocols, credentials and TLS.
 *
 * @returns the report, from what the far sides logged, and in words what must not be in it
 */
export async function runChannels(
  options: ChannelsOptions,
  lifecycle: Lifecycle,
): Promise<{ report: ChannelsReport; faults: readonly string[] }> {
  const { stopping } = lifecycle;
  const pushChannels = options.channels.filter((channel) => channel !== "webhook");
  const stage = await buildStage(lifecycle, { databaseUrl: options.databaseUrl, clock: {}, pushChannels });
  const { client, clock, db, receiver, providers } = stage;
  const users = dealt(demoUsers(options.users, stage.places), options.channels);
  await client.prepare(receiver.url, options.batch, {
    title: "We are live",
    body: "The stream has begun.",
    expiresAfterMs,
  });
  const registeredInMs = await registerAll(stage, users);
  const dueAtMs = Math.ceil(clock.shownIn(4000 + registeredInMs * 3 + demoLeadMs) / 1000) * 1000;
  const at = new Date(dueAtMs).toISOString();
  say(`The moment: ${at}.`);
  const [scheduleId = ""] = await client.subscribe(users, () => ({ at }), progress("Subscribed"));
  if (clock.realMsUntil(dueAtMs) < demoLeadMs) {
    throw new CarillonError("past_instant", "Subscribing took too long for the moment that was chosen; try again.");
  }
  const byWebhook = users.filter(({ channel }) => channel === "webhook").length;
  await Promise.all([
    receiver.whenReceived(byWebhook, stopping),
    providers?.running.whenReceived(users.length - byWebhook, stopping),
  ]);
  const bucketIds = [await whenClosed(db, scheduleId, stopping)];
  await Promise.all([receiver.stop(), providers?.running.stop()]);

  const report = channelsReport(
    new Map(users.map(({ userId, channel, knownAs }) => [`${channel} ${knownAs}`, { userId, channel }])),
    await entriesOf(stage),
    clock.realTimeOf(dueAtMs),
    { inDoubt: await inDoubtCount(db, bucketIds), ledgerImbalance: (await ledgerImbalance(db, bucketIds)).total },
  );
  return { report, faults: faultsIn(report) };
}

async function entriesOf({ logFile, providers }: DemoStage): Promise<readonly ReceivedReminder[]> {
  const webhooks = await Array.fromAsync(readReceiverLog(logFile));
  return providers === null ? webhooks : [...webhooks, ...(await Array.fromAsync(readReceiverLog(providers.logFile)))];
}

function dealt(users: readonly DemoUser[], channels: readonly DemoChannel[]): Reachable[] {
  return users.map((user, index) => {
    const channel = channels[index % channels.length] ?? "webhook";
    return { ...user, channel, knownAs: knownAs(user.userId, channel) };
  });
}

/** Apple's tokens are hexadecimal; elsewhere a user's id does. */
function knownAs(userId: string, channel: DemoChannel): string {
  return channel === "apns" ? createHash("sha256").update(userId).digest("hex") : userId;
}

/** @returns how long it took */
async function registerAll(stage: DemoStage, users: readonly Reachable[]): Promise<number> {
  const { client, providers } = stage;
  const [pushed, webhooks] = [
    users.filter(({ channel }) => channel !== "webhook"),
    users.filter(({ channel }) => channel === "webhook"),
  ];
  const tookMs = await client.register(webhooks, progress("Registered for webhooks"));
  if (providers === null) return tookMs;
  const channels = [...new Set(pushed.map(({ channel }) => channel))] as ProviderChannel[];
  const destinations = new Map(
    await Promise.all(
      channels.map(async (channel) => [channel, await addDestination(stage, providers.running, channel)] as const),
    ),
  );
  const addressOf = ({ channel, knownAs: address, userId }: Reachable) =>
    channel === "web-push" ? JSON.stringify(providers.running.subscribe(userId)) : address;
  const pushedInMs = await client.registerAt(
    pushed,
    (user) => ({
      userId: user.userId,
      channel: user.channel,
      destination: destinations.get(user.channel as ProviderChannel),
      address: addressOf(user),
    }),
    progress("Registered for push"),
  );
  return tookMs + pushedInMs;
}

type Running = NonNullable<DemoStage["providers"]>["running"];

/** The credentials that a provider takes, as an operator would give them. */
function addDestination({ client }: DemoStage, providers: Running, channel: ProviderChannel): Promise<string> {
  switch (channel) {
    case "fcm": {
      const { url, tokenUrl, serviceAccount } = existing(providers.fcm, channel);
      const { projectId, clientEmail, privateKey } = serviceAccount;
      return client.addDestination(channel, {
        url,
        serviceAccount: {
          type: "service_account",
          project_id: projectId,
          client_email: clientEmail,
          private_key: privateKey,
          token_uri: tokenUrl,
        },
      });
    }
    case "apns": {
      const { url, key } = existing(providers.apns, channel);
      return client.addDestination(channel, { url, ...key });
    }
    case "web-push": {
      const { vapid } = existing(providers.webPush, channel);
      return client.addDestination(channel, { subject: "mailto:demo@example.com", ...vapid });
    }
    default:
      return unreachable(channel);
  }
}

function existing<T>(provider: T | null, channel: ProviderChannel): T {
  if (provider === null) throw new Error(`there is no ${channel}`);
  return provider;
}

function faultsIn({ channels: _, ...report }: ChannelsReport): string[] {
  return (["lost", "duplicates", "in_doubt", "early", "ledger_imbalance"] as const).flatMap((name) =>
    report[name] === 0 ? [] : [`${name.replaceAll("_", " ")}: ${report[name]}`],
  );
}
