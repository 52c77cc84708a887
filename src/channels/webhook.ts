import { batchWebhookId, webhookId } from "../reminder/delivery-id.ts";
import type { Channel, Delivery, Destination, Outcome, SendRequest } from "./channel.ts";
import { checkUrl, type EgressPolicy, guardedConnector, type Resolve } from "./egress-guard.ts";
import { type Ending, Lane, type Parcel, type Source } from "./lane.ts";
import { type MomentBodies, momentBodies } from "./webhook-body.ts";
import { batchOutcomes, singleOutcome } from "./webhook-reply.ts";
import { type Sign, signer } from "./webhook-signature.ts";

export interface WebhookChannelOptions {
  readonly policy: EgressPolicy;
  /** requests under way at one time to one destination */
  readonly connectionsPerHost: number;
  /** look-up, TCP and TLS together; default 3,000 */
  readonly connectTimeoutMs?: number;
  /** epoch milliseconds, for `webhook-timestamp`; default the wall clock */
  readonly nowMs?: () => number;
  /** default DNS */
  readonly resolve?: Resolve;
  /** aborting closes the channel */
  readonly signal?: AbortSignal;
}

const replyBytesMax = 16_384;
/** A batch's reply may name each member with an id, a status and a reason; 16 KiB hold only some 150 of them. */
const replyBytesPerMember = 256;
/** A batch fills one request, so few connections carry a whole chunk. */
const warmConnectionsForBatches = 4;

/** What is kept of a destination while its URL and secrets stay the same. */
interface Receiver {
  readonly url: string;
  readonly secrets: string;
  readonly lane: Lane;
  readonly sign: Sign;
}

/**
 * Webhooks as Standard Webhooks has them (standardwebhooks.com): signed HTTP POSTs, one a reminder or one for many.
 * Retries, back-off and circuits are the caller's: what can't be sent is settled, with its reason, and not tried again.
 */
export function createWebhookChannel(options: WebhookChannelOptions): Channel {
  const { policy, connectionsPerHost, connectTimeoutMs = 3_000, nowMs = Date.now, resolve } = options;
  const connector = guardedConnector(policy, connectTimeoutMs, resolve);
  const receivers = new Map<number, Receiver>();
  const retired = new Set<Promise<void>>();
  let closed = false;

  function receiverOf(destination: Destination): Receiver {
    const known = receivers.get(destination.destinationId);
    const secrets = destination.secrets.join(" ");
    if (known?.url === destination.url && known.secrets === secrets) return known;
    const sameUrl = known !== undefined && known.url === destination.url;
    const lane = sameUrl ? known.lane : new Lane(checkUrl(destination.url, policy), connectionsPerHost, connector);
    if (known !== undefined && !sameUrl) retire(known.lane);
    const receiver = { url: destination.url, secrets, lane, sign: signer(destination.secrets) };
    receivers.set(destination.destinationId, receiver);
    return receiver;
  }

  function retire(lane: Lane): void {
    const closing = lane.close().finally(() => retired.delete(closing));
    retired.add(closing);
  }

  async function close(): Promise<void> {
    closed = true;
    options.signal?.removeEventListener("abort", closeOnAbort);
    await Promise.all([...[...receivers.values()].map(({ lane }) => lane.close()), ...retired]);
  }
  const closeOnAbort = () => void close();
  options.signal?.addEventListener("abort", closeOnAbort, { once: true });
  if (options.signal?.aborted === true) closed = true;

  return {
    name: "webhook",
    batchSize: (destination) => Math.max(1, destination?.batchSize ?? 1),

    async warm(destination, signal) {
      if (destination === null || closed) return;
      try {
        const connections = destination.batchSize > 1 ? warmConnectionsForBatches : connectionsPerHost;
        await receiverOf(destination).lane.warm(connections, signal);
      } catch {
        // A hostile URL is told by the outcomes of what is sent there.
      }
    },

    async send(request) {
      const everything = request.deliveries.map((_, index) => index);
      const settleAll = (outcome: Outcome) => {
        if (everything.length > 0)
          request.settle(
            everything,
            everything.map(() => outcome),
          );
      };
      if (request.destination === null)
        return settleAll({ kind: "rejected", reason: "the endpoint has no destination" });
      if (closed) return settleAll({ kind: "retry", reason: "not sent: closed" });
      let receiver: Receiver;
      try {
        receiver = receiverOf(request.destination);
      } catch (error) {
        return settleAll(singleOutcome({ kind: "unsent", error: asError(error) }, nowMs()));
      }
      await new Sending(request, request.destination, receiver, nowMs).run();
    },

    close,
  };
}

/** One call of `send`: gives its requests out one by one and settles what becomes of them. */
class Sending implements Source {
  readonly #request: SendRequest;
  readonly #receiver: Receiver;
  readonly #nowMs: () => number;
  readonly #bodies: MomentBodies;
  readonly #batchSize: number;
  readonly #fixedHeaders: readonly string[];
  readonly #done = Promise.withResolvers<void>();
  #next = 0;
  #unsettled: number;

  constructor(request: SendRequest, destination: Destination, receiver: Receiver, nowMs: () => number) {
    this.#request = request;
    this.#receiver = receiver;
    this.#nowMs = nowMs;
    this.#bodies = momentBodies(request.moment);
    this.#batchSize = destination.batchSize;
    this.#unsettled = request.deliveries.length;
    this.#fixedHeaders = [
      ...["content-type", "application/json"],
      ...["user-agent", "carillon"],
      ...["carillon-node", request.moment.node.replace(/[^\x21-\x7e]/g, "_")],
    ];
  }

  async run(): Promise<void> {
    if (this.#unsettled === 0) return;
    const { signal } = this.#request;
    const abort = () => this.#receiver.lane.abort(this, new Error("aborted"));
    if (signal.aborted) {
      this.giveUp({ kind: "unsent", error: new Error("aborted") });
    } else {
      signal.addEventListener("abort", abort, { once: true });
      this.#receiver.lane.post(this);
    }
    await this.#done.promise;
    signal.removeEventListener("abort", abort);
  }

  next(): Parcel | null {
    while (this.#next < this.#request.deliveries.length) {
      const from = this.#next;
      const to = this.#batchSize > 1 ? this.#endOfBatch(from) : from + 1;
      this.#next = to;
      if (this.#request.mayBegin()) return this.#batchSize > 1 ? this.#batch(from, to) : this.#single(from);
      this.#settle(from, to, { kind: "retry", reason: "held_back" });
    }
    return null;
  }

  giveUp(ending: Ending): void {
    const from = this.#next;
    this.#next = this.#request.deliveries.length;
    if (from < this.#next) this.#settle(from, this.#next, singleOutcome(ending, this.#nowMs()));
  }

  #single(index: number): Parcel | null {
    const delivery = this.#request.deliveries[index];
    if (delivery === undefined) return null;
    const id = webhookId(delivery.deliveryId);
    return this.#parcel(id, delivery.attempt, this.#bodies.single(delivery), replyBytesMax, false, (ending) =>
      this.#settle(index, index + 1, singleOutcome(ending, this.#nowMs())),
    );
  }

  #batch(from: number, to: number): Parcel {
    const members = this.#request.deliveries.slice(from, to);
    const ids = members.map(({ deliveryId }) => deliveryId);
    const attempt = members[0]?.attempt ?? 0;
    const body = this.#bodies.batch(members, attempt);
    const bytesMax = replyBytesMax + members.length * replyBytesPerMember;
    return this.#parcel(batchWebhookId(ids), attempt, body, bytesMax, true, (ending) =>
      this.#settleEach(from, to, batchOutcomes(ending, ids, this.#nowMs())),
    );
  }

  #parcel(
    id: string,
    attempt: number,
    body: Buffer,
    replyBytesMax: number,
    keepReply: boolean,
    ended: (ending: Ending) => void,
  ): Parcel {
    const timestamp = String(Math.floor(this.#nowMs() / 1_000));
    const signature = this.#receiver.sign(id, timestamp, body);
    const headers = [
      ...this.#fixedHeaders,
      "webhook-id",
      id,
      "webhook-timestamp",
      timestamp,
      "webhook-signature",
      signature,
      "carillon-attempt",
      String(attempt),
    ];
    const { timeoutMs, mayBegin } = this.#request;
    return { headers, body, timeoutMs, replyBytesMax, keepReply, mayBegin: () => mayBegin.call(this.#request), ended };
  }

  /** Members of one request are of one attempt, which it tells once. */
  #endOfBatch(from: number): number {
    const { deliveries } = this.#request;
    const attemptOf = (delivery: Delivery | undefined) => delivery?.attempt;
    let to = from + 1;
    while (
      to < deliveries.length &&
      to - from < this.#batchSize &&
      attemptOf(deliveries[to]) === attemptOf(deliveries[from])
    ) {
      to += 1;
    }
    return to;
  }

  #settle(from: number, to: number, outcome: Outcome): void {
    this.#settleEach(from, to, to - from === 1 ? [outcome] : new Array<Outcome>(to - from).fill(outcome));
  }

  #settleEach(from: number, to: number, outcomes: readonly Outcome[]): void {
    const indexes = to - from === 1 ? [from] : Array.from(outcomes, (_, at) => from + at);
    this.#unsettled -= indexes.length;
    this.#request.settle(indexes, outcomes);
    if (this.#unsettled === 0) this.#done.resolve();
  }
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
