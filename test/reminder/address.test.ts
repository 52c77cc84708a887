import { describe, expect, it } from "vitest";
import { canonicalAddress, shownAddress } from "../../src/reminder/address.ts";

const p256dh = Buffer.concat([Buffer.of(4), Buffer.alloc(64, 7)]).toString("base64url");
const auth = Buffer.alloc(16, 9).toString("base64url");
const endpoint = "https://updates.push.services.mozilla.com/wpush/v2/gAAAAABsecret";
const canonical = `{"endpoint":"${endpoint}","keys":{"p256dh":"${p256dh}","auth":"${auth}"}}`;

describe("an address", () => {
  it("of an app is its token: FCM's as it is, APNs' in lower case", () => {
    expect(canonicalAddress("fcm", "dQw4:APA91b-_x")).toBe("dQw4:APA91b-_x");
    expect(canonicalAddress("apns", "AB".repeat(32))).toBe("ab".repeat(32));
    expect(canonicalAddress("webhook", "Ada Lovelace")).toBe("Ada Lovelace");
  });

  it("of a browser is its subscription, in one form however it is written", () => {
    const asBrowsersWriteIt = { endpoint, expirationTime: null, keys: { auth, p256dh } };
    expect(canonicalAddress("web-push", JSON.stringify(asBrowsersWriteIt, null, 2))).toBe(canonical);
    expect(canonicalAddress("web-push", canonical)).toBe(canonical);
  });

  it.each([
    ["fcm", "a token"],
    ["fcm", ""],
    ["fcm", "x".repeat(2_049)],
    ["apns", "ab".repeat(31)],
    ["apns", "ab".repeat(101)],
    ["apns", `${"ab".repeat(32)}c`],
    ["apns", "zz".repeat(32)],
    ["web-push", endpoint],
    ["web-push", "null"],
    ["web-push", "[]"],
    ["web-push", JSON.stringify({ endpoint })],
    ["web-push", JSON.stringify({ endpoint, keys: { p256dh } })],
    ["web-push", JSON.stringify({ endpoint, keys: { p256dh: auth, auth } })],
    ["web-push", JSON.stringify({ endpoint, keys: { p256dh, auth: p256dh } })],
    ["web-push", JSON.stringify({ endpoint: 7, keys: { p256dh, auth } })],
    ["web-push", JSON.stringify({ endpoint: `${endpoint}${"x".repeat(2_000)}`, keys: { p256dh, auth } })],
  ])("of %s is refused where it is none: %s", (channel, address) => {
    expect(() => canonicalAddress(channel, address)).toThrow(expect.objectContaining({ code: "bad_address" }));
  });
});

describe("an address is shown", () => {
  it("with its first six and last four characters where it is a device, else whole", () => {
    expect(shownAddress("fcm", "abcdefghijklmnopqrstuvwxyz")).toBe("abcdef…wxyz");
    expect(shownAddress("apns", "ab".repeat(32))).toBe("ababab…abab");
    expect(shownAddress("webhook", "ada@example.org and more")).toBe("ada@example.org and more");
  });

  it("never whole where it is a short one", () => {
    expect(shownAddress("fcm", "abcdefghij")).toBe("abcdef…");
  });

  it("with the push service where it is a browser's", () => {
    expect(shownAddress("web-push", canonical)).toBe("https://updates.push.services.mozilla.com/…cret");
    expect(shownAddress("web-push", "not a subscription")).toBe("…");
  });
});
