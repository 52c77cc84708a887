import type { Delivery, OnReply, Outcome, SendRequest } from "./channel.ts";
import { type FcmBodies, fcmPayloadBytesMax } from "./fcm-body.ts";
import { fcmOutcome, saysTokenRefused } from "./fcm-reply.ts";
import type { AccessToken, AccessTokens, Authorised } from "./fcm-token.ts";
import type { Http2Lane } from "./http2-lane.ts";
import type { Ending, Parcel, Source } from "./lane.ts";
import { observed } from "./observed.ts";

/** FCM answers with one object, and names in it the fields that it refuses. */
const replyBytesMax = 16_384;

/** Where a destination's requests go and how they are authorised. */
export interface FcmRoute {
  readonly lane: Pick<Http2Lane, "post" | "abort">;
  readonly tokens: Pick<AccessTokens, "current" | "replacing">;
  readonly onReply?: OnReply | undefined;
}

/** One call of `send`: gives its requests out one by one and settles what becomes of them. */
export class FcmSending implements Source {
  readonly #request: SendRequest;
  readonly #route: FcmRoute;
  readonly #bodies: FcmBodies;
  readonly #nowMs: () => number;
  readonly #done = Promise.withResolvers<void>();
  readonly #aborted = Promise.withResolvers<null>();
  /** refused for their access token, to be asked once more with a new one */
  readonly #again: number[] = [];
  readonly #askedAgain = new Set<number>();
  #token: AccessToken | null = null;
  #isPosted = false;
  #next = 0;
  #unsettled: number;

  constructor(request: SendRequest, route: FcmRoute, bodies: FcmBodies, nowMs: () => number) {
    this.#request = request;
    this.#route = route;
    this.#bodies = bodies;
    this.#nowMs = nowMs;
    this.#unsettled = request.deliveries.length;
  }

  async run(): Promise<void> {
    const { signal } = this.#request;
    if (this.#unsettled === 0) return;
    if (signal.aborted) return this.giveUp(aborted());
    const abort = () => {
      this.#aborted.resolve(null);
      this.#route.lane.abort(this, new Error("aborted"));
    };
    signal.addEventListener("abort", abort, { once: true });
    this.#proceed(await this.#orAborted(this.#route.tokens.current()));
    await this.#done.promise;
    signal.removeEventListener("abort", abort);
  }

  next(): Parcel | null {
    for (let index = this.#nextIndex(); index !== null; index = this.#nextIndex()) {
      const delivery = this.#request.deliveries[index];
      if (delivery === undefined || this.#token === null) continue;
      const bytes = this.#bodies.payloadBytes(delivery.message);
      if (bytes > fcmPayloadBytesMax) {
        const reason = `the payload has ${bytes} bytes, ${fcmPayloadBytesMax} at most are taken`;
        this.#settle(index, { kind: "rejected", reason });
      } else if (this.#request.mayBegin()) {
        return this.#parcel(index, delivery, this.#token);
      } else {
        this.#settle(index, { kind: "retry", reason: "held_back" });
      }
    }
    this.#isPosted = false;
    return null;
  }

  giveUp(ending: Ending): void {
    this.#isPosted = false;
    this.#settleRest(fcmOutcome(ending, this.#nowMs()));
  }

  #proceed(authorised: Authorised | null): void {
    if (authorised === null) this.giveUp(aborted());
    else if (authorised.kind === "refused") this.#settleRest(authorised.outcome);
    else {
      this.#token = authorised.token;
      this.#post();
    }
  }

  #nextIndex(): number | null {
    const again = this.#again.pop();
    if (again !== undefined) return again;
    if (this.#next === this.#request.deliveries.length) return null;
    this.#next += 1;
    return this.#next - 1;
  }

  #parcel(index: number, delivery: Delivery, token: AccessToken): Parcel {
    const { timeoutMs } = this.#request;
    return {
      headers: ["content-type", "application/json", "authorization", token.bearer],
      body: this.#bodies.body(delivery),
      timeoutMs,
      replyBytesMax,
      keepReply: true,
      mayBegin: () => this.#request.mayBegin(),
      ended: observed(this.#route.onReply, (ending) => this.#ended(index, token, ending)),
    };
  }

  #ended(index: number, token: AccessToken, ending: Ending): void {
    if (saysTokenRefused(ending) && !this.#askedAgain.has(index)) {
      this.#askedAgain.add(index);
      void this.#askAgain(index, token, ending);
    } else {
      this.#settle(index, fcmOutcome(ending, this.#nowMs()));
    }
  }

  /** Nothing was accepted, so that asking again can't ring twice. */
  async #askAgain(index: number, refused: AccessToken, ending: Ending): Promise<void> {
    const fresh = await this.#orAborted(this.#route.tokens.replacing(refused));
    if (fresh === null) {
      this.#settle(index, { kind: "retry", reason: "not sent: aborted" });
    } else if (fresh.kind === "token") {
      this.#token = fresh.token;
      this.#again.push(index);
      this.#post();
    } else {
      // The account is refused for good: so is what it was to authorise. Else only the asking has failed.
      this.#settle(index, fresh.outcome.kind === "auth" ? fcmOutcome(ending, this.#nowMs()) : fresh.outcome);
    }
  }

  #orAborted(authorised: Promise<Authorised>): Promise<Authorised | null> {
    return Promise.race([authorised, this.#aborted.promise]);
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

function aborted(): Ending {
  return { kind: "unsent", error: new Error("aborted") };
}
