import { describe, expect, it } from "vitest";
import type { WebhookDestination } from "../../src/channels/channel.ts";
import {
  createEventSender,
  type EventRequest,
  type EventSenderOptions,
  eventWebhookId,
  type WebhookEvent,
} from "../../src/channels/webhook-events.ts";
import { generateSecret } from "../../src/store/destinations.ts";
import { type Answer, listenForEvents } from "../support/event-listener.ts";

const secret = generateSecret();
const to = (url: string): WebhookDestination => ({
  channel: "webhook",
  destinationId: 1,
  name: "listener",
  url,
  secrets: [secret],
  batchSize: 1,
});
const events = (count: number): WebhookEvent[] =>
  Array.from({ length: count }, (_, index) => ({
    eventId: `event-${index}`,
    type: "channel.stopped",
    at: new Date("2026-11-24T10:00:16.250Z"),
    attempt: index,
    data: { destination: "push", index },
  }));

function senderFor(options: Partial<EventSenderOptions> = {}) {
  const sender = createEventSender({ policy: { allowLoopback: true }, ...options });
  return Object.assign(sender, { [Symbol.asyncDispose]: () => sender.close() });
}

function request(url: string, more: Partial<EventRequest> = {}): EventRequest {
  return {
    destination: to(url),
    events: events(3),
    timeoutMs: 5000,
    mayBegin: () => true,
    signal: new AbortController().signal,
    ...more,
  };
}

const at = (answer?: Answer) => listenForEvents(secret, answer);

describe("events", () => {
  it("are signed, and have an id that says which they are, and an attempt", async () => {
    await using listening = await at();
    await using sender = senderFor();
    const outcomes = await sender.send(request(listening.url, { events: events(10) }));
    expect(outcomes).toEqual(Array.from({ length: 10 }, () => ({ kind: "accepted" })));
    const log = listening.log.toSorted((a, b) => a.attempt - b.attempt);
    expect(log).toEqual(
      events(10).map(({ eventId, type, data, attempt }) => ({
        id: eventWebhookId(eventId),
        attempt,
        type,
        timestamp: "2026-11-24T10:00:16.250Z",
        data,
        status: 204,
      })),
    );
  });

  it("each have their own outcome", async () => {
    const statuses = [204, 500, 410];
    await using listening = await at(({ attempt }) => statuses[attempt] ?? 204);
    await using sender = senderFor();
    const outcomes = await sender.send(request(listening.url));
    expect(outcomes.map(({ kind }) => kind)).toEqual(["accepted", "in_doubt", "gone"]);
  });

  it("come no further for who asks to wait", async () => {
    await using listening = await at(() => 429);
    await using sender = senderFor({ connectionsPerHost: 1 });
    expect(await sender.send(request(listening.url))).toEqual([
      { kind: "retry", reason: "answered 429", status: 429, retryAfterMs: 60_000, forAll: true },
      { kind: "retry", reason: "held_back" },
      { kind: "retry", reason: "held_back" },
    ]);
    expect(listening.log).toHaveLength(1);
  });

  it("are not sent to where nothing may be sent to, nor when they may not begin", async () => {
    await using listening = await at();
    await using guarded = senderFor({ policy: { allowLoopback: false } });
    expect((await guarded.send(request(listening.url))).map(({ kind }) => kind)).toEqual(Array(3).fill("rejected"));
    await using sender = senderFor();
    const heldBack = await sender.send(request(listening.url, { mayBegin: () => false }));
    expect(heldBack).toEqual(Array(3).fill({ kind: "retry", reason: "held_back" }));
    const aborted = await sender.send(request(listening.url, { signal: AbortSignal.abort() }));
    expect(aborted.map(({ kind }) => kind)).toEqual(Array(3).fill("retry"));
    expect(listening.log).toEqual([]);
    expect(await sender.send(request(listening.url, { events: [] }))).toEqual([]);
  });

  it("are given up when the listener says nothing, or the sender is told to", async () => {
    await using listening = await at(() => null);
    await using sender = senderFor({ connectionsPerHost: 1 });
    const [late] = await sender.send(request(listening.url, { events: events(1), timeoutMs: 50 }));
    expect(late?.kind).toBe("in_doubt");
    const abandon = new AbortController();
    const sending = sender.send(request(listening.url, { signal: abandon.signal }));
    await listening.when(({ length }) => length === 2);
    abandon.abort();
    // one was under way on the only connection, the others were not
    expect((await sending).map(({ kind }) => kind)).toEqual(["in_doubt", "retry", "retry"]);
  });
});
