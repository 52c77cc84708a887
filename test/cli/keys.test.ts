import { describe, expect, it } from "vitest";
import { spawnNode } from "../../src/cli/child-node.ts";
import { createTestDatabase } from "../support/database.ts";
import { carillon, typed } from "./carillon.ts";

interface ListedKey {
  readonly keyId: number;
  readonly name: string;
  readonly scopes: readonly string[];
  readonly revokedAt: string | null;
}

describe("carillon keys", () => {
  it("makes a key that the API takes, until it is revoked", async () => {
    await using test = await createTestDatabase();
    const env = { DATABASE_URL: test.url };
    const { promise: url, resolve } = Promise.withResolvers<string>();
    const [made, api] = await Promise.all([
      carillon(["keys", "create", "--name", "backend", "--scope", "subscribe"], env),
      spawnNode({
        verb: "api",
        env: { ...env, PORT: "0", LOG_LEVEL: "info" },
        onLog: (line) => {
          const [listening] = /http:\/\/127\.0\.0\.1:\d+/.exec(line) ?? [];
          if (listening !== undefined) resolve(listening);
        },
      }),
    ]);
    await using _api = api;
    const token = made.stdout.trim();
    expect(token).toMatch(/^ck_\d+_[\w-]{43}$/);
    expect(made.stderr).toMatch(/can't be shown again/);

    const base = await url;
    const topics = (withToken: string) =>
      fetch(`${base}/v1/topics`, { headers: { authorization: `Bearer ${withToken}` } });
    expect((await topics(token)).status).toBe(200);
    expect((await topics(`${token.slice(0, -1)}_`)).status).toBe(401);

    const listed = await typed(["keys", "list", "--json"], env);
    const [key]: readonly ListedKey[] = JSON.parse(listed.stdout);
    expect(key).toMatchObject({ name: "backend", scopes: ["subscribe"], revokedAt: null });
    expect(listed.stdout).not.toContain(token.split("_")[2]);

    const revoked = await typed(["keys", "revoke", String(key?.keyId)], env);
    expect(revoked.stdout).toBe(`Revoked ${key?.keyId} (backend).\n`);
    expect((await topics(token)).status).toBe(401);
  });

  it("answers programs with one object, and says where there is no such key", async () => {
    await using test = await createTestDatabase();
    const env = { DATABASE_URL: test.url };
    const made = await typed(["keys", "create", "--name", "ops", "--scope", "admin", "--json"], env);
    expect(JSON.parse(made.stdout)).toEqual({ keyId: expect.any(Number), token: expect.stringMatching(/^ck_/) });
    expect(made.stderr).toBe("");
    const unknown = await typed(["keys", "revoke", "404"], env);
    const table = await typed(["keys", "list"], env);
    expect(unknown).toMatchObject({ code: 1, stdout: "", stderr: expect.stringContaining("(unknown_api_key)") });
    expect(table.stdout).toMatch(/ops .*admin/);
  });
});
