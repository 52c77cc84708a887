import type { buildConnector } from "undici";
import { Http2Session, type Http2SessionOptions, type SessionOwner } from "./http2-session.ts";
import type { Ending, Source } from "./lane.ts";

export interface Http2LaneOptions extends Partial<Http2SessionOptions> {
  /** connections at one time; one that is going away no longer counts */
  readonly sessionsMax: number;
}

/** So many sessions in a row that broke without answering anything: whoever waits is told, and comes back later. */
const fruitlessMax = 3;
/** Where a connection can't be made beside those that are open, how long no other is tried. */
const growthPauseMs = 1_000;

/**
 * The HTTP/2 connections to one origin: several sessions, opened as requests need them, each with as many streams at a
 * time as the far side allows. It has the face of `Lane`: sources are asked for a request when a stream is free, so a
 * request that waits has not begun.
 *
 * A session that got GOAWAY lets its streams end and is closed; the next request opens another at once. Nothing is
 * ever sent twice from in here: what a refused or lost stream means is the caller's to decide, by its ending.
 */
export class Http2Lane {
  readonly #url: URL;
  readonly #connector: buildConnector.connector;
  readonly #sessionsMax: number;
  readonly #options: Http2SessionOptions;
  /** those that take requests, now or soon */
  readonly #sessions = new Set<Http2Session>();
  /** those that no longer do, and whose connection is not closed yet */
  readonly #retired = new Set<Http2Session>();
  readonly #waiting: Source[] = [];
  #isPumping = false;
  #fruitless = 0;
  #growthFromMs = 0;
  #closing: Promise<void> | null = null;

  /** @param connector offers HTTP/2 (`guardedConnector` with `http2`) */
  constructor(url: URL, options: Http2LaneOptions, connector: buildConnector.connector) {
    const { sessionsMax, ...others } = options;
    this.#url = url;
    this.#connector = connector;
    this.#sessionsMax = sessionsMax;
    this.#options = {
      streamsMax: 1_000,
      streamsBeforeFirstReply: Number.POSITIVE_INFINITY,
      silenceMs: 2_000,
      pingTimeoutMs: 2_000,
      idleMs: 60_000,
      staleMs: 10_000,
      neverIndexed: [],
      ...others,
    };
  }

  get path(): string {
    return this.#url.pathname + this.#url.search;
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
    for (const session of [...this.#sessions, ...this.#retired]) {
      session.abort(source, error);
    }
  }

  /** Opens sessions ahead, up to `connections`, and asks those that lay idle whether they live; never rejects. */
  async warm(connections: number, signal: AbortSignal): Promise<void> {
    if (this.#closing !== null || signal.aborted) return;
    for (const session of this.#sessions) session.verify();
    const missing = Math.min(connections, this.#sessionsMax) - this.#sessions.size;
    for (let opened = 0; opened < missing; opened += 1) this.#open();
    const aborted = Promise.withResolvers<void>();
    const abort = () => aborted.resolve();
    signal.addEventListener("abort", abort, { once: true });
    await Promise.race([Promise.all([...this.#sessions].map(({ settled }) => settled)), aborted.promise]);
    signal.removeEventListener("abort", abort);
  }

  /** Takes nothing more on, lets what is under way end (its timeout bounds it), and closes the connections. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    // Until the end of this turn `#closing` is not set, and giving up may post anew.
    await null;
    this.#giveUpAll(new Error("closed"));
    await Promise.all([
      ...[...this.#sessions].map((session) => session.close()),
      ...[...this.#retired].map(({ gone }) => gone),
    ]);
  }

  #pump(): void {
    if (this.#isPumping) return;
    this.#isPumping = true;
    for (;;) {
      const source = this.#waiting[0];
      const session = source === undefined ? null : this.#roomiest();
      if (source === undefined || session === null) break;
      const parcel = source.next();
      if (parcel !== null) session.begin(source, parcel);
      else if (this.#waiting[0] === source) this.#waiting.shift();
    }
    this.#isPumping = false;
    if (this.#waiting.length > 0) this.#grow();
  }

  #roomiest(): Http2Session | null {
    let best: Http2Session | null = null;
    let most = 0;
    for (const session of this.#sessions) {
      const { room } = session;
      if (room > most) {
        best = session;
        most = room;
      }
    }
    return best;
  }

  /** As many more at a time as there are already, so that a flood soon has all, and a trickle one. */
  #grow(): void {
    if (this.#closing !== null || (this.#sessions.size > 0 && performance.now() < this.#growthFromMs)) return;
    let coming = 0;
    for (const session of this.#sessions) {
      session.verify();
      if (session.isComing) coming += 1;
    }
    const wanted = Math.max(1, this.#sessions.size - coming) - coming;
    const more = Math.min(wanted, this.#sessionsMax - this.#sessions.size);
    for (let opened = 0; opened < more; opened += 1) this.#open();
  }

  #open(): void {
    const session = new Http2Session(this.#url, this.#options, this.#owner);
    this.#sessions.add(session);
    session.connect(this.#connector);
  }

  readonly #owner: SessionOwner = {
    ready: () => this.#pump(),
    replied: () => {
      this.#fruitless = 0;
    },
    retired: (session, fault) => {
      this.#sessions.delete(session);
      this.#retired.add(session);
      if (fault !== null && !session.hasReplied) this.#reckon(session, fault);
      this.#pump();
    },
    closed: (session) => {
      this.#retired.delete(session);
    },
  };

  /** A session has broken that was of no use: would it help those who wait to try another? */
  #reckon(session: Http2Session, fault: Error): void {
    if (!session.hasOpened) {
      this.#growthFromMs = performance.now() + growthPauseMs;
      if (this.#sessions.size === 0) this.#giveUpAll(fault);
      return;
    }
    this.#fruitless += 1;
    if (this.#fruitless < fruitlessMax) return;
    this.#fruitless = 0;
    this.#giveUpAll(fault);
  }

  #giveUpAll(error: Error): void {
    const ending: Ending = { kind: "unsent", error };
    for (const source of this.#waiting.splice(0)) source.giveUp(ending);
  }
}
