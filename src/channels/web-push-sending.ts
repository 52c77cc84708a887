import { webPushTopic } from "../reminder/delivery-id.ts";
import type { Delivery, Moment, OnReply, Outcome, SendRequest } from "./channel.ts";
import { batchesAway, batchMessages, type EncryptionThread } from "./encryption-thread.ts";
import type { Ending, Parcel, Source } from "./lane.ts";
import type { PushService } from "./push-services.ts";
import type { Vapid } from "./vapid.ts";
import { encryptPush, plaintextBytesMax } from "./web-push-encryption.ts";
import { pushPayload } from "./web-push-payload.ts";
import { pushOutcome } from "./web-push-reply.ts";
import type { PushSubscription } from "./web-push-subscription.ts";

const replyBytesMax = 16_384;
/**
 * Messages that one sending encrypts in one turn of the event loop, some 2 ms: a connection's free streams are many,
 * and what comes in meanwhile, the thread's work too, would wait until all of them are filled.
 */
const encryptedPerTurn = 8;
/** Four weeks: longer than any push service keeps a message, and the longest that Google's takes. */
const ttlSecondsMax = 2_419_200;

/** What is to be sent to one subscription. */
export interface PushItem {
  /** of the delivery in the request */
  readonly index: number;
  readonly subscription: PushSubscription;
}

/** How a destination's messages are signed, and who is told of the answers. */
export interface PushRoute {
  readonly vapid: Vapid;
  /** epoch milliseconds */
  readonly nowMs: () => number;
  readonly onReply: OnReply | undefined;
  readonly thread: Pick<EncryptionThread, "isReady" | "encrypt">;
}

/** An item and what its browser is to get, before or after it is encrypted. */
interface Prepared {
  readonly item: PushItem;
  readonly delivery: Delivery;
  readonly bytes: Buffer;
}

/**
 * The part of one `send` that goes to one push service. Messages are encrypted as connections are free for them: what is
 * held back costs nothing. But for a few batches that are with the encryption thread: what it has done goes first, and
 * while it has not, the next message is encrypted here.
 */
export class WebPushSending implements Source {
  readonly #request: SendRequest;
  readonly #service: PushService;
  readonly #items: readonly PushItem[];
  readonly #route: PushRoute;
  readonly #fixedHeaders: readonly string[];
  readonly #done = Promise.withResolvers<void>();
  /** with the encryption thread */
  readonly #away = new Set<readonly Prepared[]>();
  /** back from it: encrypted */
  readonly #encrypted: Prepared[] = [];
  /** back from it as they were, since it has ended */
  readonly #returned: Prepared[] = [];
  #encryptedThisTurn = 0;
  #nextTurn: NodeJS.Immediate | undefined;
  #isPosted = false;
  #next = 0;
  #unsettled: number;

  constructor(request: SendRequest, service: PushService, items: readonly PushItem[], route: PushRoute) {
    this.#request = request;
    this.#service = service;
    this.#items = items;
    this.#route = route;
    this.#unsettled = items.length;
    this.#fixedHeaders = [
      ...["content-type", "application/octet-stream"],
      ...["content-encoding", "aes128gcm"],
      ...["user-agent", "carillon"],
      ...["urgency", request.moment.priority],
    ];
  }

  async run(): Promise<void> {
    const { signal } = this.#request;
    const abort = () => this.#service.abort(this, new Error("aborted"));
    signal.addEventListener("abort", abort, { once: true });
    this.#service.entered();
    this.#post();
    if (signal.aborted) abort();
    await this.#done.promise;
    clearImmediate(this.#nextTurn);
    this.#service.left();
    signal.removeEventListener("abort", abort);
  }

  next(): Parcel | null {
    this.#engageThread();
    for (;;) {
      const prepared = this.#encrypted.shift() ?? this.#encryptedHere();
      if (prepared === null) {
        this.#isPosted = false;
        return null;
      }
      if (this.#request.mayBegin()) return this.#parcel(prepared);
      this.#settle(prepared.item, heldBack);
    }
  }

  giveUp(ending: Ending): void {
    const isAllOut = this.#next === this.#items.length && this.#away.size === 0;
    const isLeft = !isAllOut || this.#encrypted.length > 0 || this.#returned.length > 0;
    if (isLeft && this.#service.postsAnew(this, ending)) return;
    this.#isPosted = false;
    const begun = [...this.#encrypted.splice(0), ...this.#returned.splice(0), ...[...this.#away].flat()];
    this.#away.clear();
    const left = [...begun.map(({ item }) => item), ...this.#items.slice(this.#next)];
    this.#next = this.#items.length;
    for (const item of left) this.#end(item, ending);
  }

  /** The lane asks for parcels until it is told that there are none; only then may it be given this source again. */
  #post(): void {
    if (this.#isPosted) return;
    this.#isPosted = true;
    this.#service.post(this);
  }

  #turn(): void {
    this.#nextTurn = undefined;
    this.#encryptedThisTurn = 0;
    if (this.#next < this.#items.length || this.#returned.length > 0) this.#post();
  }

  /** Gives the thread as much as it needs to stay busy, as long as there is enough for both. */
  #engageThread(): void {
    const { thread } = this.#route;
    while (thread.isReady && this.#away.size < batchesAway && this.#items.length - this.#next >= 2 * batchMessages) {
      const batch: Prepared[] = [];
      while (batch.length < batchMessages) {
        const prepared = this.#prepare();
        if (prepared === null) break;
        batch.push(prepared);
      }
      if (batch.length === 0) return;
      this.#away.add(batch);
      const messages = batch.map(({ item, bytes }) => ({ receiver: item.subscription, plaintext: bytes }));
      void thread.encrypt(messages).then((bodies) => this.#cameBack(batch, bodies));
    }
  }

  #cameBack(batch: readonly Prepared[], bodies: readonly (Buffer | null)[] | null): void {
    if (!this.#away.delete(batch)) return;
    for (const [at, prepared] of batch.entries()) {
      const bytes = bodies?.[at];
      if (bodies === null) this.#returned.push(prepared);
      else if (bytes === undefined || bytes === null) this.#settle(prepared.item, uselessKeys);
      else this.#encrypted.push({ ...prepared, bytes });
    }
    if (this.#encrypted.length > 0 || this.#returned.length > 0) this.#post();
  }

  /** @returns null when there is nothing left to encrypt, or nothing more in this turn */
  #encryptedHere(): Prepared | null {
    for (;;) {
      if (this.#encryptedThisTurn === encryptedPerTurn) return null;
      const plain = this.#returned.pop() ?? this.#prepare();
      if (plain === null) return null;
      this.#encryptedThisTurn += 1;
      this.#nextTurn ??= setImmediate(() => this.#turn());
      const bytes = encrypted(plain.item.subscription, plain.bytes);
      if (bytes !== null) return { ...plain, bytes };
      this.#settle(plain.item, uselessKeys);
    }
  }

  /** @returns the next item that may be sent and has something to send, not yet encrypted; null when there is none */
  #prepare(): Prepared | null {
    for (let item = this.#items[this.#next]; item !== undefined; item = this.#items[this.#next]) {
      this.#next += 1;
      const delivery = this.#request.deliveries[item.index];
      if (delivery === undefined) {
        this.#settle(item, { kind: "rejected", reason: "no such delivery" });
      } else if (!this.#request.mayBegin()) {
        this.#settle(item, heldBack);
      } else {
        const bytes = pushPayload(delivery.message, delivery.deliveryId);
        if (bytes.length <= plaintextBytesMax) return { item, delivery, bytes };
        this.#settle(item, tooLong(bytes.length));
      }
    }
    return null;
  }

  #parcel({ item, delivery, bytes }: Prepared): Parcel {
    const { timeoutMs, mayBegin, moment } = this.#request;
    const { pathname, search } = item.subscription.endpoint;
    const nowMs = this.#route.nowMs();
    const headers = [
      ...this.#fixedHeaders,
      "authorization",
      this.#route.vapid.authorization(this.#service.origin, nowMs),
      "ttl",
      String(ttlSeconds(moment, nowMs)),
      "topic",
      webPushTopic(delivery.deliveryId),
    ];
    return {
      path: pathname + search,
      headers,
      body: bytes,
      timeoutMs,
      replyBytesMax,
      // Push services say in it whose fault a refusal is.
      keepReply: true,
      mayBegin: () => mayBegin.call(this.#request),
      ended: (ending) => this.#end(item, ending),
    };
  }

  #end(item: PushItem, ending: Ending): void {
    if (ending.kind === "answered") this.#route.onReply?.(ending.reply);
    this.#settle(item, pushOutcome(ending, this.#service.hostname, this.#route.nowMs()));
  }

  #settle(item: PushItem, outcome: Outcome): void {
    this.#unsettled -= 1;
    this.#request.settle([item.index], [outcome]);
    if (this.#unsettled === 0) this.#done.resolve();
  }
}

const uselessKeys: Outcome = Object.freeze({ kind: "rejected", reason: "the subscription's keys are of no use" });
const heldBack: Outcome = Object.freeze({ kind: "retry", reason: "held_back" });

function tooLong(bytes: number): Outcome {
  return { kind: "rejected", reason: `the message has ${bytes} bytes, and Web Push takes ${plaintextBytesMax}` };
}

function encrypted(subscription: PushSubscription, payload: Buffer): Buffer | null {
  try {
    return encryptPush(subscription, payload);
  } catch {
    return null;
  }
}

/**
 * How long the push service keeps the message for a device that it can't reach: until the reminder expires. Never longer
 * than a reminder lives as such, since moments may follow another clock than this machine's (development).
 */
function ttlSeconds({ dueAt, expiresAt }: Moment, nowMs: number): number {
  const untilMs = Date.parse(expiresAt);
  const leftMs = Math.min(untilMs - nowMs, untilMs - Date.parse(dueAt));
  return Math.min(ttlSecondsMax, Math.max(0, Math.floor(leftMs / 1_000)));
}
