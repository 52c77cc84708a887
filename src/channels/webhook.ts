import { asError, CarillonError } from "../errors.ts";
import type { Channel, OnReply, Probe } from "./channel.ts";
import { checkUrl, type EgressPolicy, guardedConnector, type Resolve } from "./egress-guard.ts";
import { probeConnection } from "./probe-connection.ts";
import { settleAll } from "./settle-all.ts";
import { WebhookReceivers } from "./webhook-receivers.ts";
import { singleOutcome } from "./webhook-reply.ts";
import { type WebhookRoute, WebhookSending } from "./webhook-sending.ts";

export interface WebhookChannelOptions {
  readonly policy: EgressPolicy;
  /** requests under way at one time to one destination */
  readonly connectionsPerHost: number;
  /** look-up, TCP and TLS together; default 3,000 */
  readonly connectTimeoutMs?: number;
  /** PEM: authorities that are trusted beside Node's own */
  readonly ca?: string | undefined;
  /** epoch milliseconds, for `webhook-timestamp`; default the wall clock */
  readonly nowMs?: () => number;
  /** default DNS */
  readonly resolve?: Resolve;
  readonly onReply?: OnReply;
  /** aborting closes the channel */
  readonly signal?: AbortSignal;
}

/** A batch fills one request, so few connections carry a whole chunk. */
const warmConnectionsForBatches = 4;

/**
 * Webhooks as Standard Webhooks has them (standardwebhooks.com): signed HTTP POSTs, one a reminder or one for many.
 * Retries, back-off and circuits are the caller's: what can't be sent is settled, with its reason, and not tried again.
 */
export function createWebhookChannel(options: WebhookChannelOptions): Channel {
  const { policy, connectionsPerHost, connectTimeoutMs = 3_000, nowMs = Date.now, resolve, ca, onReply } = options;
  const connector = guardedConnector(policy, connectTimeoutMs, resolve, ca === undefined ? {} : { ca });
  const receivers = new WebhookReceivers(policy, connectionsPerHost, connector, onReply);
  let closed = false;

  async function close(): Promise<void> {
    closed = true;
    options.signal?.removeEventListener("abort", closeOnAbort);
    await receivers.close();
  }
  const closeOnAbort = () => void close();
  options.signal?.addEventListener("abort", closeOnAbort, { once: true });
  if (options.signal?.aborted === true) closed = true;

  return {
    name: "webhook",
    batchSize: (destination) => (destination?.channel === "webhook" ? Math.max(1, destination.batchSize) : 1),

    async warm(destination, signal) {
      if (destination?.channel !== "webhook" || closed) return;
      try {
        const connections = destination.batchSize > 1 ? warmConnectionsForBatches : connectionsPerHost;
        await receivers.of(destination).lane.warm(connections, signal);
      } catch {
        // A hostile URL is told by the outcomes of what is sent there.
      }
    },

    async send(request) {
      const { destination } = request;
      if (destination?.channel !== "webhook")
        return settleAll(request, { kind: "rejected", reason: "the endpoint has no destination" });
      if (closed) return settleAll(request, { kind: "retry", reason: "not sent: closed" });
      let receiver: WebhookRoute;
      try {
        receiver = receivers.of(destination);
      } catch (error) {
        return settleAll(request, singleOutcome({ kind: "unsent", error: asError(error) }, nowMs()));
      }
      await new WebhookSending(request, destination, receiver, nowMs).run();
    },

    async probe(destination, signal) {
      try {
        const url = checkUrl(destination.url, policy);
        await probeConnection(url, connector, signal);
        return { well: true, found: `${url.host} takes connections` };
      } catch (error) {
        return refusedConnection(asError(error));
      }
    },

    close,
  };
}

function refusedConnection(error: Error): Probe {
  if (error instanceof CarillonError && error.code === "hostile_url") {
    const toDo = "Give it an allowed URL, or open private networks (CARILLON_ALLOW_PRIVATE_ENDPOINTS).";
    return { well: false, found: error.message, toDo };
  }
  const why = "code" in error && typeof error.code === "string" ? error.code : error.message;
  const toDo = "Look whether the receiver runs, and whether this machine may reach it; its certificate must be valid.";
  return { well: false, found: `no connection (${why})`, toDo };
}
