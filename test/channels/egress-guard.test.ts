import { once } from "node:events";
import { createServer, type Server } from "node:net";
import { Client } from "undici";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  checkUrl,
  type EgressPolicy,
  guardedConnector,
  isAllowedAddress,
  type Resolve,
} from "../../src/channels/egress-guard.ts";
import { createWebhookChannel } from "../../src/channels/webhook.ts";
import { createEventSender } from "../../src/channels/webhook-events.ts";
import { CarillonError } from "../../src/errors.ts";
import { deliveriesTo, sendAll } from "./conformance.ts";

const closed: EgressPolicy = { allowLoopback: false };
const loopback: EgressPolicy = { allowLoopback: true };
const open: EgressPolicy = { allowLoopback: false, allowPrivate: true };

/** Hosts that are this machine, an inside network or no place at all, in every spelling. */
const hostileHosts = [
  "localhost",
  "LOCALHOST",
  "localhost.",
  "a.localhost",
  "localhost.localdomain",
  "ip6-localhost",
  "postgres",
  "metadata.google.internal",
  "printer.local",
  "nas.lan",
  "router.home.arpa",
  "example.com.",
  "127.0.0.1",
  "127.0.0.1.",
  "127.1",
  "127.0.1",
  "127.255.255.254",
  "2130706433",
  "0x7f000001",
  "0x7f.0.0.1",
  "0x7f.1",
  "0177.0.0.1",
  "0177.1",
  "017700000001",
  "%31%32%37.0.0.1",
  "①②⑦.⓪.⓪.①",
  "127。0。0。1",
  "ｌｏｃａｌｈｏｓｔ",
  "0",
  "0.0.0.0",
  "0.1.2.3",
  "10.0.0.1",
  "10.255.255.255",
  "0xa000001",
  "172.16.0.1",
  "172.31.255.255",
  "192.168.0.1",
  "192.168.257",
  "3232235521",
  "100.64.0.1",
  "100.127.255.255",
  "169.254.0.1",
  "169.254.169.254",
  "0xa9fea9fe",
  "2852039166",
  "0251.0376.0251.0376",
  "192.0.0.8",
  "192.0.2.1",
  "192.88.99.1",
  "198.18.0.1",
  "198.19.255.255",
  "198.51.100.1",
  "203.0.113.1",
  "224.0.0.1",
  "239.255.255.255",
  "240.0.0.1",
  "255.255.255.255",
  "[::]",
  "[::1]",
  "[0:0:0:0:0:0:0:1]",
  "[::7f00:1]",
  "[::127.0.0.1]",
  "[::ffff:127.0.0.1]",
  "[::ffff:7f00:1]",
  "[::ffff:10.0.0.1]",
  "[::ffff:8.8.8.8]",
  "[::ffff:0:127.0.0.1]",
  "[64:ff9b::7f00:1]",
  "[64:ff9b::8.8.8.8]",
  "[64:ff9b:1::1]",
  "[2002:7f00:1::]",
  "[2002:a00:1::1]",
  "[2001::7f00:1]",
  "[2001:0:4136:e378:8000:63bf:80ff:fffe]",
  "[2001:db8::1]",
  "[3fff::1]",
  "[100::1]",
  "[fc00::1]",
  "[fd12:3456:789a::1]",
  "[fe80::1]",
  "[febf::1]",
  "[fec0::1]",
  "[ff02::1]",
  "[5f00::1]",
  "[4000::1]",
];

/** URLs that are hostile in another part than the host's address. */
const hostileUrls = [
  "http://example.com/",
  "ftp://example.com/",
  "file:///etc/passwd",
  "data:text/plain,x",
  "javascript:1",
  "//example.com/",
  "example.com",
  "",
  "https:example.com",
  "https:/example.com",
  "https:///example.com",
  "https://",
  "https://user@example.com/",
  "https://user:word@example.com/",
  "https://@example.com/",
  "https://example.com@127.0.0.1/",
  "https://example.com:80/",
  "https://example.com:22/",
  "https://example.com:8443/",
  "https://example.com:0/",
  "https://example.com:99999/",
  " https://example.com/",
  "https://example.com/ x",
  "https://exam\tple.com/",
  "https://example.com/\r\nx-injected: 1",
  "https://example.com\\@127.0.0.1/",
  "https://exa%00mple.com/",
  "https://[::1",
  "https://1.2.3.4.5/",
  "https://256.1.1.1/",
  `https://example.com/${"x".repeat(2_048)}`,
];

let connects = 0;
let listener: Server;
let port = 0;

beforeAll(async () => {
  // Dual-stack where the machine has IPv6, so that every spelling of this machine would get here.
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

async function failureOf(origin: string, policy: EgressPolicy, resolve?: Resolve): Promise<unknown> {
  const client = new Client(origin, { connect: guardedConnector(policy, 2_000, resolve), allowH2: false });
  try {
    return await client.request({ path: "/", method: "POST", body: "x" }).then(
      () => null,
      (error: unknown) => error,
    );
  } finally {
    await client.destroy();
  }
}

const isRefusal = (error: unknown) => error instanceof CarillonError && error.code === "hostile_url";

describe("checkUrl", () => {
  it.each([...hostileHosts.map((host) => `https://${host}/hook`), ...hostileUrls])("refuses %j", (url) => {
    expect(() => checkUrl(url, closed, "/url")).toThrowError(
      expect.objectContaining({ code: "hostile_url", pointer: "/url" }),
    );
  });

  it("has more than sixty hostile forms to refuse", () => {
    expect(hostileHosts.length + hostileUrls.length).toBeGreaterThan(60);
  });

  it.each([
    "https://example.com",
    "https://example.com:443/hook?x=1#y",
    "https://hooks.example.co.uk/a/b",
    "https://xn--bcher-kva.example/",
    "https://bücher.example/",
    "https://93.184.216.34/hook",
    "https://[2606:2800:220:1:248:1893:25c8:1946]/hook",
    `https://example.com/${"x".repeat(2_028)}`,
  ])("allows %s", (url) => {
    expect(checkUrl(url, closed).protocol).toBe("https:");
  });

  it("opens only this machine, with http and any port, in development", () => {
    for (const url of ["http://localhost:8080/", "http://127.0.0.1:1/", "http://[::1]:9/", "https://a.localhost/"]) {
      expect(checkUrl(url, loopback).href).toBe(url);
    }
    for (const url of ["http://example.com/", "https://example.com:8443/", "https://10.0.0.1/", "http://postgres/"]) {
      expect(() => checkUrl(url, loopback)).toThrowError(expect.objectContaining({ code: "hostile_url" }));
    }
  });

  it("opens private networks when the operator says so, but never link-local and reserved ones", () => {
    for (const url of ["http://10.0.0.1:8080/", "http://hooks/", "http://127.0.0.1:1/", "https://[fd00::1]:8443/"]) {
      expect(checkUrl(url, open).href).toBe(url);
    }
    for (const url of ["http://169.254.169.254/", "http://[fe80::1]/", "http://0.0.0.0/", "http://224.0.0.1/"]) {
      expect(() => checkUrl(url, open)).toThrowError(expect.objectContaining({ code: "hostile_url" }));
    }
    expect(() => checkUrl("http://user@10.0.0.1/", open)).toThrowError(CarillonError);
  });
});

describe("isAllowedAddress", () => {
  it.each([
    "1.1.1.1",
    "9.255.255.255",
    "11.0.0.1",
    "100.63.255.255",
    "100.128.0.1",
    "172.15.255.255",
    "172.32.0.1",
    "192.167.1.1",
    "223.255.255.255",
    "2606:4700::1",
    "2a00:1450::1",
  ])("allows %s, next to what is refused", (address) => expect(isAllowedAddress(address, closed)).toBe(true));

  it.each(["", "example.com", "1.2.3", "fe80::1%eth0", "127.0.0.1 "])("refuses %j", (address) => {
    expect(isAllowedAddress(address, loopback)).toBe(false);
  });
});

describe("guardedConnector", () => {
  it("connects where the policy allows (or the tests below would prove nothing)", async () => {
    const before = connects;
    await failureOf(`http://127.0.0.1:${port}`, loopback);
    await failureOf(`http://name.example:${port}`, loopback, async () => [{ address: "127.0.0.1", family: 4 }]);
    expect(connects - before).toBe(2);
  });

  it("refuses literals, for which undici and Node never ask a look-up", async () => {
    const before = connects;
    for (const host of [
      "127.0.0.1",
      "127.1",
      "2130706433",
      "0x7f.1",
      "0.0.0.0",
      "[::1]",
      "[::]",
      "[::ffff:127.0.0.1]",
    ]) {
      expect(await failureOf(`http://${host}:${port}`, closed)).toSatisfy(isRefusal);
    }
    expect(connects - before).toBe(0);
  });

  it("refuses names that resolve inside, also when only one of their addresses does", async () => {
    const before = connects;
    const inside = ["127.0.0.1", "0.0.0.0", "10.0.0.1", "169.254.169.254", "::1", "::", "::ffff:127.0.0.1", "fd00::1"];
    for (const address of inside) {
      const hostile = { address, family: address.includes(":") ? 6 : 4 };
      const outside = { address: "93.184.216.34", family: 4 };
      for (const addresses of [[hostile], [outside, hostile]]) {
        expect(await failureOf(`http://name.example:${port}`, closed, async () => addresses)).toSatisfy(isRefusal);
      }
    }
    expect(connects - before).toBe(0);
  });

  it("looks up once a connection and connects to that answer: rebinding finds no second question", async () => {
    const before = connects;
    let asked = 0;
    const rebinding: Resolve = async () => {
      asked += 1;
      return [{ address: asked === 1 ? "127.0.0.1" : "10.0.0.1", family: 4 }];
    };
    await failureOf(`http://name.example:${port}`, loopback, rebinding);
    expect(asked).toBe(1);
    expect(connects - before).toBe(1);
  });

  it("hands on that a name has no address", async () => {
    expect(await failureOf("http://name.example", closed, async () => [])).toMatchObject({ code: "ENOTFOUND" });
  });
});

describe("what sends to webhook destinations", () => {
  const rebinding: Resolve = async () => [{ address: "127.0.0.1", family: 4 }];
  const destinationAt = (url: string, destinationId: number) => ({
    channel: "webhook" as const,
    destinationId,
    name: "hostile",
    url,
    secrets: [],
    batchSize: 1,
  });
  /** as they would stand in the table if nobody had checked them */
  const hostile = () =>
    [
      ...hostileHosts.flatMap((host) => [`https://${host}/`, `http://${host}:${port}/`]),
      ...hostileUrls,
      "https://rebound.example/",
    ].map(destinationAt);
  const refused = { kind: "rejected", reason: expect.stringContaining("egress guard") };

  it("rejects hostile ones and connects to none: reminders", async () => {
    const before = connects;
    const channel = createWebhookChannel({ policy: closed, connectionsPerHost: 2, resolve: rebinding });
    for (const destination of hostile()) {
      await channel.warm(destination, new AbortController().signal);
      const { outcomes } = await sendAll(channel, destination, deliveriesTo("u-1"));
      expect(outcomes[0], destination.url).toMatchObject(refused);
    }
    await channel.close();
    expect(connects - before).toBe(0);
  });

  it("rejects hostile ones and connects to none: events", async () => {
    const before = connects;
    const sender = createEventSender({ policy: closed, resolve: rebinding });
    const events = [{ eventId: "e", type: "bucket.closed", at: new Date(0), attempt: 0, data: {} }];
    const { signal } = new AbortController();
    for (const destination of hostile()) {
      const outcomes = await sender.send({ destination, events, timeoutMs: 5000, mayBegin: () => true, signal });
      expect(outcomes, destination.url).toEqual([expect.objectContaining(refused)]);
    }
    await sender.close();
    expect(connects - before).toBe(0);
  });
});
