import { type ClockReading, clockAt, realTime, realTimeOf } from "../clock.ts";
import type { FromReceiver, ReceiverProcessConfig, ToReceiver } from "./receiver-messages.ts";
import { type Fault, startWebhookReceiver, type WebhookReceiver } from "./webhook-receiver.ts";
import type { ReceivedRequest } from "./webhook-request.ts";

/*
 * A webhook receiver as a program of its own, so that it takes a core of its own and outlives a sender that is killed:
 *   node webhook-receiver-process.ts '{"port":0,"logFile":"received.ndjson"}' [--print]
 * With --print it writes one line a reminder for people to read. It ends at SIGTERM, SIGINT, a `stop` message or when
 * its parent is gone, with its log written out.
 */

const progressEveryMs = 100;

function say(message: FromReceiver): void {
  if (process.connected) process.send?.(message);
}

/** The time is the clock's that due instants live by; how late it is, is real. */
function printed(request: ReceivedRequest, clock: ClockReading): string {
  const at = new Date(clockAt(clock, request.receivedAtMs)).toISOString().slice(11, 23);
  const late = `+${Math.round(request.receivedAtMs - realTimeOf(clock, request.dueAtMs))} ms`;
  // Titles and user ids come from outside: quoted, so that no control character reaches the terminal.
  return request.reminders
    .map(({ user, title = request.title }) => {
      const tries = request.attempt === 0 ? "" : `, try ${request.attempt + 1}`;
      return `${at}  ${late.padStart(8)}  ${JSON.stringify(user)}  ${JSON.stringify(title)}  (${request.topic}, group ${request.group} by ${request.node}${tries})\n`;
    })
    .join("");
}

function scheduledFaults(faultEvery: ReceiverProcessConfig["faultEvery"]): (request: ReceivedRequest) => Fault {
  let count = 0;
  return () => {
    if (faultEvery === undefined) return "accept";
    count += 1;
    return count % faultEvery.nth === 0 ? faultEvery.fault : "accept";
  };
}

async function main(json: string, print: boolean): Promise<void> {
  const { faultEvery, notifyAt, clock = realTime, ...options }: ReceiverProcessConfig = JSON.parse(json);
  const receiver = await startWebhookReceiver({
    ...options,
    faults: scheduledFaults(faultEvery),
    ...(print ? { onReceived: (_reminders, request) => process.stdout.write(printed(request, clock)) } : {}),
  });

  let told = 0;
  const progress = setInterval(() => {
    if (receiver.received === told) return;
    told = receiver.received;
    say({ kind: "progress", received: told });
  }, progressEveryMs);

  const stop = async () => {
    clearInterval(progress);
    if (receiver.received !== told) say({ kind: "progress", received: receiver.received });
    await receiver.stop();
    if (process.connected) process.disconnect();
  };
  process.once("SIGTERM", stop);
  process.once("SIGINT", stop);
  process.once("disconnect", stop);
  process.on("message", (message: ToReceiver) => {
    if (message.kind === "stop") void stop();
    else notify(receiver, message.count);
  });

  if (notifyAt !== undefined) notify(receiver, notifyAt);
  say({ kind: "ready", url: receiver.url });
  if (print) process.stdout.write(`Webhook receiver at ${receiver.url}\n`);
}

function notify(receiver: WebhookReceiver, count: number): void {
  void receiver.whenReceived(count).then(() => {
    say({ kind: "reached", count, atMs: performance.timeOrigin + performance.now() });
  });
}

try {
  await main(process.argv[2] ?? "{}", process.argv.includes("--print"));
} catch (error) {
  process.stderr.write(`The webhook receiver can't start: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exit(1);
}
