import { fork } from "node:child_process";
import { once } from "node:events";
import { extname } from "node:path";
import { fileURLToPath } from "node:url";
import { unreachable } from "../errors.ts";
import type {
  AnswerCounts,
  FromProviders,
  ProviderOrder,
  ProviderProcessConfig,
  ProvidersReady,
  ToProviders,
} from "./provider-messages.ts";
import { type PushSubscriptionText, pushSubscription } from "./push-subscriptions.ts";

/** Fakes of providers in a process of their own, with credentials that they take. */
export interface SpawnedProviders extends ProvidersReady, AsyncDisposable {
  readonly pid: number;
  /** messages recorded, as of at most 100 ms ago; exact once it has stopped */
  readonly received: number;
  /** what each answered how often, of the same time */
  readonly answers: AnswerCounts;
  /** The subscription of one user at the push service; 10 us each. Throws where there is no push service. */
  subscribe(user: string): PushSubscriptionText;
  /** Resolves with the process's own wall clock (epoch milliseconds) when so many messages are recorded. */
  whenReceived(count: number, signal?: AbortSignal): Promise<number>;
  /** Has an order carried out; resolves when it is. */
  order(what: ProviderOrder): Promise<void>;
  /** Ends it with its log written out; a second call is fine. */
  stop(): Promise<void>;
}

/** Starts provider-process.ts and resolves when all of its providers listen. */
export async function spawnProviders(config: ProviderProcessConfig): Promise<SpawnedProviders> {
  // .ts from the sources, .js once built
  const program = fileURLToPath(new URL(`./provider-process${extname(import.meta.url)}`, import.meta.url));
  const child = fork(program, [JSON.stringify(config)], {
    execArgv: [],
    stdio: ["ignore", "inherit", "inherit", "ipc"],
  });
  const exited = once(child, "exit").then(() => {});
  const reached = new Map<number, ((atMs: number) => void)[]>();
  const orders = new Map<number, () => void>();
  const started = Promise.withResolvers<ProvidersReady>();
  let received = 0;
  let answers: AnswerCounts = {};
  let ordered = 0;

  child.on("message", (message: FromProviders) => {
    switch (message.kind) {
      case "ready":
        return started.resolve(message.ready);
      case "progress":
        received = message.received;
        answers = message.answers;
        return;
      case "reached":
        for (const resolve of reached.get(message.count) ?? []) resolve(message.atMs);
        reached.delete(message.count);
        return;
      case "done":
        orders.get(message.order)?.();
        orders.delete(message.order);
        return;
      default:
        return unreachable(message);
    }
  });
  void exited.then(() => started.reject(new Error("The providers ended before they were ready")));
  const ready = await started.promise;
  const tell = (message: ToProviders) => {
    if (child.connected) child.send(message);
  };
  const stop = () => {
    tell({ kind: "stop" });
    return exited;
  };

  return {
    ...ready,
    pid: child.pid ?? 0,
    get received() {
      return received;
    },
    get answers() {
      return answers;
    },
    subscribe(user) {
      if (ready.webPush === null) throw new Error("No push service was asked for");
      return pushSubscription(ready.webPush.receivers, user);
    },
    whenReceived(count, signal) {
      return new Promise((resolve, reject) => {
        if (signal?.aborted) return reject(signal.reason);
        signal?.addEventListener("abort", () => reject(signal.reason), { once: true });
        void exited.then(() => reject(new Error("The providers have ended")));
        reached.set(count, [...(reached.get(count) ?? []), resolve]);
        tell({ kind: "notify_at", count });
      });
    },
    order(what) {
      return new Promise((resolve, reject) => {
        void exited.then(() => reject(new Error("The providers have ended")));
        ordered += 1;
        orders.set(ordered, resolve);
        tell({ kind: "order", order: ordered, what });
      });
    },
    stop,
    [Symbol.asyncDispose]: stop,
  };
}
