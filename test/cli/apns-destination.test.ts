import { randomBytes } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Apns, createApnsKey, startApns } from "../../src/fakes/apns.ts";
import { createDestination } from "../../src/store/destinations.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";
import { carillon, typed } from "./carillon.ts";

const key = randomBytes(32);
const device = "a1".repeat(32);
const dead = "dead".repeat(16);
let test: TestDatabase;
let apple: Apns;
let directory: string;
let env: Record<string, string>;

beforeAll(async () => {
  test = await createTestDatabase();
  apple = await startApns({
    faults: ({ address }) => {
      if (/^0+$/.test(address)) return { answer: "BadDeviceToken" };
      return address === dead ? { answer: "Unregistered" } : "accept";
    },
  });
  const { database } = test;
  const { url } = apple;
  await createDestination(database, { channel: "apns", name: "app", url, ...apple.key }, key);
  const another = createApnsKey(apple.key.bundleId);
  await createDestination(database, { channel: "apns", name: "revoked", url, ...another }, key);
  directory = await mkdtemp(join(tmpdir(), "carillon-test-apns-"));
  const caFile = join(directory, "ca.pem");
  await writeFile(caFile, apple.ca);
  env = {
    DATABASE_URL: test.url,
    CARILLON_SECRET_KEY: key.toString("base64"),
    CARILLON_ALLOW_LOOPBACK: "true",
    CARILLON_CA_FILE: caFile,
  };
});

afterAll(async () => {
  await apple.stop();
  await rm(directory, { recursive: true, force: true });
  await test[Symbol.asyncDispose]();
});

describe("a destination at Apple's", () => {
  it("is looked at by carillon doctor without ringing anybody", async () => {
    const { code, stdout } = await typed(["doctor", "--json"], env);
    expect(code).toBe(1);
    const { findings } = JSON.parse(stdout);
    expect(findings.filter(({ check }: { check: string }) => check.startsWith("destination "))).toEqual([
      {
        check: "destination app",
        state: "ok",
        found: expect.stringMatching(/^apns: Apple takes its key .*BadDeviceToken/),
      },
      {
        check: "destination revoked",
        state: "problem",
        found: "apns: refused: InvalidProviderToken",
        toDo: expect.stringMatching(/team id, key id/),
      },
    ]);
  });

  it("is tried by carillon send-test, which shows Apple's answer and hides what is secret", async () => {
    const sendTest = (destination: string, address: string) =>
      carillon(["send-test", "--channel", "apns", "--destination", destination, "--address", address], env);
    const [taken, refused, gone, none] = await Promise.all([
      sendTest("app", device.toUpperCase()),
      sendTest("revoked", device),
      sendTest("app", dead),
      sendTest("app", "not a token"),
    ]);
    expect(taken).toMatchObject({ code: 0, stderr: "", stdout: expect.stringMatching(/│ accepted │ 200/) });
    expect(refused.code).toBe(1);
    expect(refused.stdout).toMatch(/Answered 403:\n\{"reason":"InvalidProviderToken"\}\n/);
    expect(gone.stdout).toMatch(/Answered 410:\n\{"reason":"Unregistered","timestamp":\d+\}\n/);
    expect(none).toMatchObject({ code: 1, stderr: expect.stringMatching(/\(bad_address\)/) });
    const said = [taken, refused, gone, none].map(({ stdout, stderr }) => stdout + stderr).join("");
    for (const hidden of [device, dead, "bearer", "PRIVATE", key.toString("base64")]) {
      expect(said).not.toContain(hidden);
    }
  });
});
