import { createECDH, generateKeyPairSync } from "node:crypto";
import { describe, expect, it } from "vitest";
import { checkP256Key, checkRsaKey, checkVapidPair, newVapidPair } from "../../src/channels/credentials.ts";

const pem = {
  privateKeyEncoding: { type: "pkcs8", format: "pem" },
  publicKeyEncoding: { type: "spki", format: "pem" },
};
const rsa = (modulusLength: number) => generateKeyPairSync("rsa", { modulusLength, ...pem } as never);
const ec = (namedCurve: string) => generateKeyPairSync("ec", { namedCurve, ...pem } as never);
const [rsaKey, weakKey] = [textOf(rsa(2_048)), textOf(rsa(1_024))];
const [p256Key, p384Key] = [textOf(ec("P-256")), textOf(ec("P-384"))];
const publicKey = generateKeyPairSync("ec", { namedCurve: "P-256" }).publicKey.export({ type: "spki", format: "pem" });

function textOf({ privateKey }: { readonly privateKey: unknown }): string {
  return String(privateKey);
}

const refused = (check: () => unknown) => {
  try {
    check();
  } catch (error) {
    return error;
  }
  return null;
};

describe("a private key", () => {
  it("is taken in the form that it is stored in, whatever PEM it came in", () => {
    expect(checkRsaKey(rsaKey, "/k")).toBe(rsaKey);
    expect(checkP256Key(p256Key, "/k")).toBe(p256Key);
    const sec1 = generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey;
    expect(checkP256Key(sec1.export({ type: "sec1", format: "pem" }).toString(), "/k")).toBe(
      sec1.export({ type: "pkcs8", format: "pem" }),
    );
  });

  it.each([
    ["no PEM", "not a key", checkRsaKey],
    ["nothing", "", checkP256Key],
    ["cut off", rsaKey.slice(0, 400), checkRsaKey],
    ["a public key", String(publicKey), checkP256Key],
    ["of another kind", p256Key, checkRsaKey],
    ["of another kind", rsaKey, checkP256Key],
    ["of another curve", p384Key, checkP256Key],
    ["too short", weakKey, checkRsaKey],
  ] as const)("is refused when it is %s, without a word of it", (_, key, check) => {
    const error = refused(() => check(key, "/privateKey"));
    expect(error).toMatchObject({ code: "bad_credentials", pointer: "/privateKey" });
    expect(error).not.toHaveProperty("cause");
    const middle = key.split("\n")[1];
    if (middle !== undefined) expect(String(error)).not.toContain(middle.slice(0, 8));
  });
});

describe("a VAPID pair", () => {
  it("is made fresh and fits, with leading zeros too", () => {
    const made = Array.from({ length: 300 }, newVapidPair);
    for (const pair of made) expect(checkVapidPair(pair)).toEqual(pair);
    expect(new Set(made.map((pair) => pair.publicKey)).size).toBe(made.length);
  });

  it("is refused when its halves are not of one pair, or no keys at all", () => {
    const [one, other] = [newVapidPair(), newVapidPair()];
    const point = Buffer.from(one.publicKey, "base64url");
    const compressed = createECDH("prime256v1");
    compressed.setPrivateKey(Buffer.from(one.privateKey, "base64url"));
    const cases = [
      [{ ...one, publicKey: other.publicKey }, "/publicKey"],
      [{ ...one, publicKey: "" }, "/publicKey"],
      [{ ...one, publicKey: compressed.getPublicKey("base64url", "compressed") }, "/publicKey"],
      [{ ...one, publicKey: `${one.publicKey}=` }, "/publicKey"],
      [{ ...one, publicKey: point.toString("base64") }, "/publicKey"],
      [{ ...one, privateKey: "" }, "/privateKey"],
      [{ ...one, privateKey: Buffer.alloc(32).toString("base64url") }, "/privateKey"],
      [{ ...one, privateKey: Buffer.alloc(32, 0xff).toString("base64url") }, "/privateKey"],
    ] as const;
    for (const [pair, pointer] of cases) {
      expect(refused(() => checkVapidPair(pair))).toMatchObject({ code: "bad_credentials", pointer });
    }
  });
});
