import { fork } from "node:child_process";
import { once } from "node:events";
import { extname } from "node:path";
import { fileURLToPath } from "node:url";
import type { FromReceiver, ReceiverProcessConfig, ToReceiver } from "./receiver-messages.ts";

/** A webhook receiver in a process of its own. */
export interface SpawnedReceiver extends AsyncDisposable {
  readonly url: string;
  readonly pid: number;
  /** reminders recorded, as of at most 100 ms ago */
  readonly received: number;
  /** Resolves with the receiver's own wall clock (epoch milliseconds) when so many reminders are recorded. */
  whenReceived(count: number, signal?: AbortSignal): Promise<number>;
  /** Ends it with its log written out; a second call is fine. */
  stop(): Promise<void>;
}

/**
 * Starts webhook-receiver-process.ts and resolves when it listens.
 * @param print where it writes a line for people about each reminder; by default it does not
 */
export async function spawnWebhookReceiver(
  config: ReceiverProcessConfig = {},
  { print }: { readonly print?: "stdout" | "stderr" } = {},
): Promise<SpawnedReceiver> {
  // .ts from the sources, .js once built
  const program = fileURLToPath(new URL(`./webhook-receiver-process${extname(import.meta.url)}`, import.meta.url));
  const child = fork(program, [JSON.stringify(config), ...(print === undefined ? [] : ["--print"])], {
    execArgv: [],
    stdio: ["ignore", print === "stderr" ? 2 : "inherit", "inherit", "ipc"],
  });
  const exited = once(child, "exit").then(() => {});
  const waiting = new Map<number, ((atMs: number) => void)[]>();
  const ready = Promise.withResolvers<string>();
  let received = 0;

  child.on("message", (message: FromReceiver) => {
    switch (message.kind) {
      case "ready":
        ready.resolve(message.url);
        break;
      case "progress":
        received = message.received;
        break;
      case "reached":
        for (const resolve of waiting.get(message.count) ?? []) resolve(message.atMs);
        waiting.delete(message.count);
    }
  });
  void exited.then(() => ready.reject(new Error("The receiver ended before it was ready")));
  const url = await ready.promise;
  const tell = (message: ToReceiver) => {
    if (child.connected) child.send(message);
  };
  const stop = () => {
    tell({ kind: "stop" });
    return exited;
  };

  return {
    url,
    pid: child.pid ?? 0,
    get received() {
      return received;
    },
    whenReceived(count, signal) {
      return new Promise((resolve, reject) => {
        if (signal?.aborted) return reject(signal.reason);
        signal?.addEventListener("abort", () => reject(signal.reason), { once: true });
        void exited.then(() => reject(new Error("The receiver has ended")));
        waiting.set(count, [...(waiting.get(count) ?? []), resolve]);
        tell({ kind: "notify_at", count });
      });
    },
    stop,
    [Symbol.asyncDispose]: stop,
  };
}
