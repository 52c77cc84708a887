import { writeFileSync } from "node:fs";
import { unreachable } from "../errors.ts";
import { type Apns, startApns } from "./apns.ts";
import { Arrivals } from "./arrivals.ts";
import { createAuthority } from "./certificate.ts";
import { type Fcm, startFcm } from "./fcm.ts";
import { scheduledFaults } from "./provider-fault.ts";
import type {
  AnswerCounts,
  FromProviders,
  ProviderFaults,
  ProviderOrder,
  ProviderProcessConfig,
  ToProviders,
} from "./provider-messages.ts";
import type { ProviderMessage } from "./provider-server.ts";
import { type ProviderChannel, ReceiverLog } from "./receiver-log.ts";
import { startWebPush, type WebPush } from "./web-push.ts";

/*
 * The providers' fakes as a program of their own, so that they take a core of their own and outlive a sender that is
 * killed:
 *   node provider-process.ts '{"channels":["fcm","apns"],"logFile":"received.ndjson","caFile":"ca.pem"}'
 * It ends at SIGTERM, SIGINT, a `stop` message or when its parent is gone, with its log written out.
 */

const progressEveryMs = 100;

interface Providers {
  readonly fcm: Fcm | null;
  readonly apns: Apns | null;
  readonly webPush: WebPush | null;
}

function say(message: FromProviders): void {
  if (process.connected) process.send?.(message);
}

async function start(config: ProviderProcessConfig, log: ReceiverLog | null, arrivals: Arrivals): Promise<Providers> {
  const { channels, host = "127.0.0.1", ports = {}, caFile, delayMs = 0, faults = {} } = config;
  const authority = createAuthority();
  if (caFile !== undefined) writeFileSync(caFile, authority.ca);
  const options = (channel: ProviderChannel) => ({
    authority,
    host,
    port: ports[channel] ?? 0,
    delayMs,
    onMessage: () => arrivals.add(1),
    ...(log === null ? {} : { log }),
    ...(config.maxConcurrentStreams === undefined ? {} : { maxConcurrentStreams: config.maxConcurrentStreams }),
  });
  const { tokenLifetimeSeconds = 3_600, decryptEvery = 1 } = config;
  const providers = {
    fcm: channels.includes("fcm") ? await startFcm({ ...options("fcm"), tokenLifetimeSeconds }) : null,
    apns: channels.includes("apns") ? await startApns(options("apns")) : null,
    webPush: channels.includes("web-push") ? await startWebPush({ ...options("web-push"), decryptEvery }) : null,
  };
  setFaults(providers, faults);
  return providers;
}

function setFaults({ fcm, apns, webPush }: Providers, faults: ProviderFaults): void {
  fcm?.setFaults(scheduled(faults.fcm));
  apns?.setFaults(scheduled(faults.apns));
  webPush?.setFaults(scheduled(faults["web-push"]));
}

function scheduled<Answer extends string>(schedule: Parameters<typeof scheduledFaults<Answer>>[0] = []) {
  const faults = scheduledFaults(schedule);
  return ({ address, receivedAtMs }: ProviderMessage) => faults(address, receivedAtMs);
}

function providerOf(providers: Providers, channel: ProviderChannel): Fcm | Apns | WebPush | null {
  return channel === "web-push" ? providers.webPush : providers[channel];
}

async function carryOut(providers: Providers, order: ProviderOrder): Promise<void> {
  switch (order.kind) {
    case "faults":
      return setFaults(providers, order.faults);
    case "door":
      return await providerOf(providers, order.channel)?.setDoor(order.door);
    case "streams":
      return providerOf(providers, order.channel)?.setMaxConcurrentStreams(order.maxConcurrentStreams);
    case "go_away":
      return providerOf(providers, order.channel)?.goAway(order);
    case "revoke_tokens":
      return providers.fcm?.revokeTokens();
    default:
      return unreachable(order);
  }
}

function answersOf({ fcm, apns, webPush }: Providers): AnswerCounts {
  return {
    ...(fcm === null ? {} : { fcm: Object.fromEntries(fcm.answers) }),
    ...(apns === null ? {} : { apns: Object.fromEntries(apns.answers) }),
    ...(webPush === null ? {} : { "web-push": Object.fromEntries(webPush.answers) }),
  };
}

async function main(json: string): Promise<void> {
  const config: ProviderProcessConfig = JSON.parse(json);
  const log = config.logFile === undefined ? null : new ReceiverLog(config.logFile);
  const arrivals = new Arrivals();
  const providers = await start(config, log, arrivals);
  const { fcm, apns, webPush } = providers;

  let told = 0;
  const tell = () => {
    told = arrivals.count;
    say({ kind: "progress", received: told, answers: answersOf(providers) });
  };
  const progress = setInterval(() => {
    if (arrivals.count !== told) tell();
  }, progressEveryMs);

  let stopping = false;
  const stop = async () => {
    if (stopping) return;
    stopping = true;
    clearInterval(progress);
    await Promise.all([fcm?.stop(), apns?.stop(), webPush?.stop()]);
    await log?.close();
    tell();
    if (process.connected) process.disconnect();
  };
  const notify = (count: number) => {
    void arrivals.when(count).then(() => {
      say({ kind: "reached", count, atMs: performance.timeOrigin + performance.now() });
    });
  };
  process.once("SIGTERM", stop);
  process.once("SIGINT", stop);
  process.once("disconnect", stop);
  process.on("message", (message: ToProviders) => {
    if (message.kind === "stop") void stop();
    else if (message.kind === "notify_at") notify(message.count);
    else void carryOut(providers, message.what).then(() => say({ kind: "done", order: message.order }));
  });

  if (config.notifyAt !== undefined) notify(config.notifyAt);
  const ca = (fcm ?? apns ?? webPush)?.ca;
  if (ca === undefined) throw new Error("no channels are given");
  say({
    kind: "ready",
    ready: {
      ca,
      fcm: fcm && { url: fcm.url, tokenUrl: fcm.tokenUrl, serviceAccount: fcm.serviceAccount },
      apns: apns && { url: apns.url, key: apns.key },
      webPush: webPush && { url: webPush.url, vapid: webPush.vapid, receivers: webPush.receivers },
    },
  });
}

try {
  await main(process.argv[2] ?? '{"channels":[]}');
} catch (error) {
  process.stderr.write(`The providers can't start: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exit(1);
}
