import type { Delivery, OnReply, Outcome, SendRequest } from "./channel.ts";
import type { Http2Lane } from "./http2-lane.ts";
import type { Ending, Parcel, Source } from "./lane.ts";
import { observed } from "./observed.ts";

/** A token, or what its lack makes of every delivery. */
export type Authorised<Token> =
  | { readonly kind: "token"; readonly token: Token }
  | { readonly kind: "refused"; readonly outcome: Outcome };

/** What a provider's requests look like, and what its answers mean: one request a device, authorised by a token. */
export interface Provider<Token> {
  readonly lane: Pick<Http2Lane, "post" | "abort">;
  readonly onReply?: OnReply | undefined;
  readonly replyBytesMax: number;
  /** a message with more is not sent */
  readonly payloadBytesMax: number;
  payloadBytes(delivery: Delivery): number;
  parcel(delivery: Delivery, token: Token): Pick<Parcel, "path" | "headers" | "body">;
  /** never rejects */
  token(): Promise<Authorised<Token>>;
  /** Whether the token was refused and nothing else: it is certain that nothing was accepted, and a new one may do. */
  saysTokenRefused(ending: Ending): boolean;
  /** Another token, after this one was refused by this answer; never rejects. */
  tokenInPlaceOf(refused: Token, ending: Ending): Promise<Authorised<Token>>;
  outcome(ending: Ending): Outcome;
}

/** One call of `send`: gives its requests out one by one and settles what becomes of them. */
export class AuthorisedSending<Token> implements Source {
  readonly #request: SendRequest;
  readonly #provider: Provider<Token>;
  readonly #done = Promise.withResolvers<void>();
  readonly #aborted = Promise.withResolvers<null>();
  /** refused for their token, to be asked once more with a new one */
  readonly #again: number[] = [];
  readonly #askedAgain = new Set<number>();
  #token: Token | null = null;
  #isPosted = false;
  #next = 0;
  #unsettled: number;

  constructor(request: SendRequest, provider: Provider<Token>) {
    this.#request = request;
    this.#provider = provider;
    this.#unsettled = request.deliveries.length;
  }

  async run(): Promise<void> {
    const { signal } = this.#request;
    if (this.#unsettled === 0) return;
    if (signal.aborted) return this.giveUp(aborted());
    const abort = () => {
      this.#aborted.resolve(null);
      this.#provider.lane.abort(this, new Error("aborted"));
    };
    signal.addEventListener("abort", abort, { once: true });
    const authorised = await this.#orAborted(this.#provider.token());
    if (authorised === null) this.giveUp(aborted());
    else if (authorised.kind === "refused") this.#settleRest(authorised.outcome);
    else this.#post(authorised.token);
    await this.#done.promise;
    signal.removeEventListener("abort", abort);
  }

  next(): Parcel | null {
    const { payloadBytesMax } = this.#provider;
    for (let index = this.#nextIndex(); index !== null; index = this.#nextIndex()) {
      const delivery = this.#request.deliveries[index];
      if (delivery === undefined || this.#token === null) continue;
      const bytes = this.#provider.payloadBytes(delivery);
      if (bytes > payloadBytesMax) {
        const reason = `the payload has ${bytes} bytes, ${payloadBytesMax} at most are taken`;
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
    this.#settleRest(this.#provider.outcome(ending));
  }

  #nextIndex(): number | null {
    const again = this.#again.pop();
    if (again !== undefined) return again;
    if (this.#next === this.#request.deliveries.length) return null;
    this.#next += 1;
    return this.#next - 1;
  }

  #parcel(index: number, delivery: Delivery, token: Token): Parcel {
    const { replyBytesMax, onReply } = this.#provider;
    return {
      ...this.#provider.parcel(delivery, token),
      timeoutMs: this.#request.timeoutMs,
      replyBytesMax,
      keepReply: true,
      mayBegin: () => this.#request.mayBegin(),
      ended: observed(onReply, (ending) => this.#ended(index, token, ending)),
    };
  }

  #ended(index: number, token: Token, ending: Ending): void {
    if (this.#provider.saysTokenRefused(ending) && !this.#askedAgain.has(index)) {
      this.#askedAgain.add(index);
      void this.#askAgain(index, token, ending);
    } else {
      this.#settle(index, this.#provider.outcome(ending));
    }
  }

  /** Nothing was accepted, so that asking again can't ring twice. */
  async #askAgain(index: number, refused: Token, ending: Ending): Promise<void> {
    const fresh = await this.#orAborted(this.#provider.tokenInPlaceOf(refused, ending));
    if (fresh === null || this.#request.signal.aborted) {
      this.#settle(index, { kind: "retry", reason: "not sent: aborted" });
    } else if (fresh.kind === "refused") {
      this.#settle(index, fresh.outcome);
    } else {
      this.#again.push(index);
      this.#post(fresh.token);
    }
  }

  #orAborted<T>(waited: Promise<T>): Promise<T | null> {
    return Promise.race([waited, this.#aborted.promise]);
  }

  /** The lane asks for parcels until it is told that there are none; only then may it be given this source again. */
  #post(token: Token): void {
    this.#token = token;
    if (this.#isPosted) return;
    this.#isPosted = true;
    this.#provider.lane.post(this);
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
