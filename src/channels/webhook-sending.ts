import { batchWebhookId, webhookId } from "../reminder/delivery-id.ts";
import type { Delivery, OnReply, Outcome, SendRequest, WebhookDestination } from "./channel.ts";
import type { Ending, Lane, Parcel, Source } from "./lane.ts";
import { observed } from "./observed.ts";
import { type MomentBodies, momentBodies } from "./webhook-body.ts";
import { batchOutcomes, singleOutcome } from "./webhook-reply.ts";
import { type Sign, signedHeaders } from "./webhook-signature.ts";

const replyBytesMax = 16_384;
/** A batch's reply may name each member with an id, a status and a reason; 16 KiB hold only some 150 of them. */
const replyBytesPerMember = 256;

/** Where a destination's requests go and how they are signed. */
export interface WebhookRoute {
  readonly lane: Lane;
  readonly sign: Sign;
  readonly onReply?: OnReply | undefined;
}

/** One call of `send`: gives its requests out one by one and settles what becomes of them. */
export class WebhookSending implements Source {
  readonly #request: SendRequest;
  readonly #route: WebhookRoute;
  readonly #nowMs: () => number;
  readonly #bodies: MomentBodies;
  readonly #batchSize: number;
  readonly #fixedHeaders: readonly string[];
  readonly #done = Promise.withResolvers<void>();
  #next = 0;
  #unsettled: number;

  constructor(request: SendRequest, destination: WebhookDestination, route: WebhookRoute, nowMs: () => number) {
    this.#request = request;
    this.#route = route;
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
    const abort = () => this.#route.lane.abort(this, new Error("aborted"));
    if (signal.aborted) {
      this.giveUp({ kind: "unsent", error: new Error("aborted") });
    } else {
      signal.addEventListener("abort", abort, { once: true });
      this.#route.lane.post(this);
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
    const headers = [...this.#fixedHeaders, ...signedHeaders(this.#route.sign, id, this.#nowMs(), body, attempt)];
    const { timeoutMs, mayBegin } = this.#request;
    const { onReply } = this.#route;
    return {
      headers,
      body,
      timeoutMs,
      replyBytesMax,
      keepReply: keepReply || onReply !== undefined,
      mayBegin: () => mayBegin.call(this.#request),
      ended: observed(onReply, ended),
    };
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
