import { type buildConnector, Client } from "undici";
import { Exchange } from "./exchange.ts";
import { connectTarget, WarmSockets } from "./warm-sockets.ts";

/** One request, made when a connection is free for it and not before. */
export interface Parcel {
  /** path and query; default the lane's own */
  readonly path?: string;
  /** names and values in turn */
  readonly headers: string[];
  readonly body: Buffer;
  /** from the moment it is given a connection, connecting included, to the end of the reply */
  readonly timeoutMs: number;
  /** a longer reply is cut off and its connection closed */
  readonly replyBytesMax: number;
  /** false: only the reply's status counts, its body is read and dropped */
  readonly keepReply: boolean;
  /** asked right before the first byte */
  mayBegin(): boolean;
  /** called exactly once */
  ended(ending: Ending): void;
}

export type Ending =
  | { readonly kind: "answered"; readonly reply: Reply }
  /** `mayBegin` said no; nothing was written */
  | { readonly kind: "held_back" }
  /** it is certain that nothing was written, or taken; `heard`: the far side itself said so, which shows that it is there */
  | { readonly kind: "unsent"; readonly error: Error; readonly heard?: true }
  /** something may have been written, and no status came back */
  | { readonly kind: "broken_off"; readonly error: Error };

export interface Reply {
  readonly status: number;
  readonly retryAfter: string | undefined;
  readonly date: string | undefined;
  /** empty unless the parcel keeps its reply */
  readonly body: Buffer;
  /** whether the body arrived to its end */
  readonly whole: boolean;
  /** why not */
  readonly cutShort: string;
}

/** Where parcels come from: the sender of several, asked for the next one when its turn comes. */
export interface Source {
  /** null when there are no more */
  next(): Parcel | null;
  /** ends all that `next` has not yet given out */
  giveUp(ending: Ending): void;
}

/** One connection's place, whether it is open or not. */
export interface Slot {
  client: Client | null;
  exchange: Exchange | null;
}

/** What undici keeps an unused connection for when the receiver says nothing; most servers keep it longer. */
const keepAliveMs = 4_000;
const keepAliveMaxMs = 60_000;
/** A connection opened ahead is given up after this: servers close those on which no request begins. */
const warmMs = 20_000;

/**
 * The connections to one destination: a fixed number of HTTP/1.1 clients, one request at a time on each. Each
 * destination has a lane of its own, so that one that answers slowly or not at all holds up nobody else.
 *
 * Clients are held singly rather than in undici's Pool, because a request that waits for a connection must wait here,
 * where it has not begun, and not in a queue behind `dispatch`. undici never sends a request twice by itself: the one
 * that it takes up again after a lost connection is one that it had not begun to write.
 */
export class Lane {
  readonly #url: URL;
  readonly #slots: readonly Slot[];
  readonly #idle: Slot[];
  readonly #waiting: Source[] = [];
  readonly #warm: WarmSockets;
  #requestsStarted = 0;
  #closing: Promise<void> | null = null;

  constructor(url: URL, connections: number, connector: buildConnector.connector) {
    this.#url = url;
    this.#slots = Array.from({ length: connections }, () => ({ client: null, exchange: null }));
    this.#idle = this.#slots.toReversed();
    this.#warm = new WarmSockets(connector, warmMs);
  }

  get path(): string {
    return this.#url.pathname + this.#url.search;
  }

  /** How many requests have been given to a connection; tells whether anything got through since. */
  get requestsStarted(): number {
    return this.#requestsStarted;
  }

  requestStarted(): void {
    this.#requestsStarted += 1;
  }

  /** Sends what the source has, when its turn comes. */
  post(source: Source): void {
    if (this.#closing !== null) {
      source.giveUp({ kind: "unsent", error: new Error("closed") });
      return;
    }
    this.#waiting.push(source);
    this.#pump();
  }

  /** Gives up on all that the source has under way or waiting. */
  abort(source: Source, error: Error): void {
    const at = this.#waiting.indexOf(source);
    if (at >= 0) this.#waiting.splice(at, 1);
    source.giveUp({ kind: "unsent", error });
    for (const slot of this.#slots) {
      if (slot.exchange?.source === source) slot.exchange.abort(error);
    }
  }

  /**
   * No connection could be made, and nothing has got through meanwhile: what waits for one would fare the same, only
   * one connect timeout after another.
   */
  shareFate(ending: Ending): void {
    if (this.#slots.some((slot) => slot.exchange?.isUnderWay === true)) return;
    for (const source of this.#waiting.splice(0)) source.giveUp(ending);
  }

  /** The exchange's connection is free again. */
  release(slot: Slot): void {
    slot.exchange = null;
    this.#idle.push(slot);
    this.#pump();
  }

  /** Gives up a connection that is still being made; its exchange ends, and the next one gets a fresh client. */
  abandon(slot: Slot): void {
    const { client } = slot;
    slot.client = null;
    void client?.destroy();
  }

  /** Opens the connections that are not open yet, up to `connections`; those that can't be opened are left out. */
  async warm(connections: number, signal: AbortSignal): Promise<void> {
    const open = this.#slots.filter(({ client }) => client?.stats.connected === true).length;
    const missing = Math.min(connections, this.#slots.length) - open - this.#warm.count;
    if (this.#closing === null) await this.#warm.open(connectTarget(this.#url), missing, signal);
  }

  /** Takes nothing more on, lets what is under way end (its timeout bounds it), and closes the connections. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    const ending: Ending = { kind: "unsent", error: new Error("closed") };
    for (const source of this.#waiting.splice(0)) source.giveUp(ending);
    this.#warm.close();
    await Promise.all(this.#slots.map(({ client }) => client?.close()));
  }

  #pump(): void {
    for (;;) {
      const source = this.#waiting[0];
      const slot = source === undefined ? undefined : this.#idle.pop();
      if (source === undefined || slot === undefined) return;
      const parcel = source.next();
      if (parcel === null) {
        this.#idle.push(slot);
        if (this.#waiting[0] === source) this.#waiting.shift();
      } else {
        slot.client ??= this.#newClient();
        slot.exchange = new Exchange(this, slot, source, parcel);
        slot.exchange.begin(slot.client);
      }
    }
  }

  #newClient(): Client {
    return new Client(this.#url.origin, {
      connect: this.#warm.connector,
      allowH2: false,
      pipelining: 1,
      keepAliveTimeout: keepAliveMs,
      keepAliveMaxTimeout: keepAliveMaxMs,
      keepAliveTimeoutThreshold: 2_000,
      // Each exchange has its own deadline over all of its parts.
      headersTimeout: 0,
      bodyTimeout: 0,
    });
  }
}
