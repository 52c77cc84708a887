import { fork } from "node:child_process";
import { once } from "node:events";
import { extname } from "node:path";
import { fileURLToPath } from "node:url";

export interface ChildNodeOptions {
  readonly verb: "worker" | "api" | "all";
  /** the whole environment of the process: nothing is inherited but what finds programs */
  readonly env: Readonly<Record<string, string>>;
  /** gets each line of its log; by default the log goes to this process' standard error */
  readonly onLog?: (line: string) => void;
}

/** A node in a process of its own, for `dev`, `demo` and tests. */
export interface ChildNode extends AsyncDisposable {
  readonly pid: number;
  readonly exited: Promise<{ readonly code: number | null; readonly signal: NodeJS.Signals | null }>;
  kill(signal: NodeJS.Signals): void;
  /** SIGTERM, and SIGKILL where that does not end it within `limitMs`; a second call is fine */
  stop(limitMs?: number): Promise<void>;
}

/** Starts `carillon VERB` and resolves when it is ready. @throws when it ends before that */
export async function spawnNode({ verb, env, onLog }: ChildNodeOptions): Promise<ChildNode> {
  // .ts from the sources, .js once built
  const program = fileURLToPath(new URL(`./main${extname(import.meta.url)}`, import.meta.url));
  const child = fork(program, [verb], {
    env: { ...foundByPrograms(), ...env },
    execArgv: [],
    // a process group of its own: Ctrl-C in a terminal would reach it beside our SIGTERM, and two signals end a node at
    // once. When this process dies, the closed channel tells it.
    detached: true,
    stdio: ["ignore", "inherit", onLog === undefined ? "inherit" : "pipe", "ipc"],
  });
  if (onLog !== undefined && child.stderr !== null) eachLine(child.stderr, onLog);
  const exited = new Promise<{ code: number | null; signal: NodeJS.Signals | null }>((resolve) => {
    child.once("exit", (code, signal) => resolve({ code, signal }));
  });
  const ended = exited.then(({ code, signal }) => {
    throw new Error(`carillon ${verb} ended before it was ready (${signal ?? code})`);
  });
  ended.catch(() => undefined);
  await Promise.race([once(child, "message"), ended]);

  let stopped: Promise<void> | undefined;
  async function stop(limitMs: number): Promise<void> {
    child.kill("SIGTERM");
    const timer = setTimeout(() => child.kill("SIGKILL"), limitMs);
    await exited;
    clearTimeout(timer);
  }
  function stopOnce(limitMs = 20_000): Promise<void> {
    stopped ??= stop(limitMs);
    return stopped;
  }
  return {
    pid: child.pid ?? 0,
    exited,
    kill: (signal) => void child.kill(signal),
    stop: stopOnce,
    [Symbol.asyncDispose]: () => stopOnce(),
  };
}

/** A node's configuration is what it is given here, never what this process happens to have in its environment. */
function foundByPrograms(): Record<string, string> {
  const names = ["PATH", "HOME", "TMPDIR", "TZ", "LANG", "NODE_EXTRA_CA_CERTS"];
  return Object.fromEntries(
    names.flatMap((name) => {
      const value = process.env[name];
      return value === undefined ? [] : [[name, value]];
    }),
  );
}

function eachLine(stream: NodeJS.ReadableStream, onLine: (line: string) => void): void {
  let rest = "";
  stream.setEncoding("utf8");
  stream.on("data", (text: string) => {
    const lines = (rest + text).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) onLine(line);
  });
}
