import { unreachable } from "../../../src/errors.ts";
import { startBare, startEncryption, startFlood } from "./bare.ts";
import { startOurs } from "./ours.ts";
import { startPeer } from "./peers.ts";
import { type Answer, deliveriesOf, type Question, type Sender, type SenderConfig, type Sent } from "./sender.ts";

/** The program that a sender's process runs: it sends to the users that the bench names, until it is let go. */

const config = JSON.parse(process.argv[2] ?? "") as SenderConfig;
process.once("disconnect", () => process.exit());
try {
  const sender = await start(config);
  process.on("message", (question: Question) => {
    sendTo(sender, question).then((sent) => say({ kind: "sent", ...sent }), fail);
  });
  say({ kind: "ready", sentAhead: sender.sentAhead ?? 0 });
} catch (error) {
  fail(error);
}

async function sendTo(sender: Sender, question: Question): Promise<Sent> {
  const deliveries = deliveriesOf(config, question);
  const cpuBefore = process.cpuUsage();
  const mainBefore = process.threadCpuUsage();
  const from = performance.now();
  const accepted = await sender.send(deliveries);
  const elapsedMs = performance.now() - from;
  const cpu = process.cpuUsage(cpuBefore);
  const main = process.threadCpuUsage(mainBefore);
  return {
    accepted,
    elapsedMs,
    cpuMs: (cpu.user + cpu.system) / 1_000,
    mainCpuMs: (main.user + main.system) / 1_000,
  };
}

function start(options: SenderConfig): Promise<Sender> {
  switch (options.kind) {
    case "carillon":
      return startOurs(options);
    case "bare":
      return startBare(options);
    case "encryption":
      return startEncryption(options);
    case "flood":
      return startFlood(options);
    case "peer":
      return startPeer(options);
    default:
      return unreachable(options.kind);
  }
}

function fail(error: unknown): void {
  say({ kind: "failed", why: error instanceof Error ? (error.stack ?? error.message) : String(error) });
}

function say(answer: Answer): void {
  if (process.connected) process.send?.(answer);
}
