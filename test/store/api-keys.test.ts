import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createKey, findKey, listKeys, revokeKey } from "../../src/store/api-keys.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";

let test: TestDatabase;
beforeAll(async () => {
  test = await createTestDatabase();
});
afterAll(() => test[Symbol.asyncDispose]());

describe("API keys", () => {
  it("are found by their token, of which only a digest is stored", async () => {
    const { keyId, token } = await createKey(test.database, { name: "ci", scopes: ["subscribe"] });
    expect(token).toMatch(new RegExp(`^ck_${keyId}_[A-Za-z0-9_-]{43}$`));
    expect(await findKey(test.database, token)).toMatchObject({ keyId, name: "ci", scopes: ["subscribe"] });
    const { rows } = await test.database.pool.query("select to_jsonb(k)::text as row from carillon.api_keys k");
    expect(JSON.stringify(rows)).not.toContain(token.slice(-43));
  });

  it("are not found by anything else", async () => {
    const first = await createKey(test.database, { name: "a", scopes: ["admin"] });
    const second = await createKey(test.database, { name: "b", scopes: ["subscribe"] });
    const secret = first.token.slice(-43);
    const wrong = [
      "",
      "ck",
      `ck_${second.keyId}_${secret}`,
      `ck_0${first.keyId}_${secret}x`,
      `ck_99999999999_${secret}`,
      first.token.slice(0, -1),
      `${first.token}A`,
      first.token.toUpperCase(),
      `${first.token}\n`,
    ];
    for (const token of wrong) expect(await findKey(test.database, token), token).toBeNull();
  });

  it("are revoked once and for all, and stay on the list", async () => {
    const { keyId, token } = await createKey(test.database, { name: "old", scopes: ["admin", "subscribe"] });
    const revoked = await revokeKey(test.database, keyId);
    expect((await revokeKey(test.database, keyId)).revokedAt).toEqual(revoked.revokedAt);
    expect(await findKey(test.database, token)).toBeNull();
    expect((await listKeys(test.database)).find((key) => key.keyId === keyId)).toEqual(revoked);
    await expect(revokeKey(test.database, 999_999)).rejects.toMatchObject({ code: "unknown_api_key" });
  });

  it("note their use at most once a minute", async () => {
    const { keyId, token } = await createKey(test.database, { name: "busy", scopes: ["admin"] });
    const lastUsedAt = async () => (await listKeys(test.database)).find((key) => key.keyId === keyId)?.lastUsedAt;
    await findKey(test.database, token);
    const first = await lastUsedAt();
    await findKey(test.database, token);
    expect(await lastUsedAt()).toEqual(first);
    await test.database.pool.query("update carillon.api_keys set last_used_at = last_used_at - interval '2 minutes'");
    await findKey(test.database, token);
    expect((await lastUsedAt())?.getTime()).toBeGreaterThanOrEqual(first?.getTime() ?? Number.POSITIVE_INFINITY);
  });
});
