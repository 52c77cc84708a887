import { describe, expect, it } from "vitest";
import type { Outcome, WebPushDestination } from "../../src/channels/channel.ts";
import { newVapidPair } from "../../src/channels/credentials.ts";
import { guardedConnector } from "../../src/channels/egress-guard.ts";
import { EncryptionThread } from "../../src/channels/encryption-thread.ts";
import { PushServices } from "../../src/channels/push-services.ts";
import { createVapid } from "../../src/channels/vapid.ts";
import { createWebPushChannel } from "../../src/channels/web-push.ts";
import { WebPushSending } from "../../src/channels/web-push-sending.ts";
import { checkPushSubscription } from "../../src/channels/web-push-subscription.ts";
import { startWebPush } from "../../src/fakes/web-push.ts";
import { Browser } from "./browser.ts";
import { deliveriesTo, sendAll, someMoment } from "./conformance.ts";
import { PushServer } from "./push-server.ts";

const policy = { allowLoopback: true, allowPrivate: false };
const identity = {
  destinationId: 1,
  name: "browsers",
  channel: "web-push",
  url: "",
  subject: "mailto:ops@example.com",
} as const;
const noPoint = { publicKey: Buffer.alloc(65, 7).fill(4, 0, 1), auth: Buffer.alloc(16) };
const users = 200;

function newThread() {
  const thread = new EncryptionThread(2);
  return Object.assign(thread, { [Symbol.asyncDispose]: () => thread.close() });
}

function newChannel(ca: string) {
  const channel = createWebPushChannel({ policy, connectionsPerHost: 4, ca });
  return Object.assign(channel, { [Symbol.asyncDispose]: () => channel.close() });
}

describe("the encryption thread", () => {
  it("encrypts each message for its browser, and says which it could not", async () => {
    await using thread = newThread();
    expect(thread.isReady).toBe(false);
    await thread.start();
    expect(thread.isReady).toBe(true);
    const [one, other] = [new Browser(), new Browser()];
    const [empty, text] = [Buffer.alloc(0), Buffer.from("It begins now")];
    const bodies = await thread.encrypt([
      { receiver: one, plaintext: text },
      { receiver: noPoint, plaintext: text },
      { receiver: other, plaintext: empty },
    ]);
    expect(bodies).toHaveLength(3);
    expect(one.decrypt(bodies?.[0] ?? empty)).toEqual(text);
    expect(bodies?.[1]).toBeNull();
    expect(other.decrypt(bodies?.[2] ?? empty)).toEqual(empty);
  });

  it("gives back what it was doing when it ends, and takes nothing more", async () => {
    const thread = newThread();
    await thread.start();
    const message = { receiver: new Browser(), plaintext: Buffer.from("x") };
    const underWay = thread.encrypt(new Array(5_000).fill(message));
    await thread.close();
    expect(await underWay).toBeNull();
    await thread.start();
    expect(thread.isReady).toBe(false);
    expect(await thread.encrypt([message])).toBeNull();
  });

  it("is not started where there is one core only", async () => {
    const thread = new EncryptionThread(1);
    await thread.start();
    expect(thread.isReady).toBe(false);
  });
});

/** One sending to a push service over real sockets, with this thread. */
async function sendWith(thread: Pick<EncryptionThread, "isReady" | "encrypt">, signal: AbortSignal) {
  await using server = await PushServer.start();
  const connector = guardedConnector(policy, 3_000);
  const services = new PushServices({ http2: connector, http1: connector, sessionsPerHost: 1, connectionsPerHost: 4 });
  const deliveries = deliveriesTo(...Array.from({ length: users }, (_, user) => server.subscription(`u${user}`)));
  const outcomes: Outcome[] = [];
  const settled: number[] = [];
  const settle = (indexes: readonly number[], given: readonly Outcome[]) => {
    settled.push(...indexes);
    outcomes.push(...given);
  };
  const items = deliveries.map(({ address }, index) => ({
    index,
    subscription: checkPushSubscription(address, policy),
  }));
  const vapid = createVapid(newVapidPair(), "mailto:ops@example.com");
  const request = { moment: someMoment, deliveries, destination: null, timeoutMs: 20_000, signal, settle };
  const route = { vapid, nowMs: Date.now, onReply: undefined, thread };
  await new WebPushSending({ ...request, mayBegin: () => true }, services.of(server.origin), items, route).run();
  await services.close();
  return { outcomes, settled: settled.toSorted((one, other) => one - other), log: server.log };
}

const everyOne = Array.from({ length: users }, (_, index) => index);

describe("a sending with the encryption thread", () => {
  it("shares the work with it, and each message is sent once", async () => {
    await using thread = newThread();
    await thread.start();
    let batches = 0;
    const counting = {
      isReady: true,
      encrypt: (messages: Parameters<EncryptionThread["encrypt"]>[0]) => {
        batches += 1;
        return thread.encrypt(messages);
      },
    };
    const { outcomes, settled, log } = await sendWith(counting, new AbortController().signal);
    expect(batches).toBeGreaterThan(0);
    expect(settled).toEqual(everyOne);
    expect(new Set(outcomes.map(({ kind }) => kind))).toEqual(new Set(["accepted"]));
    // decrypted by the browsers of the push server
    expect(new Set(log.map(({ payload }) => payload.id)).size).toBe(users);
    expect(log).toHaveLength(users);
  });

  it("goes on by itself when the thread ends with messages in hand", async () => {
    await using thread = newThread();
    await thread.start();
    const ending = {
      get isReady() {
        return thread.isReady;
      },
      encrypt: (messages: Parameters<EncryptionThread["encrypt"]>[0]) => {
        const encrypted = thread.encrypt(messages);
        void thread.close();
        return encrypted;
      },
    };
    const { outcomes, settled, log } = await sendWith(ending, new AbortController().signal);
    expect(settled).toEqual(everyOne);
    expect(new Set(outcomes.map(({ kind }) => kind))).toEqual(new Set(["accepted"]));
    expect(log).toHaveLength(users);
  });

  it("does not send what comes back after it was aborted", async () => {
    const abort = new AbortController();
    const late = Promise.withResolvers<null>();
    const slow = {
      isReady: true,
      encrypt: () => {
        setImmediate(() => abort.abort());
        return late.promise;
      },
    };
    const { outcomes, settled, log } = await sendWith(slow, abort.signal);
    late.resolve(null);
    await late.promise;
    expect(settled).toEqual(everyOne);
    const unsent = outcomes.filter(({ kind }) => kind === "retry").length;
    // the two batches that are away, at the least
    expect(unsent).toBeGreaterThanOrEqual(32);
    expect(log.length).toBeLessThanOrEqual(users - unsent);
  });

  it("lets the event loop turn between a few messages, however many streams are free", async () => {
    await using service = await startWebPush();
    await using channel = newChannel(service.ca);
    const destination: WebPushDestination = { ...service.vapid, ...identity };
    const addresses = Array.from({ length: 90 }, (_, user) => JSON.stringify(service.subscribe(`u${user}`)));
    // the first message opens the session
    await sendAll(channel, destination, deliveriesTo(...addresses.slice(0, 1)));
    let turn = 0;
    const askedInTurn = new Map<number, number>();
    const nextTurn = () => {
      turn += 1;
      turning = setImmediate(nextTurn);
    };
    let turning = setImmediate(nextTurn);
    const { outcomes } = await sendAll(channel, destination, deliveriesTo(...addresses), {
      mayBegin: () => {
        askedInTurn.set(turn, (askedInTurn.get(turn) ?? 0) + 1);
        return true;
      },
    });
    clearImmediate(turning);
    expect(outcomes.every((outcome) => outcome?.kind === "accepted")).toBe(true);
    // each is asked for before it is encrypted, before it is given out and before its first byte; two turns may count as one
    expect(Math.max(...askedInTurn.values())).toBeLessThanOrEqual(2 * 8 * 3);
  });
});
