import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

/** How a process ended: by itself with a code, or by a signal. */
export interface Ending {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** A node of Carillon in a process of its own. It is killed when it is disposed of, if it still runs. */
export interface NodeProcess extends AsyncDisposable {
  readonly name: string;
  readonly pid: number;
  readonly exited: Promise<Ending>;
  /** null while it runs */
  readonly ending: Ending | null;
  kill(signal: NodeJS.Signals): void;
  /** Resolves with the first line of its log, past or to come, that matches; rejects when it ends without one. */
  logged(pattern: RegExp): Promise<string>;
}

export interface NodeStart {
  readonly name: string;
  readonly databaseUrl: string;
  readonly secretKey: Uint8Array;
  /** settings beside those below */
  readonly env?: Readonly<Record<string, string>>;
  /** default: `carillon worker` */
  readonly program?: { readonly module: string; readonly args: readonly string[] };
}

/** Shortened so that a rescue takes a story seconds, in the proportions of the defaults. */
export const quickSettings = {
  PORT: "0",
  CARILLON_LEASE_MS: "2500",
  CARILLON_HEARTBEAT_MS: "200",
  CARILLON_SWEEP_MS: "250",
  CARILLON_POLL_MS: "100",
  CARILLON_LEAD_MS: "600",
  CARILLON_SEND_TIMEOUT_MS: "1500",
  CARILLON_DRAIN_MS: "3000",
  CARILLON_SLOTS: "8",
  CARILLON_CHUNK: "50",
  CARILLON_WINDOW: "100",
  CARILLON_WINDOW_AT_MOST_ONCE: "20",
  CARILLON_CONNECTIONS_PER_HOST: "8",
  CARILLON_ALLOW_LOOPBACK: "true",
} as const;

/** W with `quickSettings`. */
export const windows = { at_least_once: 100, at_most_once: 20 } as const;
export const quickLeaseMs = Number(quickSettings.CARILLON_LEASE_MS);

const carillon = fileURLToPath(new URL("../../src/cli/main.ts", import.meta.url));
const linesShown = 40;

/**
 * Starts a worker node and resolves when it is ready.
 *
 * @throws when it ends before, with the end of its log
 */
export async function startNode({ name, databaseUrl, secretKey, env, program }: NodeStart): Promise<NodeProcess> {
  const { module, args } = program ?? { module: carillon, args: ["worker"] };
  const child = fork(module, args, {
    execArgv: [],
    env: {
      PATH: process.env.PATH,
      LOG_LEVEL: "info",
      ...quickSettings,
      DATABASE_URL: databaseUrl,
      CARILLON_SECRET_KEY: Buffer.from(secretKey).toString("base64"),
      CARILLON_NODE_NAME: name,
      ...env,
    },
    stdio: ["ignore", "ignore", "pipe", "ipc"],
  });
  const log = followLog(child);
  let ending: Ending | null = null;
  const exited = once(child, "exit").then(([code, signal]: (number | NodeJS.Signals | null)[]): Ending => {
    ending = { code: typeof code === "number" ? code : null, signal: typeof signal === "string" ? signal : null };
    return ending;
  });
  const ready = once(child, "message").then(() => true);
  if (!(await Promise.race([ready, exited.then(() => false)]))) {
    throw new Error(`node ${name} ended before it was ready:\n${log.lines.slice(-linesShown).join("\n")}`);
  }
  return {
    name,
    pid: child.pid ?? 0,
    exited,
    get ending() {
      return ending;
    },
    kill: (signal) => {
      child.kill(signal);
    },
    logged: log.logged,
    [Symbol.asyncDispose]: async () => {
      if (ending === null) child.kill("SIGKILL");
      await exited;
    },
  };
}

function followLog(child: ChildProcess): { lines: string[]; logged(pattern: RegExp): Promise<string> } {
  const lines: string[] = [];
  const waiting = new Set<(line: string) => void>();
  let ended = false;
  if (child.stderr === null) throw new Error("the node has no log");
  const reader = createInterface({ input: child.stderr });
  const over = once(reader, "close").then(() => {
    ended = true;
  });
  reader.on("line", (line) => {
    lines.push(line);
    for (const tell of waiting) tell(line);
  });

  async function logged(pattern: RegExp): Promise<string> {
    const said = lines.find((line) => pattern.test(line));
    if (said !== undefined) return said;
    const silent = () => new Error(`never logged ${pattern}:\n${lines.slice(-linesShown).join("\n")}`);
    if (ended) throw silent();
    return new Promise((resolve, reject) => {
      const tell = (line: string) => {
        if (!pattern.test(line)) return;
        waiting.delete(tell);
        resolve(line);
      };
      waiting.add(tell);
      void over.then(() => reject(silent()));
    });
  }
  return { lines, logged };
}

/**
 * A story waits for events; this is for a machine on which each of them is slow. It plays by the clock, and a machine that
 * stands still for seconds can spoil one: it gets a second try, which the output shows (retry x1) and is worth a look. One
 * that fails twice is wrong.
 */
export const storyLimit = { timeout: 90_000, retry: 1 } as const;
