import { EventEmitter } from "node:events";
import { describe, expect, it } from "vitest";
import { type Lifecycle, runUntilSignal, untilAborted } from "../../src/lifecycle.ts";

const silent = { info: () => undefined, error: () => undefined };

function run(main: (lifecycle: Lifecycle) => Promise<void>, stopLimitMs = 5000) {
  const signals = new EventEmitter();
  const exits: number[] = [];
  const code = runUntilSignal(main, { log: silent, signals, exit: (exit) => exits.push(exit), stopLimitMs });
  return { code, signals, exits };
}

describe("runUntilSignal", () => {
  it("stops what was added last first, and ends with 0", async () => {
    const stopped: string[] = [];
    const { code, signals, exits } = run(async (lifecycle) => {
      lifecycle.onStop("database", () => stopped.push("database"));
      lifecycle.use("server", { [Symbol.asyncDispose]: async () => void stopped.push("server") });
      await untilAborted(lifecycle.stopping);
      stopped.push("main");
    });
    signals.emit("SIGTERM", "SIGTERM");
    expect(await code).toBe(0);
    expect(stopped).toEqual(["main", "server", "database"]);
    expect(exits).toEqual([]);
    expect(signals.listenerCount("SIGTERM") + signals.listenerCount("SIGINT")).toBe(0);
  });

  it.each([
    ["SIGTERM", 143],
    ["SIGINT", 130],
  ])("ends at once at a second %s", async (signal, exit) => {
    const draining = Promise.withResolvers<void>();
    const { code, signals, exits } = run(() => draining.promise);
    signals.emit("SIGTERM", "SIGTERM");
    expect(exits).toEqual([]);
    signals.emit(signal, signal);
    expect(exits).toEqual([exit]);
    draining.resolve();
    await code;
  });

  it("goes on to the next when a stop fails or hangs, and ends with 1", async () => {
    const stopped: string[] = [];
    const { code } = run(async (lifecycle) => {
      lifecycle.onStop("first", () => stopped.push("first"));
      lifecycle.onStop("hangs", () => new Promise(() => undefined));
      lifecycle.onStop("fails", () => Promise.reject(new Error("no")));
    }, 20);
    expect(await code).toBe(1);
    expect(stopped).toEqual(["first"]);
  });

  it("takes the wish to stop for a clean end, and hands on any other error after stopping", async () => {
    const { code } = run(async (lifecycle) => {
      lifecycle.stop("enough");
      lifecycle.stop("enough again");
      lifecycle.stopping.throwIfAborted();
    });
    expect(await code).toBe(0);
    const stopped: string[] = [];
    const failing = run(async (lifecycle) => {
      lifecycle.onStop("part", () => stopped.push("part"));
      throw new Error("broken");
    });
    await expect(failing.code).rejects.toThrow("broken");
    expect(stopped).toEqual(["part"]);
  });
});
