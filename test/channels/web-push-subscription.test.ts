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

/** Where a hostile subscription would have us call; each in the form that its author hopes to slip through with. */
const hostileEndpoints = [
  // not push services, or nearly
  "https://evil.example/",
  "https://fcm.googleapis.com.evil.example/",
  "https://evil.example/fcm.googleapis.com",
  "https://evil.example/?https://fcm.googleapis.com/",
  "https://evilfcm.googleapis.com/",
  "https://x.fcm.googleapis.com/",
  "https://googleapis.com/",
  "https://storage.googleapis.com/",
  "https://fcm-googleapis.com/",
  "https://fcmxgoogleapis.com/",
  "https://push.services.mozilla.com/",
  "https://evilpush.services.mozilla.com/",
  "https://push.apple.com/",
  "https://evil-push.apple.com/",
  "https://xpush.apple.com/",
  "https://notify.windows.com/",
  "https://evilnotify.windows.com/",
  "https://db5.notify.windows.com.evil.example/",
  "https://notify.windows.com.db5.evil.example/",
  "https://permanently-removed.invalid/fcm/send/x",
  "https://fcm.googleapis.com./fcm/send/x",
  "https://web.push.apple.com./x",
  // look-alikes, and what the parser maps to the real name
  "https://fcm.googleapıs.com/",
  "https://fcm.goog1eapis.com/",
  "https://fcm.gооgleapis.com/",
  "https://xn--fcm-googleapis-com.example/",
  "https://web.push.аpple.com/",
  "https://xn--pple-43d.push.apple.com.evil.example/",
  "https://ｆｃｍ.googleapis.com/",
  "https://fcm。googleapis。com/",
  "https://fcm%2egoogleapis.com/",
  "https://%66cm.googleapis.com/",
  "https://fcm.google\u00adapis.com/",
  "https://fcm.googleapis.com\u0000.evil.example/",
  "https://fcm.googleapis.com%00.evil.example/",
  // another part than the host
  "http://fcm.googleapis.com/",
  "ftp://fcm.googleapis.com/",
  "wss://fcm.googleapis.com/",
  "file:///etc/passwd",
  "javascript:alert(1)",
  "//fcm.googleapis.com/",
  "fcm.googleapis.com",
  "https:fcm.googleapis.com",
  "https:/fcm.googleapis.com",
  "https:///fcm.googleapis.com",
  "https://user@fcm.googleapis.com/",
  "https://user:word@fcm.googleapis.com/",
  "https://@fcm.googleapis.com/",
  "https://fcm.googleapis.com@evil.example/",
  "https://fcm.googleapis.com:443@evil.example/",
  "https://evil.example\\@fcm.googleapis.com/",
  "https://fcm.googleapis.com\\.evil.example/",
  "https://evil.example#@fcm.googleapis.com/",
  "https://evil.example?@fcm.googleapis.com/",
  "https://fcm.googleapis.com#.evil.example/",
  "https://fcm.googleapis.com/#",
  "https://fcm.googleapis.com:80/",
  "https://fcm.googleapis.com:8443/",
  "https://fcm.googleapis.com:0/",
  "https://fcm.googleapis.com:0443/",
  "https://fcm.googleapis.com:/",
  "https://fcm.googleapis.com:99999/",
  " https://fcm.googleapis.com/",
  "https://fcm.googleapis.com/ HTTP/1.1",
  "https://fcm.googleapis.com/\r\nx-injected: 1",
  "https://fcm.goog\tleapis.com/",
  // this machine, inside networks and cloud metadata, in every notation
  "https://localhost/",
  "https://LOCALHOST/",
  "https://localhost./",
  "https://a.localhost/",
  "https://postgres/",
  "https://metadata.google.internal/",
  "https://127.0.0.1/",
  "https://127.1/",
  "https://2130706433/",
  "https://0x7f000001/",
  "https://0x7f.1/",
  "https://0177.0.0.1/",
  "https://①②⑦.⓪.⓪.①/",
  "https://127。0。0。1/",
  "https://0/",
  "https://0.0.0.0/",
  "https://10.0.0.1/",
  "https://172.16.0.1/",
  "https://192.168.0.1/",
  "https://100.64.0.1/",
  "https://169.254.169.254/",
  "https://2852039166/",
  "https://[::]/",
  "https://[::1]/",
  "https://[::ffff:127.0.0.1]/",
  "https://[::ffff:7f00:1]/",
  "https://[::127.0.0.1]/",
  "https://[64:ff9b::7f00:1]/",
  "https://[64:ff9b:1::1]/",
  "https://[2002:7f00:1::]/",
  "https://[fc00::1]/",
  "https://[fe80::1]/",
  "https://[fec0::1]/",
  "https://[ff02::1]/",
  "https://93.184.216.34/",
  "https://[2606:2800:220:1:248:1893:25c8:1946]/",
];

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
