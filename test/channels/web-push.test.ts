import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { describe, expect, it } from "vitest";
import type { Delivery, Message, WebPushDestination } from "../../src/channels/channel.ts";
import { newVapidPair } from "../../src/channels/credentials.ts";
import { createWebPushChannel, type WebPushChannelOptions } from "../../src/channels/web-push.ts";
import { plaintextBytesMax } from "../../src/channels/web-push-encryption.ts";
import { createAuthority } from "../../src/fakes/certificate.ts";
import { webPushTopic } from "../../src/reminder/delivery-id.ts";
import { Browser } from "./browser.ts";
import { deliveriesTo, sendAll, someMessage, someMoment } from "./conformance.ts";
import { PushServer } from "./push-server.ts";

const destination: WebPushDestination = {
  destinationId: 1,
  name: "browsers",
  channel: "web-push",
  url: "",
  subject: "mailto:ops@example.com",
  ...newVapidPair(),
};
const dueMs = Date.parse(someMoment.dueAt);
const expiresMs = Date.parse(someMoment.expiresAt);

function channelOf(options: Partial<WebPushChannelOptions> = {}) {
  const channel = createWebPushChannel({ policy: { allowLoopback: true }, connectionsPerHost: 4, ...options });
  return Object.assign(channel, { [Symbol.asyncDispose]: () => channel.close() });
}

function deliveriesAt(server: PushServer, ...users: string[]): Delivery[] {
  return deliveriesTo(...users.map((user) => server.subscription(user)));
}

describe("a Web Push message", () => {
  it("says all that a push service and a service worker need", async () => {
    await using server = await PushServer.start();
    await using channel = channelOf({ nowMs: () => dueMs + 1_500 });
    const [delivery] = deliveriesAt(server, "alice");
    if (delivery === undefined) throw new Error("no delivery");
    const message: Message = { ...someMessage, image: "https://x.example/a.png", link: "https://x.example/" };
    const { outcomes } = await sendAll(channel, destination, [{ ...delivery, message }]);
    expect(outcomes).toEqual([{ kind: "accepted" }]);
    const [{ headers, payload } = { headers: {}, payload: { id: "" } }] = server.log;
    expect(headers).toMatchObject({
      "content-encoding": "aes128gcm",
      "content-type": "application/octet-stream",
      ttl: "598",
      urgency: "high",
      topic: webPushTopic(delivery.deliveryId),
      authorization: expect.stringMatching(/^vapid t=[\w-]+\.[\w-]+\.[\w-]+, k=[\w-]{87}$/),
    });
    expect(payload).toEqual({
      title: "On air",
      body: "It begins now",
      data: { stream: 7 },
      image: "https://x.example/a.png",
      link: "https://x.example/",
      id: delivery.deliveryId,
    });
  });

  it("has a TTL within what is left of the reminder's life, whatever this machine's clock says", async () => {
    const ttlAt = async (nowMs: number, moment = someMoment) => {
      await using server = await PushServer.start();
      await using channel = channelOf({ nowMs: () => nowMs });
      await sendAll(channel, destination, deliveriesAt(server, "alice"), { moment });
      return server.log[0]?.headers.ttl;
    };
    expect(await ttlAt(dueMs)).toBe("600");
    expect(await ttlAt(expiresMs - 999)).toBe("0");
    expect(await ttlAt(expiresMs + 86_400_000)).toBe("0");
    expect(await ttlAt(dueMs - 86_400_000)).toBe("600");
    expect(await ttlAt(dueMs, { ...someMoment, expiresAt: "2027-11-24T18:00:00.000Z" })).toBe("2419200");
  });

  it("carries the moment's priority as its urgency, and a sound where there is one", async () => {
    await using server = await PushServer.start();
    await using channel = channelOf();
    const deliveries = deliveriesAt(server, "alice").map((delivery) => ({
      ...delivery,
      message: { ...delivery.message, sound: "bell" },
    }));
    await sendAll(channel, destination, deliveries, { moment: { ...someMoment, priority: "normal" } });
    expect(server.log[0]).toMatchObject({ headers: { urgency: "normal" }, payload: { sound: "bell" } });
  });

  it("has the same Topic in every attempt and another for each delivery, so that a repeat replaces", async () => {
    await using server = await PushServer.start();
    await using channel = channelOf();
    const deliveries = deliveriesAt(server, "alice", "bob");
    await sendAll(channel, destination, deliveries);
    await sendAll(
      channel,
      destination,
      deliveries.map((delivery) => ({ ...delivery, attempt: 1 })),
    );
    const topicsOf = (user: string) =>
      server.log.filter((pushed) => pushed.user === user).map(({ headers }) => headers.topic);
    expect(new Set(topicsOf("alice")).size).toBe(1);
    expect(topicsOf("alice")).toHaveLength(2);
    expect(topicsOf("bob")).not.toContain(topicsOf("alice")[0]);
    expect(topicsOf("alice")[0]).toMatch(/^[\w-]{32}$/);
  });

  it("is rejected unsent when it is too long, and not a byte earlier", async () => {
    await using server = await PushServer.start();
    await using channel = channelOf();
    const [delivery] = deliveriesAt(server, "alice");
    if (delivery === undefined) throw new Error("no delivery");
    const withBody = (length: number) => ({ ...delivery, message: { ...delivery.message, body: "x".repeat(length) } });
    await sendAll(channel, destination, [withBody(0)]);
    const room = plaintextBytesMax - Buffer.byteLength(JSON.stringify(server.log[0]?.payload));
    const { outcomes } = await sendAll(channel, destination, [withBody(room), withBody(room + 1)]);
    expect(outcomes).toEqual([
      { kind: "accepted" },
      { kind: "rejected", reason: "the message has 3994 bytes, and Web Push takes 3993" },
    ]);
    expect(server.log).toHaveLength(2);
  });
});

describe("the Web Push channel", () => {
  it("settles what is wrong with one subscription without harm to its neighbours, and tells nothing of it", async () => {
    await using server = await PushServer.start();
    await using channel = channelOf();
    const addresses = [
      server.subscription("alice"),
      "secret-token",
      new Browser().subscription("https://evil.example/secret-token"),
      server.subscription("bob"),
    ];
    const { outcomes, settled } = await sendAll(channel, destination, deliveriesTo(...addresses));
    expect(outcomes.map((outcome) => outcome?.kind)).toEqual(["accepted", "rejected", "rejected", "accepted"]);
    expect(settled).toEqual([1, 1, 1, 1]);
    expect(JSON.stringify(outcomes)).not.toContain("secret-token");
  });

  it("makes of a destination whose keys are no pair a matter of the credential", async () => {
    await using server = await PushServer.start();
    await using channel = channelOf();
    const mixed = { ...destination, publicKey: newVapidPair().publicKey };
    const { outcomes } = await sendAll(channel, mixed, deliveriesAt(server, "alice"));
    expect(outcomes[0]).toMatchObject({ kind: "auth" });
    const { outcomes: afterwards } = await sendAll(channel, destination, deliveriesAt(server, "alice"));
    expect(afterwards[0]).toEqual({ kind: "accepted" });
  });

  it("signs with a destination's new keys as soon as it has them", async () => {
    await using server = await PushServer.start();
    await using channel = channelOf();
    const renewed = { ...destination, ...newVapidPair() };
    await sendAll(channel, destination, deliveriesAt(server, "alice"));
    await sendAll(channel, renewed, deliveriesAt(server, "alice"));
    const keys = server.log.map(({ headers }) => headers.authorization?.split("k=")[1]);
    expect(keys).toEqual([destination.publicKey, renewed.publicKey]);
  });

  it("lets a push service that hangs hold up no other", async () => {
    await using silent = await PushServer.start({ answer: () => "withhold" });
    await using lively = await PushServer.start();
    await using channel = channelOf();
    const abort = new AbortController();
    const users = Array.from({ length: 100 }, (_, index) => `u-${index}`);
    const mixed = users.flatMap((user) => [silent.subscription(user), lively.subscription(user)]);
    const sending = sendAll(channel, destination, deliveriesTo(...mixed), { signal: abort.signal });
    await lively.whenReceived(100);
    expect(silent.log.length).toBeLessThanOrEqual(4);
    const other = await sendAll(channel, destination, deliveriesAt(lively, "late"));
    expect(other.outcomes).toEqual([{ kind: "accepted" }]);
    abort.abort();
    const { outcomes, settled } = await sending;
    expect(settled.every((times) => times === 1)).toBe(true);
    expect(outcomes.filter((outcome) => outcome?.kind === "accepted")).toHaveLength(100);
  });

  it("finds out what each push service speaks, and sends nothing twice for that", async () => {
    const authority = createAuthority();
    const credentials = authority.issue(["127.0.0.1"]);
    await using modern = await PushServer.start({ speaks: "h2", credentials });
    await using plain = await PushServer.start({ speaks: "https", credentials });
    await using channel = channelOf({ ca: authority.ca });
    const users = Array.from({ length: 40 }, (_, index) => `u-${index}`);
    for (let round = 1; round <= 2; round += 1) {
      const addresses = users.flatMap((user) => [modern.subscription(user), plain.subscription(user)]);
      const { outcomes } = await sendAll(channel, destination, deliveriesTo(...addresses));
      expect(outcomes.every((outcome) => outcome?.kind === "accepted")).toBe(true);
      for (const [server, version] of [
        [modern, "2.0"],
        [plain, "1.1"],
      ] as const) {
        expect(server.log.map(({ user }) => user).sort()).toEqual(
          users.flatMap((user) => Array(round).fill(user)).sort(),
        );
        expect(new Set(server.log.map(({ httpVersion }) => httpVersion))).toEqual(new Set([version]));
      }
      await channel.warm(destination, new AbortController().signal);
    }
  });

  it("trusts no push service whose certificate nobody vouches for", async () => {
    const credentials = createAuthority().issue(["127.0.0.1"]);
    await using server = await PushServer.start({ speaks: "h2", credentials });
    await using channel = channelOf();
    const { outcomes } = await sendAll(channel, destination, deliveriesAt(server, "alice"));
    expect(outcomes[0]).toMatchObject({ kind: "retry", reason: expect.stringMatching(/^not sent: .*CERT|VERIFY/) });
    expect(server.log).toEqual([]);
  });

  it("tells of every answer as it came, for who tries a destination out", async () => {
    const statuses: number[] = [];
    await using server = await PushServer.start({ answer: (user) => ({ status: user === "bob" ? 410 : 201 }) });
    await using channel = channelOf({ onReply: ({ status }) => void statuses.push(status) });
    await sendAll(channel, destination, deliveriesAt(server, "alice", "bob"));
    expect(statuses.sort()).toEqual([201, 410]);
  });

  it("can tell of a destination, without ringing anybody, what push services would refuse", async () => {
    await using channel = channelOf();
    const { signal } = new AbortController();
    const subjects = [
      "mailto:ops@localhost",
      "mailto:ops@node-1",
      "https://127.0.0.1/",
      "mailto:ops",
      "https://x.local/",
    ];
    for (const subject of subjects) {
      expect(await channel.probe?.({ ...destination, subject }, signal)).toMatchObject({ well: false });
    }
    const mixed = { ...destination, publicKey: newVapidPair().publicKey };
    expect(await channel.probe?.(mixed, signal)).toMatchObject({ well: false, found: "the VAPID keys are no pair" });
    expect(await channel.probe?.(destination, signal)).toMatchObject({ well: true });
    expect(await channel.probe?.({ ...destination, subject: "https://example.com/push" }, signal)).toMatchObject({
      well: true,
    });
  });

  it("does not follow redirects", async () => {
    await using elsewhere = await PushServer.start();
    await using server = await PushServer.start({
      answer: () => ({ status: 307, headers: { location: `${elsewhere.origin}/push/alice?token=alice` } }),
    });
    elsewhere.subscription("alice");
    await using channel = channelOf();
    const { outcomes } = await sendAll(channel, destination, deliveriesAt(server, "alice"));
    expect(outcomes[0]).toEqual({ kind: "rejected", reason: "redirect refused", status: 307 });
    expect(elsewhere.log).toEqual([]);
  });

  it("tells a subscription of another key from a refused identity by the whole reply", async () => {
    const words = '{"code":401,"errno":109,"error":"Unauthorized","message":"VAPID public key mismatch"}';
    await using server = await PushServer.start({
      answer: (user) => ({ status: 401, body: user === "bob" ? words : "" }),
    });
    await using channel = channelOf();
    const { outcomes } = await sendAll(channel, destination, deliveriesAt(server, "alice", "bob"));
    expect(outcomes).toMatchObject([{ kind: "auth" }, { kind: "rejected" }]);
  });

  it("does not read a reply without end", async () => {
    const endless = createServer((request, response) => {
      request.resume();
      response.on("error", () => {});
      response.writeHead(201);
      const timer = setInterval(() => response.write("x".repeat(8_192)), 1);
      response.on("close", () => clearInterval(timer));
    });
    endless.listen(0, "127.0.0.1");
    await once(endless, "listening");
    await using channel = channelOf();
    const { port } = endless.address() as AddressInfo;
    const address = new Browser().subscription(`http://127.0.0.1:${port}/`);
    const { outcomes } = await sendAll(channel, destination, deliveriesTo(address));
    expect(outcomes).toEqual([{ kind: "accepted" }]);
    await new Promise((resolve) => endless.close(resolve));
  });

  it("forgets idle push services, so that names that are made up do not pile up", async () => {
    await using server = await PushServer.start();
    await using channel = channelOf({
      policy: { allowLoopback: true },
      resolve: async () => [],
    });
    const madeUp = Array.from({ length: 600 }, (_, index) =>
      new Browser().subscription(`https://x${index}.push.services.mozilla.com/`),
    );
    const addresses = [server.subscription("alice"), ...madeUp, server.subscription("bob")];
    const { outcomes } = await sendAll(channel, destination, deliveriesTo(...addresses));
    expect(outcomes.at(0)).toEqual({ kind: "accepted" });
    expect(outcomes.at(-1)).toEqual({ kind: "accepted" });
    expect(outcomes[1]).toMatchObject({ kind: "retry", reason: "not sent: ENOTFOUND" });
    const again = await sendAll(channel, destination, deliveriesAt(server, "alice"));
    expect(again.outcomes).toEqual([{ kind: "accepted" }]);
  });
});
