import { createECDH } from "node:crypto";
import { once } from "node:events";
import { createServer, type Server } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { newVapidPair } from "../../src/channels/credentials.ts";
import type { EgressPolicy, Resolve } from "../../src/channels/egress-guard.ts";
import { createWebPushChannel } from "../../src/channels/web-push.ts";
import { checkPushSubscription, type PushPolicy } from "../../src/channels/web-push-subscription.ts";
import { Browser } from "./browser.ts";
import { deliveriesTo, sendAll } from "./conformance.ts";
import { hostileEndpoints } from "./hostile-endpoints.ts";

const closed: PushPolicy = { allowLoopback: false };
const browser = new Browser();
const keys = { p256dh: browser.publicKey.toString("base64url"), auth: browser.auth.toString("base64url") };
const endpoint = "https://fcm.googleapis.com/fcm/send/eAzLfIxkZ2k:APA91bH4";

const coded = (code: string) => expect.objectContaining({ code, pointer: "/address" });

describe("checkPushSubscription", () => {
  it.each([
    endpoint,
    "https://updates.push.services.mozilla.com/wpush/v2/gAAAAABnpdbu",
    "https://web.push.apple.com/QGuQyavXutnMH",
    "https://wns2-par02p.notify.windows.com/w/?token=BQYAAACwPVMzUnfV%2bvjM%3d",
    "https://fcm.googleapis.com:443/fcm/send/x",
    "https://FCM.googleapis.com/fcm/send/x",
  ])("takes a subscription at %s", (url) => {
    const checked = checkPushSubscription(browser.subscription(url), closed, "/address");
    expect(checked.endpoint.href).toBe(url.replace(":443", "").replace("FCM", "fcm"));
    expect(checked.publicKey).toEqual(browser.publicKey);
    expect(checked.auth).toEqual(browser.auth);
  });

  it("gives equal subscriptions one form, whatever form they came in", () => {
    const canonical = `{"endpoint":"${endpoint}","keys":{"p256dh":"${keys.p256dh}","auth":"${keys.auth}"}}`;
    const padded = browser.auth.toString("base64");
    const forms = [
      canonical,
      JSON.stringify({ endpoint, expirationTime: null, keys }),
      JSON.stringify({ endpoint, expirationTime: 1_795_514_416_000, keys }, null, 2),
      JSON.stringify({ keys: { auth: padded, p256dh: browser.publicKey.toString("base64") }, endpoint }),
      JSON.stringify({ endpoint: endpoint.replace("https://fcm", "HTTPS://FCM"), keys }),
    ];
    for (const form of forms) expect(checkPushSubscription(form, closed).canonical).toBe(canonical);
    expect(checkPushSubscription(canonical, closed).canonical).toBe(canonical);
  });

  const compressed = createECDH("prime256v1");
  compressed.generateKeys();
  const key = (bytes: Buffer) => ({ ...keys, p256dh: bytes.toString("base64url") });

  it.each<[string, unknown]>([
    ["no endpoint", { keys }],
    ["an endpoint that is no string", { endpoint: [endpoint], keys }],
    ["no keys", { endpoint }],
    ["keys that are null", { endpoint, keys: null }],
    ["no auth", { endpoint, keys: { p256dh: keys.p256dh } }],
    ["no p256dh", { endpoint, keys: { auth: keys.auth } }],
    ["another key", { endpoint, keys: { ...keys, extra: "" } }],
    ["another member", { endpoint, keys, user: "alice" }],
    ["an expirationTime in words", { endpoint, keys, expirationTime: "never" }],
    ["an array", [endpoint, keys]],
    ["a string", endpoint],
    ["null", null],
    ["an auth of 15 bytes", { endpoint, keys: { ...keys, auth: "A".repeat(20) } }],
    ["an auth of 17 bytes", { endpoint, keys: { ...keys, auth: "A".repeat(23) } }],
    ["an auth that is no base64", { endpoint, keys: { ...keys, auth: `${keys.auth.slice(0, 20)}!!` } }],
    ["an auth with stray bits", { endpoint, keys: { ...keys, auth: `${"A".repeat(21)}B` } }],
    ["an auth in both alphabets", { endpoint, keys: { ...keys, auth: `-+${"A".repeat(19)}A` } }],
    ["a p256dh of 64 bytes", { endpoint, keys: key(browser.publicKey.subarray(1)) }],
    ["a p256dh that is compressed", { endpoint, keys: key(compressed.getPublicKey(null, "compressed")) }],
    ["a p256dh in hybrid form", { endpoint, keys: key(compressed.getPublicKey(null, "hybrid")) }],
    ["a p256dh off the curve", { endpoint, keys: key(Buffer.alloc(65, 7).fill(4, 0, 1)) }],
    ["the point at infinity", { endpoint, keys: key(Buffer.alloc(65).fill(4, 0, 1)) }],
    ["more than the column holds", { endpoint: endpoint + "x".repeat(1_900), keys }],
    ["far too much", { endpoint: endpoint + "x".repeat(5_000), keys }],
  ])("refuses %s", (_, given) => {
    expect(() => checkPushSubscription(JSON.stringify(given), closed, "/address")).toThrowError(
      coded("bad_subscription"),
    );
  });

  it("refuses what is no JSON", () => {
    for (const text of ["", "{", "undefined", "endpoint=x"]) {
      expect(() => checkPushSubscription(text, closed, "/address")).toThrowError(coded("bad_subscription"));
    }
  });

  it("says what is wrong without repeating the endpoint or the keys", () => {
    const texts = [
      browser.subscription("https://evil.example/secret-token"),
      browser.subscription("http://fcm.googleapis.com/secret-token"),
      JSON.stringify({ endpoint: "https://fcm.googleapis.com/secret-token", keys: { ...keys, auth: "secret-token" } }),
      '{"secret-token',
    ];
    for (const text of texts) {
      expect(() => checkPushSubscription(text, closed)).toThrowError(
        expect.objectContaining({ message: expect.not.stringContaining("secret-token") }),
      );
    }
  });

  it("takes the hosts that the operator adds, and only those", () => {
    const policy = { ...closed, pushHosts: ["push.example.com", "*.push.example.org"] };
    const at =
      (url: string, under: PushPolicy = policy) =>
      () =>
        checkPushSubscription(browser.subscription(url), under);
    for (const url of [
      "https://push.example.com/x",
      "https://eu.push.example.org/x",
      "https://a.b.push.example.org/x",
      endpoint,
    ]) {
      expect(at(url)).not.toThrow();
    }
    for (const url of [
      "https://eu.push.example.com/x",
      "https://push.example.org/x",
      "https://evilpush.example.org/x",
      "https://push.example.com.evil.example/x",
    ]) {
      expect(at(url)).toThrowError(expect.objectContaining({ code: "hostile_url" }));
    }
  });

  it("opens this machine and private networks for development, and nothing else with them", () => {
    const at = (url: string, policy: EgressPolicy) => () => checkPushSubscription(browser.subscription(url), policy);
    const hostile = expect.objectContaining({ code: "hostile_url" });
    const loopback = { allowLoopback: true };
    const open = { allowLoopback: false, allowPrivate: true };
    expect(at("http://127.0.0.1:8080/push/1", loopback)).not.toThrow();
    expect(at("https://localhost:8443/push/1", loopback)).not.toThrow();
    expect(at("http://10.0.0.1/push/1", open)).not.toThrow();
    expect(at("http://fakes:8080/push/1", open)).not.toThrow();
    expect(at("http://10.0.0.1/push/1", loopback)).toThrowError(hostile);
    for (const policy of [loopback, open]) {
      for (const url of [
        "https://evil.example/",
        "https://93.184.216.34/",
        "http://fcm.googleapis.com/x",
        "https://fcm.googleapis.com:8443/x",
        "http://169.254.169.254/",
      ]) {
        expect(at(url, policy)).toThrowError(hostile);
      }
    }
  });
});

describe("a hostile subscription", () => {
  let connects = 0;
  let listener: Server;
  let port = 0;

  beforeAll(async () => {
    listener = createServer((socket) => {
      connects += 1;
      socket.destroy();
    });
    listener.listen(0);
    await once(listener, "listening");
    const address = listener.address();
    port = typeof address === "object" && address !== null ? address.port : 0;
  });
  afterAll(() => new Promise((resolve) => listener.close(resolve)));

  const destination = {
    destinationId: 1,
    name: "browsers",
    channel: "web-push" as const,
    url: "",
    subject: "mailto:ops@example.com",
    ...newVapidPair(),
  };

  async function outcomesOf(urls: readonly string[], policy: PushPolicy, resolve: Resolve) {
    const channel = createWebPushChannel({ policy, connectionsPerHost: 2, resolve });
    try {
      const sent = await sendAll(channel, destination, deliveriesTo(...urls.map((url) => browser.subscription(url))));
      await channel.warm(destination, new AbortController().signal);
      return sent.outcomes;
    } finally {
      await channel.close();
    }
  }
  const inside: Resolve = async () => [{ address: "127.0.0.1", family: 4 }];

  it("comes in more than sixty forms", () => expect(new Set(hostileEndpoints).size).toBeGreaterThan(60));

  it.each(hostileEndpoints)("is refused when it is saved: %j", (url) => {
    expect(() => checkPushSubscription(browser.subscription(url), closed, "/address")).toThrowError(
      coded("hostile_url"),
    );
  });

  it("is rejected when it was saved nevertheless, and nothing is connected to", async () => {
    const withPort = hostileEndpoints.map((url) => url.replace(/^(https?:\/\/[^/?#]+)/, `$1:${port}`));
    const urls = [...hostileEndpoints, ...withPort];
    const before = connects;
    const asked: string[] = [];
    const outcomes = await outcomesOf(urls, closed, async (name) => {
      asked.push(name);
      return [{ address: "127.0.0.1", family: 4 }];
    });
    for (const [index, outcome] of outcomes.entries()) {
      expect(outcome, urls[index]).toMatchObject({ kind: "rejected", reason: expect.stringContaining("egress guard") });
    }
    expect(asked).toEqual([]);
    expect(connects - before).toBe(0);
  });

  it("finds no way through a name that was fine when it was saved and resolves inside when it is called", async () => {
    const before = connects;
    const outside = { address: "93.184.216.34", family: 4 };
    for (const address of [
      "127.0.0.1",
      "10.0.0.1",
      "100.64.0.1",
      "169.254.169.254",
      "::1",
      "::ffff:127.0.0.1",
      "64:ff9b::7f00:1",
      "fd00::1",
    ]) {
      const hostile = { address, family: address.includes(":") ? 6 : 4 };
      const [outcome] = await outcomesOf([endpoint], closed, async () => [outside, hostile]);
      expect(outcome).toMatchObject({ kind: "rejected", reason: expect.stringContaining("egress guard") });
    }
    expect(connects - before).toBe(0);
  });

  it("would get through where the policy opens this machine (or the tests above would prove nothing)", async () => {
    const before = connects;
    await outcomesOf([`http://127.0.0.1:${port}/`], { allowLoopback: true }, inside);
    expect(connects - before).toBeGreaterThan(0);
  });
});
