import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import pg from "pg";
import { describe, expect, it } from "vitest";
import { startEmbeddedPostgres } from "../../src/cli/embedded-postgres.ts";
import { sleep } from "../../src/clock.ts";

async function ask(url: string, text: string): Promise<unknown> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return Object.values((await client.query<Record<string, unknown>>(text)).rows[0] ?? {})[0];
  } finally {
    await client.end();
  }
}

describe("startEmbeddedPostgres", () => {
  it("takes settings and leaves nothing behind", async () => {
    const server = await startEmbeddedPostgres({ settings: { max_connections: 17 } });
    expect(await ask(server.url(), "show max_connections")).toBe("17");
    expect(existsSync(server.dataDir)).toBe(true);
    await Promise.all([server.stop(), server.stop()]);
    expect(existsSync(server.dataDir)).toBe(false);
    await expect(ask(server.url(), "select 1")).rejects.toThrow(/ECONNREFUSED/);
  });

  it("keeps what is persistent, over a stop and over a restart without a word", async () => {
    const first = await startEmbeddedPostgres({ persistent: true });
    await ask(first.url(), "create table kept as select 1 as one");
    await first.stop();
    await using second = await startEmbeddedPostgres({ dataDir: first.dataDir });
    await second.restartImmediate();
    expect(await ask(second.url(), "select one from kept")).toBe(1);
  });

  it("says why Postgres did not start", async () => {
    await expect(startEmbeddedPostgres({ settings: { no_such_setting: 1 } })).rejects.toMatchObject({
      code: "database_unavailable",
      message: expect.stringContaining("no_such_setting"),
    });
  });

  it("ends with the process that started it, even if that is killed", async () => {
    const module = fileURLToPath(new URL("../../src/cli/embedded-postgres.ts", import.meta.url));
    const script = `const { startEmbeddedPostgres } = await import(${JSON.stringify(module)});
      const server = await startEmbeddedPostgres();
      console.log(JSON.stringify({ url: server.url(), dataDir: server.dataDir }));
      setInterval(() => {}, 1000);`;
    const parent = spawn(process.execPath, ["--input-type=module", "--eval", script], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const [line] = await Array.fromAsync(takeOne(createInterface(parent.stdout)));
    const { url, dataDir } = JSON.parse(line ?? "") as { url: string; dataDir: string };
    expect(await ask(url, "select 1")).toBe(1);
    parent.kill("SIGKILL");
    while (existsSync(dataDir)) await sleep(20);
    await expect(ask(url, "select 1")).rejects.toThrow(/ECONNREFUSED/);
  });
});

async function* takeOne(lines: AsyncIterable<string>): AsyncGenerator<string> {
  for await (const line of lines) {
    yield line;
    return;
  }
}
