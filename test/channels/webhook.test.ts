import { createServer } from "node:http";
import { Webhook } from "standardwebhooks";
import { describe, expect, it } from "vitest";
import type { Delivery, WebhookDestination } from "../../src/channels/channel.ts";
import { createWebhookChannel, type WebhookChannelOptions } from "../../src/channels/webhook.ts";
import { type Fault, startWebhookReceiver } from "../../src/fakes/webhook-receiver.ts";
import type { ReceivedRequest } from "../../src/fakes/webhook-request.ts";
import { batchWebhookId } from "../../src/reminder/delivery-id.ts";
import { deliveriesTo, sendAll, someMessage, someMoment } from "./conformance.ts";

const newSecret = `whsec_${Buffer.alloc(32, 1).toString("base64")}`;
const oldSecret = `whsec_${Buffer.alloc(24, 2).toString("base64")}`;

function channelFor(options: Partial<WebhookChannelOptions> = {}) {
  const channel = createWebhookChannel({ policy: { allowLoopback: true }, connectionsPerHost: 4, ...options });
  return Object.assign(channel, { [Symbol.asyncDispose]: () => channel.close() });
}

function destinationAt(url: string, options: Partial<WebhookDestination> = {}): WebhookDestination {
  return { channel: "webhook", destinationId: 1, name: "test", url, secrets: [newSecret], batchSize: 1, ...options };
}

const users = (count: number): Delivery[] => deliveriesTo(...Array.from({ length: count }, (_, index) => `u-${index}`));

interface RawRequest {
  readonly headers: Record<string, string>;
  readonly body: string;
  readonly target: string;
}

/** A receiver that keeps what it got, byte for byte. */
async function recordingServer() {
  const requests: RawRequest[] = [];
  const server = createServer((incoming, response) => {
    let body = "";
    incoming.setEncoding("utf8");
    incoming.on("data", (part: string) => {
      body += part;
    });
    incoming.on("end", () => {
      const headers = Object.fromEntries(
        Object.entries(incoming.headers).map(([name, value]) => [name, String(value)]),
      );
      requests.push({ headers, body, target: `${incoming.method} ${incoming.url}` });
      response.end();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  return {
    requests,
    url: `http://127.0.0.1:${port}`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

describe("what a receiver gets", () => {
  it("is one signed request a reminder, which the standardwebhooks library verifies with old and new secret", async () => {
    await using server = await recordingServer();
    await using channel = channelFor();
    const deliveries = deliveriesTo('Zoë "\u2028" 🎉').map((delivery) => ({ ...delivery, attempt: 2 }));
    const destination = destinationAt(`${server.url}/hook?tenant=7`, { secrets: [newSecret, oldSecret] });
    await sendAll(channel, destination, deliveries);
    const [request] = server.requests;
    if (request === undefined) throw new Error("nothing came");
    expect(request.target).toBe("POST /hook?tenant=7");
    expect(request.headers).toMatchObject({
      "content-type": "application/json",
      "webhook-id": "msg_d_x_0_0",
      "carillon-node": "node-a",
      "carillon-attempt": "2",
      "user-agent": "carillon",
    });
    expect(request.headers["webhook-signature"]?.split(" ")).toHaveLength(2);
    for (const secret of [newSecret, oldSecret]) new Webhook(secret).verify(request.body, request.headers);
    const stranger = new Webhook(`whsec_${Buffer.alloc(32, 3).toString("base64")}`);
    expect(() => stranger.verify(request.body, request.headers)).toThrow();
    expect(() => new Webhook(newSecret).verify(`${request.body} `, request.headers)).toThrow();
    expect(JSON.parse(request.body)).toEqual({
      type: "reminder",
      timestamp: someMoment.dueAt,
      data: {
        id: "d_x_0_0",
        user: 'Zoë "\u2028" 🎉',
        topic: "live",
        schedule: "12",
        occurrence: someMoment.occurrence,
        dueAt: someMoment.dueAt,
        expiresAt: someMoment.expiresAt,
        bucket: "9007199254740993",
        group: 3,
        attempt: 2,
        title: "On air",
        body: "It begins now",
        data: { stream: 7 },
      },
    });
  });

  it("is up to so many reminders in one signed body, split where the attempt changes", async () => {
    await using server = await recordingServer();
    await using channel = channelFor({ connectionsPerHost: 1 });
    const deliveries = users(7).map((delivery, index) => ({ ...delivery, attempt: index < 5 ? 0 : 1 }));
    await sendAll(channel, destinationAt(server.url, { batchSize: 3 }), deliveries);
    const bodies = server.requests.map(({ body }) => JSON.parse(body));
    expect(bodies.map(({ data }) => [data.attempt, data.reminders.length])).toEqual([
      [0, 3],
      [0, 2],
      [1, 2],
    ]);
    expect(bodies[1]).toEqual({
      type: "reminders",
      timestamp: someMoment.dueAt,
      data: {
        topic: "live",
        schedule: "12",
        occurrence: someMoment.occurrence,
        dueAt: someMoment.dueAt,
        expiresAt: someMoment.expiresAt,
        bucket: "9007199254740993",
        group: 3,
        attempt: 0,
        title: "On air",
        body: "It begins now",
        data: { stream: 7 },
        reminders: [
          { id: "d_x_3_0", user: "u-3" },
          { id: "d_x_4_0", user: "u-4" },
        ],
      },
    });
    expect(server.requests[1]?.headers["webhook-id"]).toBe(batchWebhookId(["d_x_3_0", "d_x_4_0"]));
    for (const { body, headers } of server.requests) new Webhook(newSecret).verify(body, headers);
  });

  it("tells a picture, a sound and a link where there are any", async () => {
    await using server = await recordingServer();
    await using channel = channelFor();
    const more = { image: "https://x.test/a.png", sound: "bell", link: "app://live" };
    const deliveries = users(2).map((to, at) => ({
      ...to,
      message: at === 0 ? { ...someMessage, ...more } : someMessage,
    }));
    await sendAll(channel, destinationAt(server.url), deliveries);
    const [first, second] = server.requests.map(({ body }) => JSON.parse(body).data);
    expect(first).toMatchObject({ title: "On air", ...more });
    for (const name of Object.keys(more)) expect(second).not.toHaveProperty(name);
  });

  it("says in a batch what most read, and to each other all of their own", async () => {
    await using server = await recordingServer();
    await using channel = channelFor();
    const german = { ...someMessage, title: "Live", link: "https://x.test/de" };
    const dutch = { ...someMessage, title: "Nu live", data: null };
    // equal words count together, whether they are one object or not
    const said = [dutch, german, someMessage, { ...german }, { ...german }];
    const deliveries = users(5).flatMap((to, at) => ({ ...to, message: said[at] ?? someMessage }));
    await sendAll(channel, destinationAt(server.url, { batchSize: 4 }), deliveries);
    const [first, second] = server.requests.map(({ body }) => JSON.parse(body).data);
    const { image: _, sound: __, ...germanWords } = german;
    expect(first).toMatchObject(germanWords);
    expect(first.reminders).toEqual([
      { id: "d_x_0_0", user: "u-0", title: "Nu live", body: "It begins now", data: null },
      { id: "d_x_1_0", user: "u-1" },
      { id: "d_x_2_0", user: "u-2", title: "On air", body: "It begins now", data: { stream: 7 } },
      { id: "d_x_3_0", user: "u-3" },
    ]);
    expect(second.reminders).toEqual([{ id: "d_x_4_0", user: "u-4" }]);
    expect(second.title).toBe("Live");
  });

  it("carries the time of sending, in seconds, and null for a message without data", async () => {
    await using server = await recordingServer();
    await using channel = channelFor({ nowMs: () => 1_700_000_000_999 });
    const moment = { ...someMoment, node: "nœud\r\n1" };
    const message = { ...someMessage, data: undefined };
    const [delivery] = users(1).map((to) => ({ ...to, message }));
    await sendAll(channel, destinationAt(server.url), delivery === undefined ? [] : [delivery], { moment });
    expect(server.requests[0]?.headers["webhook-timestamp"]).toBe("1700000000");
    expect(server.requests[0]?.headers["carillon-node"]).toBe("n_ud__1");
    expect(JSON.parse(server.requests[0]?.body ?? "").data.data).toBeNull();
  });

  it("follows a destination's new URL and secrets", async () => {
    await using first = await recordingServer();
    await using second = await recordingServer();
    await using channel = channelFor();
    await sendAll(channel, destinationAt(first.url), users(1));
    await sendAll(channel, destinationAt(first.url, { secrets: [oldSecret] }), users(1));
    await sendAll(channel, destinationAt(second.url, { secrets: [oldSecret] }), users(1));
    expect([first.requests.length, second.requests.length]).toEqual([2, 1]);
    const [, rotated] = first.requests;
    new Webhook(oldSecret).verify(rotated?.body ?? "", rotated?.headers ?? {});
  });
});

describe("what becomes of an answer", () => {
  const laterBy7s = { "retry-after": "7" };
  const date = new Date("2026-11-24T18:00:00Z").toUTCString();
  const laterByDate = { "retry-after": new Date("2026-11-24T18:00:30Z").toUTCString(), date };
  const single: [Fault, object][] = [
    [{ status: 200 }, { kind: "accepted" }],
    [{ status: 202, body: '{"results":[{"id":"d_x_0_0","status":"rejected"}]}' }, { kind: "accepted" }],
    [{ status: 204 }, { kind: "accepted" }],
    [
      { status: 301, headers: { location: "/elsewhere" } },
      { kind: "rejected", reason: "redirect refused", status: 301 },
    ],
    [
      { status: 307, headers: { location: "/elsewhere" } },
      { kind: "rejected", reason: "redirect refused", status: 307 },
    ],
    [{ status: 304 }, { kind: "rejected", status: 304 }],
    [{ status: 400 }, { kind: "rejected", status: 400 }],
    [{ status: 401 }, { kind: "auth", status: 401 }],
    [{ status: 403 }, { kind: "auth", status: 403 }],
    [{ status: 404 }, { kind: "rejected", status: 404 }],
    [{ status: 408 }, { kind: "in_doubt", status: 408 }],
    [{ status: 410 }, { kind: "gone", status: 410 }],
    [{ status: 413 }, { kind: "rejected", status: 413 }],
    [{ status: 422 }, { kind: "rejected", status: 422 }],
    [{ status: 429 }, { kind: "retry", reason: "answered 429", status: 429 }],
    [
      { status: 429, headers: laterBy7s },
      { kind: "retry", status: 429, retryAfterMs: 7_000 },
    ],
    [
      { status: 429, headers: laterByDate },
      { kind: "retry", status: 429, retryAfterMs: 30_000 },
    ],
    [{ status: 500 }, { kind: "in_doubt", status: 500 }],
    [
      { status: 503, headers: laterBy7s },
      { kind: "in_doubt", status: 503, retryAfterMs: 7_000 },
    ],
    [{ status: 599 }, { kind: "in_doubt", status: 599 }],
    ["reset", { kind: "in_doubt" }],
    ["reset_after_accept", { kind: "in_doubt" }],
  ];
  it.each(single)("to one reminder: %j", async (fault, outcome) => {
    await using receiver = await startWebhookReceiver({ faults: () => fault });
    await using channel = channelFor();
    const sent = await sendAll(channel, destinationAt(receiver.url), users(1));
    expect(sent.outcomes[0]).toMatchObject(outcome);
    expect(receiver.requests).toBeLessThanOrEqual(1);
  });

  const batch: [Fault, object][] = [
    [{ status: 200 }, { kind: "accepted" }],
    [{ status: 200, body: "OK" }, { kind: "accepted" }],
    [{ status: 200, body: '{"results":"none"}' }, { kind: "accepted" }],
    [{ status: 200, body: '{"results":[' }, { kind: "accepted" }],
    [
      { status: 302, headers: { location: "/" } },
      { kind: "rejected", reason: "redirect refused", status: 302 },
    ],
    [{ status: 401 }, { kind: "auth", status: 401 }],
    [{ status: 410 }, { kind: "rejected", status: 410 }],
    [{ status: 413 }, { kind: "rejected", status: 413 }],
    [
      { status: 429, headers: laterBy7s },
      { kind: "retry", status: 429, retryAfterMs: 7_000 },
    ],
    [{ status: 502 }, { kind: "in_doubt", status: 502 }],
    ["reset_after_accept", { kind: "in_doubt" }],
  ];
  it.each(batch)("to a batch as a whole: %j", async (fault, outcome) => {
    await using receiver = await startWebhookReceiver({ faults: () => fault });
    await using channel = channelFor();
    const { outcomes, settleCalls } = await sendAll(channel, destinationAt(receiver.url, { batchSize: 9 }), users(5));
    expect(outcomes).toHaveLength(5);
    for (const each of outcomes) expect(each).toMatchObject(outcome);
    expect(settleCalls).toBe(1);
  });

  it("to a batch, one by one: who is not named is accepted", async () => {
    const results = [
      { id: "d_x_1_0", status: "rejected", reason: "no \u0007such list" },
      { id: "d_x_1_0", status: "accepted" },
      { id: "d_x_2_0", status: "gone" },
      { id: "d_x_3_0", status: "retry", retryAfterMs: 1_500.5 },
      { id: "d_x_4_0", status: "retry", retryAfterMs: -1, reason: "busy" },
      { id: "d_x_5_0", status: "accepted" },
      { id: "d_x_6_0", status: "perhaps" },
      { id: "somebody else", status: "rejected" },
      null,
      7,
      { status: "rejected" },
    ];
    await using receiver = await startWebhookReceiver({ faults: () => ({ body: JSON.stringify({ results }) }) });
    await using channel = channelFor();
    const { outcomes } = await sendAll(channel, destinationAt(receiver.url, { batchSize: 100 }), users(8));
    expect(outcomes).toEqual([
      { kind: "accepted" },
      { kind: "rejected", reason: "no ?such list", status: 200 },
      { kind: "gone", reason: "named gone", status: 200 },
      { kind: "retry", reason: "named retry", status: 200, retryAfterMs: 1_501 },
      { kind: "retry", reason: "busy", status: 200 },
      { kind: "accepted" },
      { kind: "in_doubt", reason: "named perhaps", status: 200 },
      { kind: "accepted" },
    ]);
  });

  it("reads a batch's reply that names every member, and no endless one", async () => {
    const naming = (request: ReceivedRequest): Fault => {
      const results = request.reminders.map(({ id }) => ({ id, status: "rejected", reason: "r".repeat(120) }));
      return { body: JSON.stringify({ results }) };
    };
    const endless = (): Fault => ({ body: `{"results":[${'"x",'.repeat(100_000)}` });
    const babbling = (): Fault => ({ body: `<html>${"x".repeat(400_000)}` });
    const answers = [naming, endless, babbling];
    await using receiver = await startWebhookReceiver({
      faults: (request) => answers[receiver.requests % 3]?.(request) ?? "accept",
    });
    await using channel = channelFor({ connectionsPerHost: 1 });
    const destination = destinationAt(receiver.url, { batchSize: 500 });
    const kinds = [];
    for (const _ of answers) {
      const { outcomes } = await sendAll(channel, destination, users(500));
      kinds.push(new Set(outcomes.map((outcome) => outcome?.kind)));
    }
    expect(kinds).toEqual([new Set(["rejected"]), new Set(["in_doubt"]), new Set(["accepted"])]);
  });

  it("to one reminder is its status alone, however long the reply or how it ends", async () => {
    await using receiver = await startWebhookReceiver({ faults: () => ({ body: "x".repeat(1_000_000) }) });
    await using channel = channelFor();
    const { outcomes } = await sendAll(channel, destinationAt(receiver.url), users(3));
    expect(outcomes).toEqual([{ kind: "accepted" }, { kind: "accepted" }, { kind: "accepted" }]);
  });
});
