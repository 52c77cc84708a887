import { randomBytes } from "node:crypto";
import { describe, expect, inject, it } from "vitest";
import { newVapidPair } from "../../src/channels/credentials.ts";
import { zoneDataVersion } from "../../src/config.ts";
import { startWebhookReceiver } from "../../src/fakes/webhook-receiver.ts";
import { createDestination, patchDestination } from "../../src/store/destinations.ts";
import { registerNode, stopNode } from "../../src/store/nodes.ts";
import { readClockSkewMs } from "../../src/store/server-facts.ts";
import { startRawServer } from "../channels/raw-server.ts";
import { createTestDatabase } from "../support/database.ts";
import { urlOf } from "../support/server.ts";
import { typed } from "./carillon.ts";

interface Finding {
  readonly check: string;
  readonly state: string;
  readonly found: string;
  readonly toDo?: string;
}

const key = randomBytes(32);
const secretKey = { CARILLON_SECRET_KEY: key.toString("base64") };

async function doctor(env: Record<string, string>) {
  const { code, stdout, stderr } = await typed(["doctor", "--json"], env);
  expect(stderr).toBe("");
  const { well, findings }: { well: boolean; findings: Finding[] } = JSON.parse(stdout);
  const of = (check: string) => findings.find((finding) => finding.check === check);
  return { code, well, findings, of };
}

describe("carillon doctor", () => {
  it("finds nothing wrong where nothing is", async () => {
    await using test = await createTestDatabase();
    await using receiver = await startWebhookReceiver();
    await createDestination(test.database, { name: "app", url: receiver.url, batchSize: 1 }, key);
    const env = { DATABASE_URL: test.url, ...secretKey, CARILLON_ALLOW_LOOPBACK: "true" };
    const { code, well, findings, of } = await doctor(env);
    expect(findings.filter(({ state }) => state !== "ok")).toEqual([]);
    expect({ code, well }).toEqual({ code: 0, well: true });
    expect(findings.map(({ check }) => check)).toEqual([
      "postgres",
      "migrations",
      "clock",
      "zone data",
      "connections",
      "secrets",
      "destination app",
    ]);
    expect(of("destination app")?.found).toMatch(/^webhook: 127\.0\.0\.1:\d+ takes connections$/);
    expect(receiver.requests).toBe(0);

    const people = await typed(["doctor"], env);
    expect(people).toMatchObject({ code: 0, stderr: "", stdout: expect.stringMatching(/\nNothing is wrong\.\n$/) });
  });

  it("says what to do about each destination that can't be sent to, and looks at no disabled one", async () => {
    await using test = await createTestDatabase();
    await using notTls = await startRawServer((socket) => socket.end("220 hello\r\n"));
    const { database } = test;
    const at = (name: string, url: string) => createDestination(database, { name, url, batchSize: 1 }, key);
    await at("away", "http://127.0.0.1:1/");
    await at("inside", "https://10.0.0.7/");
    await at("asleep", "http://127.0.0.1:1/");
    await at("no tls", `https://127.0.0.1:${notTls.port}/`);
    const { publicKey } = newVapidPair();
    const { privateKey } = newVapidPair();
    const browsers = { channel: "web-push", name: "browsers", url: "", subject: "mailto:ops@example.com" } as const;
    await createDestination(database, { ...browsers, publicKey, privateKey }, key);
    await createDestination(database, { ...browsers, ...newVapidPair(), name: "browsers too" }, key);
    await patchDestination(database, "asleep", { disabled: true }, key);
    const env = { DATABASE_URL: test.url, ...secretKey, CARILLON_ALLOW_LOOPBACK: "true" };
    const { code, of } = await doctor(env);
    expect(code).toBe(1);
    expect(of("destination away")).toMatchObject({ state: "problem", found: "webhook: no connection (ECONNREFUSED)" });
    expect(of("destination inside")).toMatchObject({ state: "problem", found: expect.stringMatching(/not a public/) });
    expect(of("destination no tls")).toMatchObject({ state: "problem", found: expect.stringMatching(/no connection/) });
    expect(of("destination browsers")).toMatchObject({ state: "problem", found: expect.stringMatching(/no pair/) });
    expect(of("destination browsers too")).toMatchObject({ state: "ok" });
    expect(of("destination asleep")).toMatchObject({ state: "note", found: "disabled: by an admin" });

    const { code: codeForPeople, stdout } = await typed(["doctor"], env);
    expect(codeForPeople).toBe(1);
    expect(stdout).toMatch(
      /SET THIS RIGHT\n! destination away: webhook: no connection \(ECONNREFUSED\)\n {4}to do: Look/,
    );
  });

  it("tells a key that is missing from one that is another", async () => {
    await using test = await createTestDatabase();
    const without = await doctor({ DATABASE_URL: test.url });
    expect(without.of("secrets")).toMatchObject({ state: "note" });
    await createDestination(test.database, { name: "app", url: "https://example.com/", batchSize: 1 }, key);
    const missing = await doctor({ DATABASE_URL: test.url });
    expect(missing.of("secrets")).toMatchObject({ state: "problem", found: "CARILLON_SECRET_KEY is not set" });
    const other = { CARILLON_SECRET_KEY: randomBytes(32).toString("base64") };
    const sealedOtherwise = await doctor({ DATABASE_URL: test.url, ...other });
    expect(sealedOtherwise.of("secrets")).toMatchObject({ state: "problem", found: "sealed under another key: app" });
    expect(sealedOtherwise.of("destination app")).toMatchObject({ state: "skipped" });
    expect(sealedOtherwise.code).toBe(1);
  });

  it("compares zone data with the newest that was planned with", async () => {
    await using test = await createTestDatabase();
    const brought = async (tzdata: string) => {
      await test.database.pool.query("update carillon.deployment set tzdata = $1", [tzdata]);
      return (await doctor({ DATABASE_URL: test.url })).of("zone data");
    };
    expect(await brought(zoneDataVersion)).toMatchObject({ state: "ok" });
    expect(await brought("1999a")).toMatchObject({ state: "note" });
    expect(await brought("2999a")).toMatchObject({ state: "problem", toDo: expect.stringMatching(/Node/) });
  });

  it("counts the connections that the live nodes may open", async () => {
    await using test = await createTestDatabase();
    const { pool } = test.database;
    const node = { role: "worker", pid: 1, version: "0" } as const;
    const large = await registerNode(pool, { ...node, name: "large", slots: 400 });
    await registerNode(pool, { ...node, name: "small", slots: 8 });
    const crowded = (await doctor({ DATABASE_URL: test.url })).of("connections");
    // 2 x 400 + 12, 2 x 8 + 12, and one API
    expect(crowded).toMatchObject({
      state: "problem",
      found: expect.stringMatching(/2 workers and 1 API open up to 850;/),
    });
    await stopNode(pool, large);
    const room = (await doctor({ DATABASE_URL: test.url })).of("connections");
    expect(room).toMatchObject({ state: "ok", found: expect.stringMatching(/1 worker and 1 API open up to 38;/) });
  });

  it("goes no further where Postgres is away or not migrated", async () => {
    const away = await doctor({ DATABASE_URL: "postgres://carillon:secret@127.0.0.1:1/carillon" });
    expect(away.code).toBe(1);
    expect(away.findings[0]).toMatchObject({
      check: "postgres",
      state: "problem",
      toDo: expect.stringMatching(/DATABASE_URL/),
    });
    expect(new Set(away.findings.slice(1).map(({ state }) => state))).toEqual(new Set(["skipped"]));
    expect(JSON.stringify(away.findings)).not.toContain("secret@");

    const empty = await doctor({ DATABASE_URL: urlOf(inject("postgres").serverUrl, "template1") });
    expect(empty.of("migrations")).toMatchObject({ state: "problem", toDo: expect.stringMatching(/carillon migrate/) });
    expect(empty.of("clock")).toMatchObject({ state: "skipped", found: "needs migrations" });

    const nobody = await doctor({ DATABASE_URL: urlOf(inject("postgres").serverUrl, "no_such_database") });
    expect(nobody.findings[0]).toMatchObject({ state: "problem", toDo: expect.stringMatching(/^Correct/) });
  });

  it("says what is wrong with the configuration as all verbs do", async () => {
    expect(await typed(["doctor"], { CARILLON_SLOTS: "many" })).toMatchObject({ code: 78, stdout: "" });
    expect(await typed(["doctor"])).toMatchObject({
      code: 78,
      stderr: expect.stringMatching(/^DATABASE_URL is not set/),
    });
  });
});

describe("readClockSkewMs", () => {
  it("is this machine's clock minus Postgres'", async () => {
    await using test = await createTestDatabase();
    const { pool } = test.database;
    const [level, ahead] = await Promise.all(
      [0, 3_600_000].map((byMs) => readClockSkewMs(pool, () => Date.now() + byMs)),
    );
    expect((ahead ?? 0) - (level ?? 0)).toBeGreaterThan(3_590_000);
    expect((ahead ?? 0) - (level ?? 0)).toBeLessThan(3_610_000);
  });
});
