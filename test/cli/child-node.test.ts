import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { spawnNode } from "../../src/cli/child-node.ts";
import { createTestDatabase } from "../support/database.ts";
import { until } from "../support/world.ts";

function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

describe("spawnNode", () => {
  it("starts a node that is ready and stops it", async () => {
    await using test = await createTestDatabase();
    const lines: string[] = [];
    const node = await spawnNode({
      verb: "worker",
      env: { DATABASE_URL: test.url, PORT: "0", CARILLON_NODE_NAME: "a-node" },
      onLog: (line) => void lines.push(line),
    });
    const { rows } = await test.database.pool.query("select pid from carillon.nodes where name = 'a-node'");
    expect(rows).toEqual([{ pid: node.pid }]);
    await Promise.all([node.stop(), node.stop()]);
    expect(await node.exited).toEqual({ code: 0, signal: null });
    expect(lines.length).toBeGreaterThan(0);
    for (const line of lines) expect(JSON.parse(line)).toMatchObject({ name: "a-node" });
    const { rows: after } = await test.database.pool.query(
      "select stopped_at is not null as stopped from carillon.nodes",
    );
    expect(after).toEqual([{ stopped: true }]);
  });

  it("kills a node that does not stop", async () => {
    await using test = await createTestDatabase();
    const node = await spawnNode({ verb: "api", env: { DATABASE_URL: test.url, PORT: "0", LOG_LEVEL: "silent" } });
    node.kill("SIGSTOP");
    await node.stop(50);
    expect(await node.exited).toEqual({ code: null, signal: "SIGKILL" });
  });

  it("says with which code a node ended that never was ready", async () => {
    const ending = spawnNode({ verb: "worker", env: {}, onLog: () => undefined });
    await expect(ending).rejects.toThrow("carillon worker ended before it was ready (78)");
  });

  it("gives a node no setting that it wasn't given", async () => {
    const module = fileURLToPath(new URL("../../src/cli/child-node.ts", import.meta.url));
    const script = `const { spawnNode } = await import(${JSON.stringify(module)});
      await spawnNode({ verb: "worker", env: {}, onLog: (line) => console.log(line) }).catch(() => undefined);`;
    const parent = spawn(process.execPath, ["--input-type=module", "--eval", script], {
      env: { PATH: process.env.PATH, DATABASE_URL: "postgres://from-the-outside@127.0.0.1:1/x" },
      stdio: ["ignore", "pipe", "inherit"],
    });
    const [line] = await once(createInterface(parent.stdout), "line");
    expect(line).toContain("DATABASE_URL is not set");
  });

  it("ends a node whose parent is killed", async () => {
    await using test = await createTestDatabase();
    const module = fileURLToPath(new URL("../../src/cli/child-node.ts", import.meta.url));
    const env = JSON.stringify({ DATABASE_URL: test.url, PORT: "0", LOG_LEVEL: "silent" });
    const script = `const { spawnNode } = await import(${JSON.stringify(module)});
      console.log((await spawnNode({ verb: "worker", env: ${env} })).pid);`;
    const parent = spawn(process.execPath, ["--input-type=module", "--eval", script], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const [line] = await once(createInterface(parent.stdout), "line");
    const pid = Number(line);
    expect(isRunning(pid)).toBe(true);
    parent.kill("SIGKILL");
    await until(async () => (isRunning(pid) ? null : true), "the node has ended");
  });
});
