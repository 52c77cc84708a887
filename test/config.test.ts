import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { readConfig, requireDatabaseUrl, requireSecretKey } from "../src/config.ts";
import { CarillonError } from "../src/errors.ts";
import { createAuthority } from "../src/fakes/certificate.ts";

const key = Buffer.alloc(32, 7).toString("base64");

function mistakesOf(env: NodeJS.ProcessEnv): string[] {
  try {
    readConfig(env);
  } catch (error) {
    if (error instanceof CarillonError && error.code === "bad_configuration") return error.message.split("\n");
    throw error;
  }
  return [];
}

describe("readConfig", () => {
  it("fills in the documented defaults", () => {
    expect(readConfig({ CARILLON_NODE_NAME: "one" })).toEqual({
      nodeName: "one",
      logLevel: "info",
      databaseUrl: null,
      secretKey: null,
      http: { host: "127.0.0.1", port: 8080 },
      egress: {
        allowPrivateEndpoints: false,
        allowLoopback: false,
        connectionsPerHost: 64,
        webPushHosts: [],
        ca: null,
      },
      lease: { leaseMs: 8000, heartbeatMs: 1000, sweepMs: 2000 },
      planner: { leadMs: 10_000, horizonMs: 3_600_000, groupTarget: 5000 },
      worker: {
        pollMs: 1000,
        drainMs: 10_000,
        sendTimeoutMs: 5000,
        flushMs: 50,
        slots: 8,
        window: 500,
        windowAtMostOnce: 50,
        chunk: 500,
      },
    });
  });

  it("takes an empty variable as not given", () => {
    expect(readConfig({ PORT: "", DATABASE_URL: "", CARILLON_SECRET_KEY: "" })).toMatchObject({
      http: { port: 8080 },
      databaseUrl: null,
      secretKey: null,
    });
  });

  it("reads what is given", () => {
    const config = readConfig({
      DATABASE_URL: "postgres://u:p@db/carillon",
      PORT: "0",
      CARILLON_SECRET_KEY: key,
      CARILLON_ALLOW_LOOPBACK: "true",
    });
    expect(requireDatabaseUrl(config)).toBe("postgres://u:p@db/carillon");
    expect(requireSecretKey(config)).toEqual(new Uint8Array(32).fill(7));
    expect(config).toMatchObject({ http: { port: 0 }, egress: { allowLoopback: true } });
  });

  it("reads the push services that are added", () => {
    const config = readConfig({ CARILLON_WEB_PUSH_HOSTS: "push.example.com, *.Push.example.org,fakes," });
    expect(config.egress.webPushHosts).toEqual(["push.example.com", "*.push.example.org", "fakes"]);
  });

  it.each([
    "*",
    "*.com",
    "*.",
    "*example.com",
    "a.*.example.com",
    "https://x.example",
    "x.example:443",
    "x.example/",
    ".example.com",
    "example.com.",
    "a b",
  ])("refuses %j as a push service", (host) => {
    expect(mistakesOf({ CARILLON_WEB_PUSH_HOSTS: `push.example.com,${host}` })).toEqual([
      expect.stringMatching(/CARILLON_WEB_PUSH_HOSTS must be host names/),
    ]);
  });

  it("names this process where nobody else does", () => {
    expect(readConfig({}).nodeName).toMatch(/^[\w.:-]{1,100}$/);
  });

  it.each([
    [{ PORT: "eighty" }, 'PORT must be a whole number from 0 to 65535, not "eighty".'],
    [{ PORT: "65536" }, 'PORT must be a whole number from 0 to 65535, not "65536".'],
    [
      { CARILLON_LEASE_MS: "8s" },
      'CARILLON_LEASE_MS must be a whole number of milliseconds from 500 to 86400000, not "8s".',
    ],
    [{ CARILLON_SLOTS: "-1" }, 'CARILLON_SLOTS must be a whole number from 1 to 256, not "-1".'],
    [{ DATABASE_URL: "mysql://x/y" }, "DATABASE_URL must look like postgres://user:password@host:5432/database."],
    [{ CARILLON_ALLOW_LOOPBACK: "maybe" }, "CARILLON_ALLOW_LOOPBACK must be true or false."],
    [{ LOG_LEVEL: "loud" }, "LOG_LEVEL must be one of fatal, error, warn, info, debug, trace, silent."],
  ])("says what is wrong with %o", (env, sentence) => {
    expect(mistakesOf(env)).toEqual([sentence]);
  });

  it("says everything that is wrong, a line each", () => {
    expect(mistakesOf({ PORT: "x", CARILLON_CHUNK: "0", LOG_LEVEL: "loud" })).toHaveLength(3);
  });

  it("never repeats the password of a database", () => {
    expect(mistakesOf({ DATABASE_URL: "mysql://me:hunter2@db/x" }).join()).not.toContain("hunter2");
  });

  it.each([
    ["a send that outlives its lease", { CARILLON_SEND_TIMEOUT_MS: "6001" }, { CARILLON_SEND_TIMEOUT_MS: "6000" }],
    ["a send that outlasts the drain", { CARILLON_DRAIN_MS: "5000" }, { CARILLON_DRAIN_MS: "5001" }],
    ["a lead shorter than two polls", { CARILLON_LEAD_MS: "1999" }, { CARILLON_LEAD_MS: "2000" }],
  ])("refuses %s, and nothing before it", (_name, refused, accepted) => {
    expect(mistakesOf(refused)).toHaveLength(1);
    expect(mistakesOf(accepted)).toEqual([]);
  });

  it.each(["c2hvcnQ=", `${key.slice(0, -1)}*`, "not base64 at all, but long enough to be 32 bytes"])(
    "refuses the secret key %j",
    (given) => {
      expect(mistakesOf({ CARILLON_SECRET_KEY: given })).toEqual([expect.stringMatching(/32 bytes in base64/)]);
    },
  );

  it("reads the secret key from a file, and says so where it can't", () => {
    const directory = mkdtempSync(join(tmpdir(), "carillon-config-"));
    try {
      const file = join(directory, "key");
      expect(mistakesOf({ CARILLON_SECRET_KEY_FILE: file })).toEqual([expect.stringMatching(/can't be read.*ENOENT/)]);
      writeFileSync(file, `${key}\n`);
      expect(readConfig({ CARILLON_SECRET_KEY_FILE: file }).secretKey).toEqual(new Uint8Array(32).fill(7));
      expect(mistakesOf({ CARILLON_SECRET_KEY_FILE: file, CARILLON_SECRET_KEY: key })).toHaveLength(1);
    } finally {
      rmSync(directory, { recursive: true });
    }
  });
});

describe("CARILLON_CA_FILE", () => {
  it("names certificates in PEM, and is refused where it holds none or anything that is no certificate", () => {
    const directory = mkdtempSync(join(tmpdir(), "carillon-config-"));
    try {
      const file = join(directory, "ca.pem");
      const [one, other] = [createAuthority().ca.trim(), createAuthority().ca.trim()];
      expect(mistakesOf({ CARILLON_CA_FILE: file })).toEqual([expect.stringMatching(/CARILLON_CA_FILE.*ENOENT/)]);
      writeFileSync(file, `# ours\n${one}\n\n# theirs\n${other}\n`);
      expect(readConfig({ CARILLON_CA_FILE: file }).egress.ca).toBe(`${one}\n${other}`);
      for (const text of ["", "trust me", `${one}\n${other.replace(/\n.{20}/, "\n")}`]) {
        writeFileSync(file, text);
        expect(mistakesOf({ CARILLON_CA_FILE: file })).toEqual([expect.stringMatching(/certificates in PEM/)]);
      }
    } finally {
      rmSync(directory, { recursive: true });
    }
  });
});

describe("what only some commands need", () => {
  it("is asked for by its name", () => {
    const config = readConfig({});
    expect(() => requireDatabaseUrl(config)).toThrow(/DATABASE_URL is not set/);
    expect(() => requireSecretKey(config)).toThrow(expect.objectContaining({ code: "secret_key_missing" }));
  });
});
