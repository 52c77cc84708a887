import { generateKeyPairSync } from "node:crypto";
import { decodeProtectedHeader, exportJWK, importJWK, jwtVerify } from "jose";
import { describe, expect, it } from "vitest";
import { ProviderTokens } from "../../src/channels/apns-token.ts";

const pair = generateKeyPairSync("ec", { namedCurve: "P-256" });
const privateKey = pair.privateKey.export({ type: "pkcs8", format: "pem" }).toString();
const minutes = (count: number) => count * 60_000;

function tokensAt(startMs: number) {
  const clock = { wallMs: startMs, monotonicMs: 0 };
  const credential = { teamId: "TEAM123456", keyId: "KEY1234567", privateKey };
  const tokens = new ProviderTokens(
    credential,
    () => clock.wallMs,
    () => clock.monotonicMs,
  );
  const pass = (ms: number) => {
    clock.wallMs += ms;
    clock.monotonicMs += ms;
  };
  return { clock, tokens, pass };
}

describe("ProviderTokens", () => {
  it("signs what Apple asks for", async () => {
    const { tokens } = tokensAt(1_790_000_000_999);
    const { jwt } = await tokens.current();
    expect(decodeProtectedHeader(jwt)).toEqual({ alg: "ES256", kid: "KEY1234567" });
    const { payload } = await jwtVerify(jwt, await importJWK(await exportJWK(pair.publicKey), "ES256"));
    expect(payload).toEqual({ iss: "TEAM123456", iat: 1_790_000_000 });
  });

  it("signs one for all who come at once", async () => {
    const { tokens } = tokensAt(0);
    const several = await Promise.all([tokens.current(), tokens.current(), tokens.current()]);
    expect(new Set(several).size).toBe(1);
  });

  it("keeps one for 40 minutes", async () => {
    const { tokens, pass } = tokensAt(0);
    const first = await tokens.current();
    pass(minutes(40) - 1);
    expect(await tokens.current()).toBe(first);
    pass(1);
    expect((await tokens.current()).jwt).not.toBe(first.jwt);
  });

  it("renews one after the machine has slept, and after its clock was set forward", async () => {
    for (const clockName of ["wallMs", "monotonicMs"] as const) {
      const { tokens, clock } = tokensAt(0);
      const first = await tokens.current();
      clock[clockName] += minutes(41);
      expect(await tokens.current()).not.toBe(first);
    }
  });

  it("replaces a refused one once, for all who were refused with it", async () => {
    const { tokens, pass } = tokensAt(0);
    const refused = await tokens.current();
    pass(minutes(20));
    const [one, other] = await Promise.all([tokens.replacing(refused), tokens.replacing(refused)]);
    expect(one).not.toBe(refused);
    expect(other).toBe(one);
    expect(await tokens.replacing(refused)).toBe(one);
    expect(await tokens.current()).toBe(one);
  });

  it("never replaces one that is younger than 20 minutes: that would only be refused as well", async () => {
    const { tokens, pass } = tokensAt(0);
    const refused = await tokens.current();
    pass(minutes(20) - 1);
    expect(await tokens.replacing(refused)).toBeNull();
    expect(await tokens.current()).toBe(refused);
  });

  it("says that a key is none, and never what it was given", async () => {
    const tokens = new ProviderTokens({ teamId: "T", keyId: "K", privateKey: "-----not a key-----" });
    const error = await tokens.current().catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(Error);
    expect(String(error)).not.toContain("not a key");
  });
});
