import { webPushTopic } from "../reminder/delivery-id.ts";
import type { Moment, OnReply, Outcome, SendRequest } from "./channel.ts";
import type { Ending, Parcel, Source } from "./lane.ts";
import type { PushService } from "./push-services.ts";
import type { Vapid } from "./vapid.ts";
import { encryptPush, plaintextBytesMax } from "./web-push-encryption.ts";
import { pushPayload } from "./web-push-payload.ts";
import { pushOutcome } from "./web-push-reply.ts";
import type { PushSubscription } from "./web-push-subscription.ts";

const replyBytesMax = 16_384;
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
}

/**
 * The part of one `send` that goes to one push service. A message is encrypted when a connection is free for it and not
 * before: what is held back costs nothing.
 */
export class WebPushSending implements Source {
  readonly #request: SendRequest;
  readonly #service: PushService;
  readonly #items: readonly PushItem[];
  readonly #route: PushRoute;
  readonly #fixedHeaders: readonly string[];
  readonly #done = Promise.withResolvers<void>();
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
    this.#service.post(this);
    if (signal.aborted) abort();
    await this.#done.promise;
    this.#service.left();
    signal.removeEventListener("abort", abort);
  }

  next(): Parcel | null {
    for (;;) {
      const item = this.#items[this.#next];
      if (item === undefined) return null;
      this.#next += 1;
      const parcel = this.#request.mayBegin() ? this.#parcel(item) : heldBack;
      if (!("kind" in parcel)) return parcel;
      this.#settle(item, parcel);
    }
  }

  giveUp(ending: Ending): void {
    if (this.#next < this.#items.length && this.#service.postsAnew(this, ending)) return;
    const left = this.#items.slice(this.#next);
    this.#next = this.#items.length;
    for (const item of left) this.#end(item, ending);
  }

  /** @returns an outcome where there is nothing to send */
  #parcel(item: PushItem): Parcel | Outcome {
    const { timeoutMs, mayBegin, moment, deliveries } = this.#request;
    const delivery = deliveries[item.index];
    if (delivery === undefined) return { kind: "rejected", reason: "no such delivery" };
    const payload = pushPayload(delivery.message, delivery.deliveryId);
    if (payload.length > plaintextBytesMax) return tooLong(payload.length);
    const body = encrypted(item.subscription, payload);
    if (body === null) return { kind: "rejected", reason: "the subscription's keys are of no use" };
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
      body,
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
