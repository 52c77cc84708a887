import { fc, test as property } from "@fast-check/vitest";
import { describe, expect, it } from "vitest";
import { encryptPush, plaintextBytesMax } from "../../src/channels/web-push-encryption.ts";
import { Browser } from "./browser.ts";

const bytes = (text: string) => Buffer.from(text, "base64url");

describe("encryptPush", () => {
  it("gives RFC 8291's example, byte by byte (section 5 and appendix A)", () => {
    const receiver = {
      publicKey: bytes("BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"),
      auth: bytes("BTBZMqHH6r4Tts7J_aSIgg"),
    };
    const secrets = {
      privateKey: bytes("yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw"),
      salt: bytes("DGv6ra1nlYgDCS1FRnbzlw"),
    };
    const body = encryptPush(receiver, Buffer.from("When I grow up, I want to be a watermelon"), secrets);
    expect(body.toString("base64url")).toBe(
      "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_" +
        "yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN",
    );
  });

  property.prop([fc.uint8Array({ maxLength: plaintextBytesMax })])("is read by another implementation", (message) => {
    const browser = new Browser();
    expect(browser.decrypt(encryptPush(browser, Buffer.from(message)))).toEqual(Buffer.from(message));
  });

  it("fills the 4,096 bytes that push services take, and no more, with the longest message", () => {
    const browser = new Browser();
    const longest = Buffer.alloc(plaintextBytesMax, "x");
    const body = encryptPush(browser, longest);
    expect(body.length).toBe(4_096);
    expect(browser.decrypt(body)).toEqual(longest);
  });

  it("takes a key pair and a salt of its own for each message", () => {
    const browser = new Browser();
    const bodies = Array.from({ length: 50 }, () => encryptPush(browser, Buffer.from("the same")));
    expect(new Set(bodies.map((body) => body.toString("hex", 0, 16))).size).toBe(50);
    expect(new Set(bodies.map((body) => body.toString("hex", 21, 86))).size).toBe(50);
  });

  it("can be read by nobody else", () => {
    const [browser, other] = [new Browser(), new Browser()];
    const body = encryptPush(browser, Buffer.from("private"));
    expect(() => other.decrypt(body)).toThrow();
    expect(() => browser.decrypt(body.with(90, (body[90] ?? 0) ^ 1) as Buffer)).toThrow();
  });

  it("refuses a public key that is no point of the curve", () => {
    const publicKey = Buffer.alloc(65, 7).fill(4, 0, 1);
    expect(() => encryptPush({ publicKey, auth: Buffer.alloc(16) }, Buffer.from("x"))).toThrow();
  });
});
