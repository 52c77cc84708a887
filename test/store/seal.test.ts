import { randomBytes } from "node:crypto";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { seal, unseal } from "../../src/store/seal.ts";

const key = randomBytes(32);

describe("seal", () => {
  it("opens what it sealed, and never seals alike", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (secret) => {
        const sealed = seal(secret, key, "destination:a");
        expect(unseal(sealed, key, "destination:a")).toBe(Buffer.from(secret, "utf8").toString("utf8"));
        expect(seal(secret, key, "destination:a").equals(sealed)).toBe(false);
        expect(secret.length < 8 || !sealed.includes(secret)).toBe(true);
      }),
    );
  });

  it("opens from a view into a larger buffer", () => {
    const sealed = seal("secret", key, "here");
    const larger = Buffer.concat([randomBytes(5), sealed, randomBytes(5)]);
    expect(unseal(new Uint8Array(larger.buffer, larger.byteOffset + 5, sealed.length), key, "here")).toBe("secret");
  });

  it("does not open under another key, for another destination, or after any bit was turned", () => {
    const sealed = seal("secret", key, "destination:a");
    const refused = { code: "secret_key_missing" };
    expect(() => unseal(sealed, randomBytes(32), "destination:a")).toThrow(expect.objectContaining(refused));
    expect(() => unseal(sealed, key, "destination:b")).toThrow(expect.objectContaining(refused));
    for (let index = 1; index < sealed.length; index++) {
      const turned = Buffer.from(sealed);
      turned.writeUInt8(turned.readUInt8(index) ^ 1, index);
      expect(() => unseal(turned, key, "destination:a")).toThrow(expect.objectContaining(refused));
    }
    expect(() => unseal(Buffer.alloc(10), key, "x")).toThrow(expect.objectContaining({ code: "internal" }));
  });

  it.each([null, randomBytes(31)])("needs a key of 32 bytes", (bad) => {
    expect(() => seal("secret", bad, "x")).toThrow(expect.objectContaining({ code: "secret_key_missing" }));
    expect(() => unseal(seal("secret", key, "x"), bad, "x")).toThrow(
      expect.objectContaining({ code: "secret_key_missing" }),
    );
  });
});
