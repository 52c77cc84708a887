import type { Outcome, WebhookDestination } from "./channel.ts";
import { type EgressPolicy, guardedConnector, type Resolve } from "./egress-guard.ts";
import type { Ending, Lane, Parcel, Source } from "./lane.ts";
import { WebhookReceivers } from "./webhook-receivers.ts";
import { singleOutcome } from "./webhook-reply.ts";
import { type Sign, signedHeaders } from "./webhook-signature.ts";

/** Something that happened, as a listener is told of it. */
export interface WebhookEvent {
  /** constant over attempts: the receiver's idempotency key */
  readonly eventId: string;
  readonly type: string;
  readonly at: Date;
  /** 0 for the first */
  readonly attempt: number;
  readonly data: unknown;
}

export interface EventRequest {
  readonly destination: WebhookDestination;
  readonly events: readonly WebhookEvent[];
  /** each request must be answered within this */
  readonly timeoutMs: number;
  /** asked right before each request's first byte; false: the outcome is `retry` with reason "held_back" */
  mayBegin(): boolean;
  /** aborting gives up on what is under way */
  readonly signal: AbortSignal;
}

export interface EventSender {
  /** one outcome an event, in order; never rejects */
  send(request: EventRequest): Promise<readonly Outcome[]>;
  close(): Promise<void>;
}

export interface EventSenderOptions {
  readonly policy: EgressPolicy;
  /** requests under way at one time to one listener; default 4 */
  readonly connectionsPerHost?: number;
  /** PEM: authorities that are trusted beside Node's own */
  readonly ca?: string | undefined;
  /** epoch milliseconds, for `webhook-timestamp`; default the wall clock */
  readonly nowMs?: () => number;
  /** default DNS */
  readonly resolve?: Resolve;
}

const connectTimeoutMs = 3_000;
/** Nothing in it is of account. */
const replyBytesMax = 16_384;

/**
 * Sends events as Standard Webhooks has them, one signed POST each. It has connections of its own: a destination that
 * gets reminders as well gets them no later for it.
 */
export function createEventSender(options: EventSenderOptions): EventSender {
  const { policy, connectionsPerHost = 4, ca, nowMs = Date.now, resolve } = options;
  const connector = guardedConnector(policy, connectTimeoutMs, resolve, ca === undefined ? {} : { ca });
  const receivers = new WebhookReceivers(policy, connectionsPerHost, connector, undefined);
  return {
    async send(request) {
      try {
        const { lane, sign } = receivers.of(request.destination);
        return await new EventSending(request, lane, sign, nowMs).run();
      } catch (thrown) {
        // a hostile URL
        const error = thrown instanceof Error ? thrown : new Error(String(thrown));
        return request.events.map(() => singleOutcome({ kind: "unsent", error }, nowMs()));
      }
    },
    close: () => receivers.close(),
  };
}

/** The `webhook-id` of an event. */
export function eventWebhookId(eventId: string): string {
  return `evt_${eventId}`;
}

/** One call of `send`: gives its requests out one by one and keeps what becomes of them. */
class EventSending implements Source {
  readonly #request: EventRequest;
  readonly #lane: Lane;
  readonly #sign: Sign;
  readonly #nowMs: () => number;
  readonly #outcomes: Outcome[];
  readonly #done = Promise.withResolvers<void>();
  #next = 0;
  #open: number;

  constructor(request: EventRequest, lane: Lane, sign: Sign, nowMs: () => number) {
    this.#request = request;
    this.#lane = lane;
    this.#sign = sign;
    this.#nowMs = nowMs;
    this.#outcomes = new Array<Outcome>(request.events.length);
    this.#open = request.events.length;
  }

  async run(): Promise<readonly Outcome[]> {
    if (this.#open === 0) return [];
    const { signal } = this.#request;
    const abort = () => this.#lane.abort(this, new Error("aborted"));
    if (signal.aborted) this.giveUp({ kind: "unsent", error: new Error("aborted") });
    else {
      signal.addEventListener("abort", abort, { once: true });
      this.#lane.post(this);
    }
    await this.#done.promise;
    signal.removeEventListener("abort", abort);
    return this.#outcomes;
  }

  next(): Parcel | null {
    const { events, timeoutMs, mayBegin } = this.#request;
    const index = this.#next;
    const event = events[index];
    if (event === undefined) return null;
    this.#next += 1;
    const body = Buffer.from(JSON.stringify({ type: event.type, timestamp: event.at, data: event.data }));
    const id = eventWebhookId(event.eventId);
    return {
      headers: [
        ...["content-type", "application/json", "user-agent", "carillon"],
        ...signedHeaders(this.#sign, id, this.#nowMs(), body, event.attempt),
      ],
      body,
      timeoutMs,
      replyBytesMax,
      keepReply: false,
      mayBegin: () => mayBegin.call(this.#request),
      ended: (ending) => this.#settle(index, ending),
    };
  }

  giveUp(ending: Ending): void {
    const from = this.#next;
    this.#next = this.#request.events.length;
    for (let index = from; index < this.#next; index += 1) this.#settle(index, ending);
  }

  #settle(index: number, ending: Ending): void {
    const outcome = singleOutcome(ending, this.#nowMs());
    this.#outcomes[index] = outcome;
    this.#open -= 1;
    // who asks to wait gets nothing more of this
    if ("retryAfterMs" in outcome) this.giveUp({ kind: "held_back" });
    if (this.#open === 0) this.#done.resolve();
  }
}
