import { execFile } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { chmod, mkdtemp, rm } from "node:fs/promises";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { storyLimit } from "../support/nodes.ts";
import { carillon, type Running, startCarillon } from "./carillon.ts";

interface Ready {
  readonly api: string;
  readonly database: string;
  readonly receiver: string;
  readonly curl: string;
}

let directory: string;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "carillon-dev-test-"));
  // where the tests run as root, Postgres does not
  await chmod(directory, 0o755);
});
afterAll(() => rm(directory, { recursive: true, force: true }));

async function startDev(): Promise<{ dev: Running; ready: Ready }> {
  const dev = startCarillon(["dev", "--json", "--port", "0", "--db-dir", directory]);
  const line = await dev.said("stdout", /^\{/);
  return { dev, ready: JSON.parse(line) };
}

/** Processes whose parent is this one, and theirs. */
async function descendantsOf(pid: number): Promise<number[]> {
  const { stdout } = await promisify(execFile)("ps", ["-A", "-o", "pid=,ppid="]);
  const all = stdout
    .trim()
    .split("\n")
    .map((line) => line.trim().split(/\s+/).map(Number));
  const below = (parent: number): number[] =>
    all.flatMap(([child = 0, itsParent]) => (itsParent === parent ? [child, ...below(child)] : []));
  return below(pid);
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    // what has ended and is waited for by nobody yet (a zombie) runs no more
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
}

describe("carillon dev", () => {
  it("prints a line that works, rings, and leaves nothing behind", storyLimit, async () => {
    const { dev, ready } = await startDev();
    await using _dev = dev;
    const children = await descendantsOf(dev.pid);
    expect(children.length).toBeGreaterThanOrEqual(3);

    const [, url = "", body = ""] =
      /^curl -s (\S+) -H 'content-type: application\/json' -d '(.*)'$/.exec(ready.curl) ?? [];
    const request = JSON.parse(body);
    // the line's own instant is half a minute ahead
    const at = new Date(Date.now() + 3000).toISOString();
    const reply = await fetch(url, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ ...request, at }),
    });
    expect(reply.status).toBe(201);
    expect(Date.parse(request.at)).toBeGreaterThan(Date.now());
    const rung = await dev.said("stderr", /"alice"/);
    expect(rung).toMatch(/ms {2}"alice" {2}"It is time" {2}\(demo, group 0 by worker-[12]\)/);

    const status = await carillon(["status", "--json"], { DATABASE_URL: ready.database });
    expect(JSON.parse(status.stdout).nodes).toHaveLength(2);

    dev.kill("SIGINT");
    expect(await dev.exited).toEqual({ code: 0, signal: null });
    expect(children.filter(isRunning)).toEqual([]);
    for (const address of [ready.api, ready.receiver]) await expect(fetch(address)).rejects.toThrow();
    expect(await carillon(["status"], { DATABASE_URL: ready.database })).toMatchObject({ code: 69 });
  });

  it(
    "starts again on what it kept, takes places of the world, and refuses a second one on the same data",
    storyLimit,
    async () => {
      const { dev, ready } = await startDev();
      await using _dev = dev;
      const alice = await fetch(`${ready.api}/v1/users/alice/deliveries`);
      expect(await alice.json()).toMatchObject({ deliveries: [{ topic: "demo", state: "delivered" }] });
      const body = {
        userId: "bob",
        topic: "demo",
        timetable: { place: "sa-makkah", slot: "fajr" },
        endpoints: [{ destination: "dev" }],
      };
      const reply = await fetch(`${ready.api}/v1/subscriptions`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify(body),
      });
      expect(await reply.json()).toMatchObject({ userId: "bob", nextDueAt: expect.stringMatching(/:00\.000Z$/) });

      const again = await carillon(["dev", "--port", "0", "--db-dir", directory]);
      expect(again.code).toBe(69);
      expect(again.stderr).toMatch(/Postgres did not start: .*postmaster\.pid/s);
      // which must not disturb the first
      expect((await fetch(`${ready.api}/readyz`)).status).toBe(200);

      dev.kill("SIGTERM");
      expect(await dev.exited).toEqual({ code: 0, signal: null });
    },
  );

  it("says so at once when its port is taken", async () => {
    const other = createServer();
    await once(other.listen(0, "127.0.0.1"), "listening");
    const { port } = other.address() as AddressInfo;
    const refused = await carillon(["dev", "--port", String(port), "--db-dir", join(directory, "other")]);
    other.close();
    expect(refused).toMatchObject({ code: 78, stdout: "" });
    expect(refused.stderr).toMatch(/^carillon: Port \d+ is taken: name another by --port/);
    expect(existsSync(join(directory, "other"))).toBe(false);
  });
});
