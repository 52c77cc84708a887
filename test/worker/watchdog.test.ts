import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { sleep } from "../../src/clock.ts";

const module = fileURLToPath(new URL("./blocked-child.ts", import.meta.url));

/** A process under watch; `limitMs` is how long its loop may stand, `blockMs` how long it blocks when told to. */
async function watched(limitMs: number, blockMs = 60_000) {
  const child = spawn(process.execPath, [module, `${limitMs}`, `${blockMs}`], { stdio: ["pipe", "pipe", "pipe"] });
  const lines: string[] = [];
  const waiting: { line: string; from: number; resolve: () => void }[] = [];
  createInterface(child.stdout).on("line", (line) => {
    lines.push(line);
    for (const each of waiting) if (each.line === line && lines.length > each.from) each.resolve();
  });
  let log = "";
  child.stderr.on("data", (data: Buffer) => {
    log += data.toString();
  });
  const said = (line: string, from = 0) =>
    new Promise<void>((resolve) => {
      if (lines.slice(from).includes(line)) resolve();
      else waiting.push({ line, from, resolve });
    });
  const exited = once(child, "exit").then(([code, signal]: (number | string | null)[]) => ({ code, signal }));
  await said("ready");
  return {
    child,
    said,
    lines,
    exited,
    log: () => log,
    [Symbol.asyncDispose]: async () => {
      child.kill("SIGKILL");
      await exited;
    },
  };
}

describe("startWatchdog", () => {
  it("ends a process whose event loop stands still, and says so", async () => {
    await using process = await watched(400);
    await process.said("tick");
    const before = performance.now();
    process.child.stdin.write("block\n");
    expect(await process.exited).toMatchObject({ signal: "SIGKILL" });
    // not before its limit, and long before the loop would have come back
    expect(performance.now() - before).toBeGreaterThan(300);
    expect(performance.now() - before).toBeLessThan(30_000);
    expect(process.log()).toContain("the event loop stands still");
  });

  it("leaves a process alone that was stopped as a whole and goes on", async () => {
    await using process = await watched(400);
    // long enough for the thread that watches to be at work
    for (let ticks = 0; ticks < 40; ticks += 1) await process.said("tick", ticks);
    process.child.kill("SIGSTOP");
    // what is measured is a time: it was stopped for longer than its loop may stand
    await sleep(1200);
    const from = process.lines.length;
    process.child.kill("SIGCONT");
    for (let ticks = 0; ticks < 30; ticks += 1) await process.said("tick", from + ticks);
    expect(process.child.exitCode).toBeNull();
    expect(process.child.signalCode).toBeNull();
    expect(process.log()).toBe("");
  });

  it("leaves a process alone whose loop is busy for less than the limit", async () => {
    await using process = await watched(8000, 300);
    process.child.stdin.write("block\n");
    await process.said("blocked");
    const from = process.lines.length;
    await process.said("tick", from);
    expect(process.child.signalCode).toBeNull();
  });

  it("watches no more once it is disposed of", async () => {
    await using process = await watched(200, 1500);
    process.child.stdin.write("stop watching, and block\n");
    await process.said("blocked");
    await process.said("tick", process.lines.length);
    expect(process.child.signalCode).toBeNull();
  });
});
