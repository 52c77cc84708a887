import { createServer, type Socket } from "node:net";
import { describe, expect, it } from "vitest";
import type { Delivery, WebhookDestination } from "../../src/channels/channel.ts";
import { createWebhookChannel, type WebhookChannelOptions } from "../../src/channels/webhook.ts";
import { startWebhookReceiver } from "../../src/fakes/webhook-receiver.ts";
import { deliveriesTo, sendAll, someMoment } from "./conformance.ts";
import { onRequests, startRawServer } from "./raw-server.ts";

function channelFor(options: Partial<WebhookChannelOptions> = {}) {
  const channel = createWebhookChannel({ policy: { allowLoopback: true }, connectionsPerHost: 4, ...options });
  return Object.assign(channel, { [Symbol.asyncDispose]: () => channel.close() });
}

const destinationAt = (url: string, destinationId = 1): WebhookDestination => ({
  channel: "webhook",
  destinationId,
  name: "test",
  url,
  secrets: [],
  batchSize: 1,
});
const users = (count: number): Delivery[] => deliveriesTo(...Array.from({ length: count }, (_, index) => `u-${index}`));
const idIn = (body: string): string => JSON.parse(body).data.id;
const answer = (status: string, body = "") => `HTTP/1.1 ${status}\r\ncontent-length: ${body.length}\r\n\r\n${body}`;

async function closedPort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  return typeof address === "object" && address !== null ? address.port : 0;
}

describe("certainly not sent: retry", () => {
  it("when nobody listens", async () => {
    await using channel = channelFor();
    const { outcomes } = await sendAll(channel, destinationAt(`http://127.0.0.1:${await closedPort()}/`), users(30));
    expect(outcomes).toHaveLength(30);
    for (const outcome of outcomes) expect(outcome).toEqual({ kind: "retry", reason: "not sent: ECONNREFUSED" });
  });

  it("when the name is unknown", async () => {
    const resolve = () => Promise.reject(Object.assign(new Error("no such name"), { code: "ENOTFOUND" }));
    await using channel = channelFor({ resolve });
    const { outcomes } = await sendAll(channel, destinationAt("https://nowhere.example/"), users(3));
    for (const outcome of outcomes) expect(outcome).toEqual({ kind: "retry", reason: "not sent: ENOTFOUND" });
  });

  it("when TLS fails", async () => {
    await using server = await startRawServer((socket) => socket.end("HTTP/1.1 200 OK\r\n\r\n"));
    await using channel = channelFor();
    const { outcomes } = await sendAll(channel, destinationAt(`https://127.0.0.1:${server.port}/`), users(1));
    expect(outcomes[0]?.kind).toBe("retry");
  });

  it("when no connection comes about, for all who wait, within one connect timeout", async () => {
    // Takes the TCP connection and never answers the TLS greeting: a black hole from where we stand.
    await using server = await startRawServer(() => {});
    await using channel = channelFor({ connectTimeoutMs: 300 });
    const { outcomes } = await sendAll(channel, destinationAt(`https://127.0.0.1:${server.port}/`), users(200));
    expect(new Set(outcomes.map((outcome) => outcome?.kind))).toEqual(new Set(["retry"]));
    expect(server.connections).toBeLessThanOrEqual(8);
  });

  it("when the request's own time is over before there is a connection", async () => {
    await using server = await startRawServer(() => {});
    await using channel = channelFor({ connectTimeoutMs: 1_500 });
    const destination = destinationAt(`https://127.0.0.1:${server.port}/`);
    const { outcomes, settled } = await sendAll(channel, destination, users(20), { timeoutMs: 200 });
    expect(outcomes.every((outcome) => outcome?.kind === "retry")).toBe(true);
    expect(settled.every((times) => times === 1)).toBe(true);
  });

  it("when an abort comes before the connection", async () => {
    const connected = Promise.withResolvers<void>();
    await using server = await startRawServer(() => connected.resolve());
    await using channel = channelFor({ connectTimeoutMs: 1_000 });
    const abort = new AbortController();
    const destination = destinationAt(`https://127.0.0.1:${server.port}/`);
    const sending = sendAll(channel, destination, users(9), { signal: abort.signal });
    await connected.promise;
    abort.abort();
    const { outcomes } = await sending;
    for (const outcome of outcomes) expect(outcome).toEqual({ kind: "retry", reason: "not sent: aborted" });
  });
});

describe("perhaps sent: in doubt", () => {
  it.each<[string, (socket: Socket) => void]>([
    ["reset", (socket) => socket.resetAndDestroy()],
    ["closed", (socket) => socket.end()],
    ["answered with nonsense", (socket) => socket.end("what?\r\n\r\n")],
    ["broken off within the headers", (socket) => socket.end("HTTP/1.1 200 OK\r\ncontent-le")],
    ["only provisionally answered", (socket) => socket.end("HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n")],
  ])("when the request is %s, and it is not sent again", async (_, end) => {
    let requests = 0;
    await using server = await startRawServer((socket) =>
      onRequests(socket, () => {
        requests += 1;
        end(socket);
      }),
    );
    await using channel = channelFor();
    const { outcomes } = await sendAll(channel, destinationAt(`http://127.0.0.1:${server.port}/`), users(1));
    expect(outcomes[0]?.kind).toBe("in_doubt");
    expect(requests).toBe(1);
  });

  it("but accepted when the status has come and only the rest of the reply has not", async () => {
    await using server = await startRawServer((socket) =>
      onRequests(socket, () => socket.end("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\npart")),
    );
    await using channel = channelFor();
    const destination = destinationAt(`http://127.0.0.1:${server.port}/`);
    expect((await sendAll(channel, destination, users(1))).outcomes[0]).toEqual({ kind: "accepted" });
    const batch = await sendAll(channel, { ...destination, batchSize: 5 }, users(2));
    expect(batch.outcomes.map((outcome) => outcome?.kind)).toEqual(["accepted", "accepted"]);
  });

  it("when a batch's exceptions did not arrive whole, or not in time", async () => {
    const halves = [(socket: Socket) => socket.end(half), (socket: Socket) => socket.write(half)];
    const half = 'HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{"results":[';
    await using server = await startRawServer((socket, ordinal) =>
      onRequests(socket, () => halves[(ordinal - 1) % 2]?.(socket)),
    );
    await using channel = channelFor();
    const destination = { ...destinationAt(`http://127.0.0.1:${server.port}/`), batchSize: 5 };
    const cutOff = await sendAll(channel, destination, users(2));
    expect(cutOff.outcomes[1]).toEqual({ kind: "in_doubt", reason: "the reply broke off", status: 200 });
    const slow = await sendAll(channel, destination, users(2), { timeoutMs: 300 });
    expect(slow.outcomes[1]).toEqual({ kind: "in_doubt", reason: "the reply timed out", status: 200 });
  });
});

describe("whatever the receiver does to its connections", () => {
  /** Deterministic, so that a failure can be run again. */
  const draws = (seed: number) => () => {
    seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0;
    return seed / 2 ** 32;
  };

  it.each([1, 2, 3])("nothing is sent twice, and what is called unsent has not arrived (seed %i)", async (seed) => {
    const draw = draws(seed);
    const seen = new Map<string, number>();
    await using server = await startRawServer((socket) => {
      const fate = draw();
      if (fate < 0.1) return void socket.resetAndDestroy();
      if (fate < 0.2) return void socket.end();
      onRequests(socket, (body) => {
        const id = idIn(body);
        seen.set(id, (seen.get(id) ?? 0) + 1);
        const next = draw();
        if (next < 0.05) socket.resetAndDestroy();
        else if (next < 0.1) socket.end();
        else if (next < 0.15) socket.end(answer("200 OK"));
        else if (next < 0.2) socket.write(answer("200 OK"), () => socket.resetAndDestroy());
        else if (next < 0.25) socket.end(answer("200 OK", "abc").slice(0, -2));
        else socket.write(answer("200 OK"));
      });
    });
    await using channel = channelFor({ connectionsPerHost: 8 });
    const deliveries = users(1_500);
    const destination = destinationAt(`http://127.0.0.1:${server.port}/`);
    const { outcomes, settled } = await sendAll(channel, destination, deliveries);
    expect(settled.every((times) => times === 1)).toBe(true);
    const kinds = { accepted: 0, in_doubt: 0, retry: 0 };
    for (const [index, { deliveryId }] of deliveries.entries()) {
      const arrived = seen.get(deliveryId) ?? 0;
      const kind = outcomes[index]?.kind;
      expect(arrived).toBeLessThanOrEqual(1);
      if (kind === "accepted") expect(arrived).toBe(1);
      if (kind === "retry") expect(arrived).toBe(0);
      if (kind === "accepted" || kind === "in_doubt" || kind === "retry") kinds[kind] += 1;
    }
    expect(kinds.accepted + kinds.in_doubt + kinds.retry).toBe(1_500);
    expect(kinds.accepted).toBeGreaterThan(500);
    expect(kinds.in_doubt).toBeGreaterThan(0);
  });
});

describe("the lane to a destination", () => {
  it("has only as many requests under way as connections, and asks mayBegin when the turn comes", async () => {
    let most = 0;
    let begun = 0;
    await using receiver = await startWebhookReceiver({
      delayMs: 5,
      faults() {
        begun += 1;
        return "accept";
      },
    });
    await using channel = channelFor({ connectionsPerHost: 3 });
    let settled = 0;
    await channel.send({
      moment: someMoment,
      deliveries: users(60),
      destination: destinationAt(receiver.url),
      timeoutMs: 20_000,
      signal: new AbortController().signal,
      mayBegin: () => true,
      settle(indexes) {
        settled += indexes.length;
        most = Math.max(most, begun - settled);
      },
    });
    expect(settled).toBe(60);
    expect(most).toBeLessThanOrEqual(3);
  });

  it("holds back the rest when mayBegin turns to no", async () => {
    await using receiver = await startWebhookReceiver({ delayMs: 20 });
    await using channel = channelFor({ connectionsPerHost: 2 });
    const mayBegin = () => receiver.received < 4;
    const { outcomes } = await sendAll(channel, destinationAt(receiver.url), users(50), { mayBegin });
    const held = outcomes.filter((outcome) => outcome?.kind === "retry" && outcome.reason === "held_back").length;
    const accepted = outcomes.filter((outcome) => outcome?.kind === "accepted").length;
    expect(held + accepted).toBe(50);
    expect(accepted).toBe(receiver.received);
    expect(accepted).toBeLessThanOrEqual(6);
  });

  it("asks mayBegin again when the connection is there, right before the first byte", async () => {
    await using receiver = await startWebhookReceiver();
    let asked = 0;
    // Yes when its turn comes, no by the time that it is connected.
    const mayBegin = () => {
      asked += 1;
      return asked === 1;
    };
    await using channel = channelFor();
    const { outcomes } = await sendAll(channel, destinationAt(receiver.url), users(1), { mayBegin });
    expect(outcomes[0]).toEqual({ kind: "retry", reason: "held_back" });
    expect([asked, receiver.requests]).toEqual([2, 0]);
    expect((await sendAll(channel, destinationAt(receiver.url), users(1))).outcomes[0]?.kind).toBe("accepted");
  });

  it("is no other's: a silent destination holds up nobody", async () => {
    await using silent = await startWebhookReceiver({ faults: () => "withhold" });
    await using lively = await startWebhookReceiver();
    await using channel = channelFor({ connectionsPerHost: 2 });
    const abort = new AbortController();
    const stuck = sendAll(channel, destinationAt(silent.url, 1), users(10), { signal: abort.signal });
    await silent.whenReceived(2);
    const { outcomes } = await sendAll(channel, destinationAt(lively.url, 2), users(100));
    expect(outcomes.every((outcome) => outcome?.kind === "accepted")).toBe(true);
    abort.abort();
    const kinds = (await stuck).outcomes.map((outcome) => outcome?.kind);
    expect(kinds.filter((kind) => kind === "in_doubt")).toHaveLength(2);
    expect(kinds.filter((kind) => kind === "retry")).toHaveLength(8);
    expect(silent.received).toBe(2);
  });

  it("goes on with fresh connections after timeouts", async () => {
    await using receiver = await startWebhookReceiver({
      faults: (request) => (request.reminders[0]?.user === "u-0" ? "withhold" : "accept"),
    });
    await using channel = channelFor({ connectionsPerHost: 1 });
    const { outcomes } = await sendAll(channel, destinationAt(receiver.url), users(4), { timeoutMs: 300 });
    expect(outcomes.map((outcome) => outcome?.kind)).toEqual(["in_doubt", "accepted", "accepted", "accepted"]);
  });

  it("is warmed: its connections are open before the first request, and used", async () => {
    await using server = await startRawServer((socket) => onRequests(socket, () => socket.write(answer("200 OK"))));
    await using channel = channelFor({ connectionsPerHost: 6 });
    const destination = destinationAt(`http://127.0.0.1:${server.port}/`);
    await channel.warm(destination, new AbortController().signal);
    await server.whenConnected(6);
    await channel.warm(destination, new AbortController().signal);
    const { outcomes } = await sendAll(channel, destination, users(200));
    expect(outcomes.every((outcome) => outcome?.kind === "accepted")).toBe(true);
    expect(server.connections).toBe(6);
  });

  it("uses no warm connection that the receiver has closed or spoken on", async () => {
    const sockets: Socket[] = [];
    await using server = await startRawServer((socket, ordinal) => {
      sockets.push(socket);
      if (ordinal > 2) onRequests(socket, () => socket.write(answer("200 OK")));
    });
    await using channel = channelFor({ connectionsPerHost: 2 });
    const destination = destinationAt(`http://127.0.0.1:${server.port}/`);
    await channel.warm(destination, new AbortController().signal);
    await server.whenConnected(2);
    const [spoken, closed] = sockets;
    await new Promise<void>((resolve) => spoken?.write("HTTP/1.1 408 Request Timeout\r\n\r\n", () => resolve()));
    await new Promise<void>((resolve) => closed?.end(() => resolve()));
    const { outcomes } = await sendAll(channel, destination, users(2));
    expect(outcomes.map((outcome) => outcome?.kind)).toEqual(["accepted", "accepted"]);
    expect(server.connections).toBe(4);
  });

  it("lets what is under way end when the channel closes, and gives the rest back", async () => {
    await using receiver = await startWebhookReceiver({ delayMs: 100 });
    const channel = channelFor({ connectionsPerHost: 2 });
    const sending = sendAll(channel, destinationAt(receiver.url), users(10));
    await receiver.whenReceived(2);
    await channel.close();
    const kinds = (await sending).outcomes.map((outcome) => outcome?.kind);
    expect(kinds.filter((kind) => kind === "accepted")).toHaveLength(2);
    expect(kinds.filter((kind) => kind === "retry")).toHaveLength(8);
    expect(receiver.received).toBe(2);
  });
});
