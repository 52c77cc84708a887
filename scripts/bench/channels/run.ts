import { fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import type { SpawnedProviders } from "../../../src/fakes/spawned-providers.ts";
import { cpuMsOf } from "../usage.ts";
import type { Answer, Question, SenderConfig, Sent } from "./sender.ts";

/** A sender in one of its settings: what one row of the table stands for. */
export interface Entry extends Omit<SenderConfig, "providers"> {
  readonly label: string;
}

/** What one run of one sender came to. */
export interface Run extends Sent {
  /** of the fake's process in that time; the encryption alone leaves it idle */
  readonly fakeCpuMs: number;
}

/** What a sender is sent ahead of what counts: a cold process is not what its users live with. */
const warmUpUsers = 4_000;
const limitMs = 300_000;

/** Sends to users by one sender after another, and numbers them on, so that no message is ever sent twice. */
export class Bench {
  readonly #providers: SpawnedProviders;
  readonly #env: NodeJS.ProcessEnv;
  readonly #profileDir: string | null;
  #nextUser = 1;
  #expected = 0;

  /** @param caFile the fake's authority, trusted by all senders' processes */
  constructor(providers: SpawnedProviders, caFile: string, profileDir: string | null) {
    this.#providers = providers;
    this.#env = { ...process.env, NODE_EXTRA_CA_CERTS: caFile };
    this.#profileDir = profileDir;
  }

  /**
   * One run of one sender, in a fresh process that has sent to others before.
   * @throws when a message was not accepted, or has not reached the fake
   */
  async run(entry: Entry, users: number): Promise<Run> {
    const { ca, fcm, apns, webPush } = this.#providers;
    const { label, ...kind } = entry;
    const config: SenderConfig = { ...kind, providers: { ca, fcm, apns, webPush } };
    const child = fork(fileURLToPath(new URL("./process.ts", import.meta.url)), [JSON.stringify(config)], {
      execArgv: this.#profileDir === null ? [] : ["--cpu-prof", `--cpu-prof-dir=${this.#profileDir}`],
      stdio: ["ignore", "inherit", "inherit", "ipc"],
      env: this.#env,
    });
    const exited = once(child, "exit");
    const ended = exited.then(() => {
      throw new Error(`the process of ${label} has ended`);
    });
    ended.catch(() => undefined);
    const answer = async (): Promise<Answer | undefined> => {
      const [message]: Answer[] = await Promise.race([
        once(child, "message", { signal: AbortSignal.timeout(limitMs) }),
        ended,
      ]);
      if (message?.kind === "failed") throw new Error(`${label}: ${message.why}`);
      return message;
    };
    const send = async (count: number): Promise<Sent> => {
      const question: Question = { from: this.#nextUser, users: count };
      this.#nextUser += count;
      child.send(question);
      const sent = await answer();
      if (sent?.kind !== "sent") throw new Error(`${label} answered out of turn`);
      if (sent.accepted !== count) throw new Error(`${label} had ${sent.accepted} of ${count} accepted`);
      if (entry.kind !== "encryption") this.#expected += count;
      await this.#providers.whenReceived(this.#expected, AbortSignal.timeout(limitMs));
      return sent;
    };
    try {
      const ready = await answer();
      if (ready?.kind === "ready") this.#expected += ready.sentAhead;
      await send(Math.min(users, warmUpUsers));
      const before = await cpuMsOf(this.#providers.pid);
      const sent = await send(users);
      return { ...sent, fakeCpuMs: (await cpuMsOf(this.#providers.pid)) - before };
    } finally {
      if (child.connected) child.disconnect();
      await exited;
    }
  }
}
