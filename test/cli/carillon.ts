import { execFile, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { vi } from "vitest";
import { explain } from "../../src/cli/explain.ts";
import { createProgram } from "../../src/cli/program.ts";

const program = fileURLToPath(new URL("../../src/cli/main.ts", import.meta.url));
const execute = promisify(execFile);

export interface Said {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * Types a command and waits for its end. Of this process' environment it gets nothing but the path to programs.
 *
 * @param input what comes on its standard input
 */
export async function carillon(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
  input = "",
): Promise<Said> {
  const options = { env: { PATH: process.env.PATH, ...env } };
  const running = execute(process.execPath, [program, ...args], options);
  running.child.stdin?.end(input);
  return running.then(
    ({ stdout, stderr }) => ({ code: 0, stdout, stderr }),
    (error: { code?: unknown; stdout?: unknown; stderr?: unknown }) => {
      if (typeof error.code !== "number") throw error;
      return { code: error.code, stdout: String(error.stdout), stderr: String(error.stderr) };
    },
  );
}

/**
 * The same in this process, which is quicker: for a command that ends by itself. One at a time, since it listens to what
 * this process writes.
 */
export async function typed(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Said> {
  const settings = Object.keys(process.env).filter((name) =>
    /^(CARILLON_\w+|DATABASE_URL|HOST|PORT|LOG_LEVEL)$/.test(name),
  );
  for (const name of settings) vi.stubEnv(name, "");
  for (const [name, value] of Object.entries(env)) vi.stubEnv(name, value);
  const heard = { stdout: "", stderr: "" };
  const listening = (["stdout", "stderr"] as const).map((name) =>
    vi.spyOn(process[name], "write").mockImplementation((text) => {
      heard[name] += String(text);
      return true;
    }),
  );
  const codeBefore = process.exitCode;
  try {
    process.exitCode = 0;
    await createProgram().parseAsync(args, { from: "user" });
    return { code: Number(process.exitCode), ...heard };
  } catch (error) {
    const { text, exitCode } = explain(error);
    return { code: exitCode, stdout: heard.stdout, stderr: heard.stderr + text };
  } finally {
    process.exitCode = codeBefore;
    for (const spy of listening) spy.mockRestore();
    vi.unstubAllEnvs();
  }
}

/** A command that goes on until it is told to stop. It is killed when it is disposed of, if it still runs. */
export interface Running extends AsyncDisposable {
  readonly pid: number;
  readonly exited: Promise<{ readonly code: number | null; readonly signal: NodeJS.Signals | null }>;
  kill(signal: NodeJS.Signals): void;
  /** Resolves with the first line, past or to come, that matches; rejects when the command ends without one. */
  said(on: "stdout" | "stderr", pattern: RegExp): Promise<string>;
}

export function startCarillon(args: readonly string[], env: Readonly<Record<string, string>> = {}): Running {
  const child = spawn(process.execPath, [program, ...args], {
    env: { PATH: process.env.PATH, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const lines = { stdout: linesOf(child.stdout), stderr: linesOf(child.stderr) };
  const exited = new Promise<{ code: number | null; signal: NodeJS.Signals | null }>((resolve) => {
    child.once("close", (code, signal) => resolve({ code, signal }));
  });
  return {
    pid: child.pid ?? 0,
    exited,
    kill: (signal) => void child.kill(signal),
    async said(on, pattern) {
      const found = await Promise.race([lines[on].find(pattern), exited.then(() => undefined)]);
      if (found !== undefined) return found;
      throw new Error(`never said ${pattern}:\n${[...lines.stdout.seen, ...lines.stderr.seen].join("\n")}`);
    },
    [Symbol.asyncDispose]: async () => {
      if (child.exitCode === null && child.signalCode === null) child.kill("SIGKILL");
      await exited;
    },
  };
}

function linesOf(stream: NodeJS.ReadableStream): { seen: readonly string[]; find(pattern: RegExp): Promise<string> } {
  const seen: string[] = [];
  const waiting = new Set<(line: string) => void>();
  createInterface({ input: stream }).on("line", (line) => {
    seen.push(line);
    for (const tell of waiting) tell(line);
  });
  return {
    seen,
    find: (pattern) =>
      new Promise((resolve) => {
        const tell = (line: string) => {
          if (!pattern.test(line)) return;
          waiting.delete(tell);
          resolve(line);
        };
        waiting.add(tell);
        for (const line of seen) tell(line);
      }),
  };
}
