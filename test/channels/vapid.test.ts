import { importJWK, jwtVerify } from "jose";
import { describe, expect, it } from "vitest";
import { newVapidPair } from "../../src/channels/credentials.ts";
import { createVapid } from "../../src/channels/vapid.ts";

const keys = newVapidPair();
const subject = "mailto:ops@example.com";
const [google, mozilla] = ["https://fcm.googleapis.com", "https://updates.push.services.mozilla.com"];
const startMs = Date.UTC(2026, 10, 24, 18);
const hours = 3_600_000;

/** As a push service reads the header (RFC 8292, 3). */
async function read(header: string, audience: string, nowMs: number) {
  const { t, k } = /^vapid t=(?<t>[\w.-]+), k=(?<k>[\w-]+)$/.exec(header)?.groups ?? {};
  const point = Buffer.from(k ?? "", "base64url");
  const jwk = { kty: "EC", crv: "P-256", x: point.toString("base64url", 1, 33), y: point.toString("base64url", 33) };
  const options = { audience, algorithms: ["ES256"], typ: "JWT", currentDate: new Date(nowMs) };
  const { payload } = await jwtVerify(t ?? "", await importJWK(jwk, "ES256"), options);
  return { ...payload, key: k };
}

describe("a VAPID identity", () => {
  it("signs a token for the push service that another implementation verifies", async () => {
    const claims = await read(createVapid(keys, subject).authorization(google, startMs), google, startMs);
    expect(claims).toEqual({ aud: google, sub: subject, exp: (startMs + 12 * hours) / 1_000, key: keys.publicKey });
  });

  it("has one token for each push service, and keeps it", async () => {
    const vapid = createVapid(keys, subject);
    const first = vapid.authorization(google, startMs);
    expect(vapid.authorization(google, startMs + 10 * hours)).toBe(first);
    const other = vapid.authorization(mozilla, startMs);
    expect(await read(other, mozilla, startMs)).toMatchObject({ aud: mozilla });
    await expect(read(other, google, startMs)).rejects.toThrow(/aud/);
  });

  it("renews a token before it ends, and one that a clock set back makes too long", async () => {
    const vapid = createVapid(keys, subject);
    vapid.authorization(google, startMs);
    const laterMs = startMs + 11.5 * hours;
    const renewed = await read(vapid.authorization(google, laterMs), google, laterMs);
    expect(renewed.exp).toBe((laterMs + 12 * hours) / 1_000);
    const setBack = await read(vapid.authorization(google, startMs - 20 * hours), google, startMs - 20 * hours);
    expect(setBack.exp).toBe((startMs - 8 * hours) / 1_000);
  });

  it("is none with another pair's key", () => {
    const mixed = { ...keys, publicKey: newVapidPair().publicKey };
    expect(() => createVapid(mixed, subject)).toThrowError(expect.objectContaining({ code: "bad_credentials" }));
  });
});
