import { CarillonError } from "../errors.ts";
import type { Channel, OnReply, Outcome, Probe, WebPushDestination } from "./channel.ts";
import { guardedConnector, isInsideHost, type Resolve } from "./egress-guard.ts";
import { EncryptionThread } from "./encryption-thread.ts";
import { PushServices } from "./push-services.ts";
import { settleAll } from "./settle-all.ts";
import { createVapid, type Vapid } from "./vapid.ts";
import { type PushItem, WebPushSending } from "./web-push-sending.ts";
import { type PushPolicy, readPushSubscription } from "./web-push-subscription.ts";

export interface WebPushChannelOptions {
  readonly policy: PushPolicy;
  /** requests under way at one time to a push service that speaks HTTP/1.1 only */
  readonly connectionsPerHost: number;
  /** HTTP/2 connections at one time to one push service; default 4 */
  readonly sessionsPerHost?: number;
  /** look-up, TCP and TLS together; default 3,000 */
  readonly connectTimeoutMs?: number;
  /** epoch milliseconds, for tokens, TTL and dates; default the wall clock */
  readonly nowMs?: () => number;
  /** PEM: authorities that are trusted beside Node's own */
  readonly ca?: string | undefined;
  readonly onReply?: OnReply | undefined;
  /** default DNS */
  readonly resolve?: Resolve;
  /** aborting closes the channel */
  readonly signal?: AbortSignal;
}

/** What is kept of a destination while its keys and subject stay the same. */
interface Identity {
  readonly fingerprint: string;
  readonly vapid: Vapid;
}

/**
 * Web Push (RFC 8030), each message encrypted for its browser (RFC 8291) and signed with the destination's VAPID identity
 * (RFC 8292). Retries, back-off and circuits are the caller's.
 */
export function createWebPushChannel(options: WebPushChannelOptions): Channel {
  const {
    policy,
    connectionsPerHost,
    sessionsPerHost = 4,
    connectTimeoutMs = 3_000,
    nowMs = Date.now,
    onReply,
  } = options;
  const ca = options.ca === undefined ? {} : { ca: options.ca };
  const connector = (http2: boolean) => guardedConnector(policy, connectTimeoutMs, options.resolve, { http2, ...ca });
  const services = new PushServices({
    http2: connector(true),
    http1: connector(false),
    sessionsPerHost,
    connectionsPerHost,
  });
  const thread = new EncryptionThread();
  const identities = new Map<number, Identity>();
  let closing: Promise<void> | null = null;

  /** @throws bad_credentials */
  function identityOf(destination: WebPushDestination): Identity {
    const { publicKey, privateKey, subject } = destination;
    const fingerprint = `${publicKey} ${privateKey} ${subject}`;
    const known = identities.get(destination.destinationId);
    if (known?.fingerprint === fingerprint) return known;
    const identity = { fingerprint, vapid: createVapid(destination, subject) };
    identities.set(destination.destinationId, identity);
    return identity;
  }

  function close(): Promise<void> {
    options.signal?.removeEventListener("abort", close);
    closing ??= services.close().then(() => thread.close());
    return closing;
  }
  options.signal?.addEventListener("abort", close, { once: true });
  if (options.signal?.aborted === true) void close();

  return {
    name: "web-push",
    batchSize: () => 1,

    // enough of the text to tell push services apart, without reading it whole
    routeOf: (address) => /^\{"endpoint":"(https?:\/\/[^/"]+)/.exec(address)?.[1] ?? "",

    async warm(destination, signal) {
      // Where a group's subscriptions are is not known yet: most likely where the last ones were.
      if (destination === null || closing !== null) return;
      await Promise.all([thread.start(), services.warm(signal)]);
    },

    async send(request) {
      const { deliveries, destination } = request;
      if (destination?.channel !== "web-push")
        return settleAll(request, { kind: "rejected", reason: "the endpoint has no destination of Web Push" });
      if (closing !== null) return settleAll(request, { kind: "retry", reason: "not sent: closed" });
      if (request.signal.aborted) return settleAll(request, { kind: "retry", reason: "not sent: aborted" });
      let vapid: Vapid;
      try {
        vapid = identityOf(destination).vapid;
      } catch {
        return settleAll(request, { kind: "auth", reason: "the destination's VAPID keys are no pair" });
      }

      if (deliveries.length >= worthAThread) void thread.start();
      const byOrigin = new Map<string, PushItem[]>();
      for (const [index, { address }] of deliveries.entries()) {
        try {
          const item = { index, subscription: readPushSubscription(address, policy) };
          const { origin } = item.subscription.endpoint;
          const beside = byOrigin.get(origin);
          if (beside === undefined) byOrigin.set(origin, [item]);
          else beside.push(item);
        } catch (error) {
          request.settle([index], [refusedByUs(error)]);
        }
      }
      await Promise.all(
        [...byOrigin].map(([origin, items]) =>
          new WebPushSending(request, services.of(origin), items, { vapid, nowMs, onReply, thread }).run(),
        ),
      );
    },

    async probe(destination) {
      if (destination.channel !== "web-push") return notOurs;
      try {
        identityOf(destination);
      } catch {
        return { well: false, found: "the VAPID keys are no pair", toDo: "make a new destination with the right pair" };
      }
      return subjectFinding(destination.subject);
    },

    close,
  };
}

/** So many messages at one time take longer to encrypt than a thread takes to start. */
const worthAThread = 250;

const notOurs: Probe = { well: false, found: "not a destination of Web Push", toDo: "name one of Web Push" };

/** No push service answers without a subscription, so only what they are known to refuse can be told ahead. */
function subjectFinding(subject: string): Probe {
  const host = /^mailto:[^@]+@([^@]+)$/.exec(subject)?.[1] ?? (URL.canParse(subject) ? new URL(subject).hostname : "");
  if (host.includes(".") && !isInsideHost(host)) return { well: true, found: "the VAPID keys are a pair" };
  return {
    well: false,
    found: "the subject has no public name: Apple's push service refuses it (BadJwtToken)",
    toDo: "set subject to a mailto: or https: address that can be reached",
  };
}

/** Whoever reads the reason learns what is wrong with the subscription, and nothing of what is in it. */
function refusedByUs(error: unknown): Outcome {
  if (!(error instanceof CarillonError)) return { kind: "rejected", reason: "the subscription can't be read" };
  const by = error.code === "hostile_url" ? "refused by the egress guard" : "not a push subscription";
  return { kind: "rejected", reason: `${by}: ${error.message}` };
}
