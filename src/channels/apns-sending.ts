import { apnsCollapseId, apnsId } from "../reminder/delivery-id.ts";
import { apnsPayload, apnsPayloadBytesMax } from "./apns-body.ts";
import type { Evidence } from "./apns-evidence.ts";
import { apnsOutcome, saysTokenExpired } from "./apns-reply.ts";
import type { ProviderToken, ProviderTokens } from "./apns-token.ts";
import type { Delivery, Moment, OnReply, Outcome, SendRequest } from "./channel.ts";
import type { Http2Lane } from "./http2-lane.ts";
import type { Ending, Parcel, Source } from "./lane.ts";
import { observed } from "./observed.ts";

/** Apple's answers are one short object. */
const replyBytesMax = 4_096;

/** Where a destination's requests go and how they are authorised. */
export interface ApnsRoute {
  readonly lane: Pick<Http2Lane, "post" | "abort">;
  readonly tokens: ProviderTokens;
  readonly bundleId: string;
  readonly evidence: Evidence;
  readonly onReply?: OnReply | undefined;
}

/** One call of `send`: gives its requests out one by one and settles what becomes of them. */
export class ApnsSending implements Source {
  readonly #request: SendRequest;
  readonly #route: ApnsRoute;
  readonly #nowMs: () => number;
  readonly #fixedHeaders: readonly string[];
  readonly #done = Promise.withResolvers<void>();
  /** refused for an old token, to be asked once more with a new one */
  readonly #again: number[] = [];
  readonly #askedAgain = new Set<number>();
  #token: ProviderToken | null = null;
  #isPosted = false;
  #next = 0;
  #unsettled: number;

  constructor(request: SendRequest, route: ApnsRoute, nowMs: () => number) {
    this.#request = request;
    this.#route = route;
    this.#nowMs = nowMs;
    this.#unsettled = request.deliveries.length;
    this.#fixedHeaders = fixedHeaders(request.moment, route.bundleId);
  }

  async run(): Promise<void> {
    if (this.#unsettled === 0) return;
    const { signal } = this.#request;
    const abort = () => this.#route.lane.abort(this, new Error("aborted"));
    try {
      this.#token = await this.#route.tokens.current();
    } catch {
      return this.#settleRest({ kind: "auth", reason: "no token can be signed with the destination's private key" });
    }
    if (signal.aborted) {
      this.giveUp({ kind: "unsent", error: new Error("aborted") });
    } else {
      signal.addEventListener("abort", abort, { once: true });
      this.#post();
    }
    await this.#done.promise;
    signal.removeEventListener("abort", abort);
  }

  next(): Parcel | null {
    for (let index = this.#nextIndex(); index !== null; index = this.#nextIndex()) {
      const delivery = this.#request.deliveries[index];
      if (delivery === undefined || this.#token === null) continue;
      const payload = apnsPayload(delivery.message);
      if (payload.length > apnsPayloadBytesMax) {
        const reason = `the payload has ${payload.length} bytes, ${apnsPayloadBytesMax} at most are taken`;
        this.#settle(index, { kind: "rejected", reason });
      } else if (this.#request.mayBegin()) {
        return this.#parcel(index, delivery, payload, this.#token);
      } else {
        this.#settle(index, { kind: "retry", reason: "held_back" });
      }
    }
    this.#isPosted = false;
    return null;
  }

  giveUp(ending: Ending): void {
    this.#isPosted = false;
    this.#settleRest(apnsOutcome(ending, this.#nowMs()));
  }

  #nextIndex(): number | null {
    const again = this.#again.pop();
    if (again !== undefined) return again;
    if (this.#next === this.#request.deliveries.length) return null;
    this.#next += 1;
    return this.#next - 1;
  }

  #parcel(index: number, delivery: Delivery, body: Buffer, token: ProviderToken): Parcel {
    const { deliveryId, address } = delivery;
    const headers = [
      ...this.#fixedHeaders,
      "authorization",
      `bearer ${token.jwt}`,
      "apns-id",
      apnsId(deliveryId),
      "apns-collapse-id",
      apnsCollapseId(deliveryId),
    ];
    const { timeoutMs } = this.#request;
    return {
      path: `/3/device/${encodeURIComponent(address)}`,
      headers,
      body,
      timeoutMs,
      replyBytesMax,
      keepReply: true,
      mayBegin: () => this.#request.mayBegin(),
      ended: observed(this.#route.onReply, (ending) => this.#ended(index, token, ending)),
    };
  }

  #ended(index: number, token: ProviderToken, ending: Ending): void {
    if (saysTokenExpired(ending) && !this.#askedAgain.has(index)) {
      this.#askedAgain.add(index);
      void this.#askAgain(index, token);
    } else {
      this.#settle(index, this.#route.evidence.weigh(apnsOutcome(ending, this.#nowMs())));
    }
  }

  /** Nothing was accepted, so that asking again can't ring twice. */
  async #askAgain(index: number, refused: ProviderToken): Promise<void> {
    const fresh = await this.#route.tokens.replacing(refused).catch(() => null);
    if (fresh === null) {
      const reason = "ExpiredProviderToken, though the token is new: look at this machine's clock";
      this.#settle(index, { kind: "auth", reason, status: 403 });
    } else if (this.#request.signal.aborted) {
      this.#settle(index, { kind: "retry", reason: "not sent: aborted" });
    } else {
      this.#token = fresh;
      this.#again.push(index);
      this.#post();
    }
  }

  /** The lane asks for parcels until it is told that there are none; only then may it be given this source again. */
  #post(): void {
    if (this.#isPosted) return;
    this.#isPosted = true;
    this.#route.lane.post(this);
  }

  #settleRest(outcome: Outcome): void {
    const { length } = this.#request.deliveries;
    const rest = [...this.#again.splice(0), ...Array.from({ length: length - this.#next }, (_, at) => this.#next + at)];
    this.#next = length;
    if (rest.length > 0) this.#settleAll(rest, new Array<Outcome>(rest.length).fill(outcome));
  }

  #settle(index: number, outcome: Outcome): void {
    this.#settleAll([index], [outcome]);
  }

  #settleAll(indexes: readonly number[], outcomes: readonly Outcome[]): void {
    this.#unsettled -= indexes.length;
    this.#request.settle(indexes, outcomes);
    if (this.#unsettled === 0) this.#done.resolve();
  }
}

/** "Sending notification requests to APNs", Apple. The expiration is in seconds: after it Apple gives up too. */
function fixedHeaders({ expiresAt, priority }: Moment, bundleId: string): readonly string[] {
  return [
    ...["apns-topic", bundleId],
    ...["apns-push-type", "alert"],
    ...["apns-priority", priority === "high" ? "10" : "5"],
    ...["apns-expiration", String(Math.floor(Date.parse(expiresAt) / 1_000))],
  ];
}
