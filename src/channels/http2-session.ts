import { type ClientHttp2Session, connect, constants, sensitiveHeaders } from "node:http2";
import type { Socket } from "node:net";
import type { buildConnector } from "undici";
import { type Carrier, errorName, Http2Exchange } from "./http2-exchange.ts";
import type { Parcel, Source } from "./lane.ts";
import { connectTarget } from "./warm-sockets.ts";

export interface Http2SessionOptions {
  /** own bound on streams at one time on one session, beside the far side's */
  readonly streamsMax: number;
  /** how many streams may be open until the far side has answered the first request */
  readonly streamsBeforeFirstReply: number;
  /** after so long without any frame while requests wait, a PING asks whether anybody is there */
  readonly silenceMs: number;
  /** a PING that is not answered in this time ends the session */
  readonly pingTimeoutMs: number;
  /** a session without requests is closed after this */
  readonly idleMs: number;
  /** a session without requests for this long is asked by a PING before it takes one */
  readonly staleMs: number;
  /** names of headers that differ with each request and would push the common ones out of HPACK's table */
  readonly neverIndexed: readonly string[];
}

/** What a session tells its lane. */
export interface SessionOwner {
  /** it is open, or has room again */
  ready(session: Http2Session): void;
  /** a request was answered */
  replied(): void;
  /**
   * It takes no more requests, from now on and for good; those under way may still be answered.
   *
   * @param fault null when it ended by our own will
   */
  retired(session: Http2Session, fault: Error | null): void;
  /** its connection is closed */
  closed(session: Http2Session): void;
}

class NoHttp2Error extends Error {}

/** Whether a session failed because the far side chose another protocol: HTTP/1.1 may do. */
export function saysNoHttp2(error: Error): boolean {
  return error instanceof NoHttp2Error;
}

/** How long the far side has to close its half after we have closed ours. */
const lingerMs = 250;

/**
 * One HTTP/2 connection. It is `connecting`, then `open`, then `retired`: after a GOAWAY, a lost connection or a PING
 * without an answer it takes no more requests and is never used again.
 */
export class Http2Session implements Carrier {
  readonly #url: URL;
  readonly #owner: SessionOwner;
  readonly #options: Http2SessionOptions;
  readonly #exchanges = new Set<Http2Exchange>();
  #state: "connecting" | "open" | "retired" = "connecting";
  #client: ClientHttp2Session | null = null;
  #socket: Socket | null = null;
  #peerStreamsMax = 0;
  #hasOpened = false;
  #hasReplied = false;
  #hasHeard = false;
  #isPinging = false;
  #idleSince: number | null = null;
  #watch: NodeJS.Timeout | undefined;
  #settingsTimer: NodeJS.Timeout | undefined;
  #pingTimer: NodeJS.Timeout | undefined;
  #lingerTimer: NodeJS.Timeout | undefined;
  #settled = Promise.withResolvers<void>();
  readonly #gone = Promise.withResolvers<void>();
  endError: Error | null = null;

  constructor(url: URL, options: Http2SessionOptions, owner: SessionOwner) {
    this.#url = url;
    this.#options = options;
    this.#owner = owner;
  }

  connect(connector: buildConnector.connector): void {
    connector(connectTarget(this.#url), (error, socket) => {
      if (error !== null) this.#failed(error);
      else this.#connected(socket);
    });
  }

  /** Whether there ever was a connection. */
  get hasOpened(): boolean {
    return this.#hasOpened;
  }

  /** Whether the far side has answered any request on it. */
  get hasReplied(): boolean {
    return this.#hasReplied;
  }

  /** Whether it is being made, or asked whether it still lives: it may take requests soon. */
  get isComing(): boolean {
    return this.#state === "connecting" || (this.#state === "open" && this.#isPinging);
  }

  /** How many more streams it takes now. */
  get room(): number {
    if (this.#state !== "open" || this.#isPinging || this.#isStale) return 0;
    const { streamsMax, streamsBeforeFirstReply } = this.#options;
    const beforeReply = this.#hasReplied ? Number.POSITIVE_INFINITY : streamsBeforeFirstReply;
    return Math.min(streamsMax, this.#peerStreamsMax, beforeReply) - this.#exchanges.size;
  }

  /** Resolves when it is known whether it takes requests: it is open, has answered `verify`, or has failed. */
  get settled(): Promise<void> {
    return this.#settled.promise;
  }

  /** Resolves when its connection is closed. */
  get gone(): Promise<void> {
    return this.#gone.promise;
  }

  get #isStale(): boolean {
    return this.#idleSince !== null && performance.now() - this.#idleSince >= this.#options.staleMs;
  }

  /** Gives up on all that the source has under way here. */
  abort(source: Source, error: Error): void {
    for (const exchange of [...this.#exchanges]) if (exchange.source === source) exchange.abort(error);
  }

  /** Sends one request; the caller has seen that there is room. */
  begin(source: Source, parcel: Parcel): void {
    const client = this.#client;
    const exchange = new Http2Exchange(this, source, parcel);
    if (client === null) return;
    this.#exchanges.add(exchange);
    if (this.#idleSince !== null) {
      this.#idleSince = null;
      client.ref();
    }
    if (!exchange.begin(client, this.#headersOf(parcel))) {
      this.freed(exchange);
      if (client.closed || client.destroyed) this.#retire(this.endError ?? new Error("session closed"));
    }
  }

  /**
   * Asks whether a session that has not been used for long still lives; it takes no requests before it has answered.
   * A connection that died in silence (a router that forgot it) would otherwise swallow the first requests.
   */
  verify(): void {
    if (this.#state === "open" && this.#isStale) this.#ping();
  }

  /** Takes no more requests, lets those under way end, and closes the connection. */
  close(): Promise<void> {
    this.#retire(null);
    return this.gone;
  }

  heard(): void {
    this.#hasHeard = true;
  }

  suspect(): void {
    if (!this.#hasHeard) this.#ping();
  }

  replied(): void {
    this.#hasHeard = true;
    this.#hasReplied = true;
    this.#owner.replied();
  }

  freed(exchange: Http2Exchange): void {
    this.#exchanges.delete(exchange);
    if (this.#exchanges.size === 0) {
      this.#idleSince = performance.now();
      this.#client?.unref();
      if (this.#state === "retired") this.#endConnection();
    }
    if (this.room > 0) this.#owner.ready(this);
  }

  #failed(error: Error): void {
    if (this.#state === "connecting") this.#retire(error);
    this.#over();
  }

  #connected(socket: Socket): void {
    if (this.#state === "retired") {
      socket.destroy();
      this.#over();
      return;
    }
    if (this.#url.protocol === "https:" && !("alpnProtocol" in socket && socket.alpnProtocol === "h2")) {
      socket.destroy();
      this.#failed(new NoHttp2Error("the far side does not speak HTTP/2"));
      return;
    }
    this.#socket = socket;
    const client = connect(this.#url.origin, { createConnection: () => socket, settings: { enablePush: false } });
    this.#client = client;
    // RFC 9113 3.4: SETTINGS are the first that a far side says, and it must say them.
    this.#settingsTimer = setTimeout(() => this.#lost(new Error("no SETTINGS")), this.#options.pingTimeoutMs);
    client.on("remoteSettings", ({ maxConcurrentStreams }) => this.#learned(maxConcurrentStreams));
    client.on("goaway", (code, lastStreamId) => this.#goneAway(code, lastStreamId));
    client.on("error", (error) => this.#lost(error));
    client.on("close", () => this.#lost(new Error("connection closed")));
  }

  /**
   * The first SETTINGS open the session. RFC 9113 lets a client send before it has them, but whatever is then above
   * the limit that they bring is refused; they come with the handshake or one round trip after it.
   */
  #learned(maxConcurrentStreams = Number.POSITIVE_INFINITY): void {
    this.#peerStreamsMax = maxConcurrentStreams;
    this.heard();
    if (this.#state === "connecting") this.#opened();
    else if (this.room > 0) this.#owner.ready(this);
  }

  #opened(): void {
    clearTimeout(this.#settingsTimer);
    this.#state = "open";
    this.#hasOpened = true;
    this.#idleSince = performance.now();
    this.#client?.unref();
    this.#watch = setInterval(() => this.#look(), this.#options.silenceMs);
    this.#watch.unref();
    this.#settled.resolve();
    this.#owner.ready(this);
  }

  #headersOf({ path = this.#url.pathname + this.#url.search, headers, body }: Parcel): string[] {
    const all = [
      ...[constants.HTTP2_HEADER_METHOD, "POST"],
      ...[constants.HTTP2_HEADER_SCHEME, this.#url.protocol.slice(0, -1)],
      ...[constants.HTTP2_HEADER_AUTHORITY, this.#url.host],
      ...[constants.HTTP2_HEADER_PATH, path],
      ...headers,
      ...[constants.HTTP2_HEADER_CONTENT_LENGTH, String(body.length)],
    ];
    const { neverIndexed } = this.#options;
    return neverIndexed.length === 0 ? all : Object.assign(all, { [sensitiveHeaders]: neverIndexed });
  }

  #goneAway(code: number, lastStreamId: number): void {
    const error = new Error(`far side is going away: ${errorName(code)}`);
    const sessionEnds = code !== constants.NGHTTP2_NO_ERROR;
    if (sessionEnds) this.endError ??= error;
    this.heard();
    for (const exchange of [...this.#exchanges]) exchange.goneAway(lastStreamId, sessionEnds, error);
    this.#retire(error);
  }

  /** Every so often: has anything come in while requests wait, and is the session still of use? */
  #look(): void {
    if (this.#exchanges.size > 0) {
      if (!this.#hasHeard) this.#ping();
      this.#hasHeard = false;
    } else if (this.#idleSince !== null && performance.now() - this.#idleSince >= this.#options.idleMs) {
      this.#retire(null);
    }
  }

  #ping(): void {
    const client = this.#client;
    if (this.#isPinging || client === null || client.destroyed) return;
    this.#isPinging = true;
    this.#settled = Promise.withResolvers();
    this.#pingTimer = setTimeout(() => this.#lost(new Error("no answer to PING")), this.#options.pingTimeoutMs);
    client.ping((error) => {
      if (error !== null || this.#client !== client) return;
      clearTimeout(this.#pingTimer);
      this.#isPinging = false;
      this.heard();
      this.#settled.resolve();
      if (this.#exchanges.size === 0) this.#idleSince = performance.now();
      if (this.room > 0) this.#owner.ready(this);
    });
  }

  #retire(fault: Error | null): void {
    if (this.#state === "retired") return;
    this.#state = "retired";
    this.#settled.resolve();
    this.#owner.retired(this, fault);
    if (this.#client !== null) {
      if (this.#exchanges.size === 0) this.#endConnection();
    } else if (fault === null) {
      // Still connecting: the socket is destroyed when it comes, and nobody waits for that.
      this.#gone.resolve();
    }
  }

  /** Says goodbye; a far side that does not close its half is not waited for. */
  #endConnection(): void {
    if (this.#lingerTimer !== undefined || this.#client === null) return;
    this.#client.close();
    this.#lingerTimer = setTimeout(() => this.#socket?.destroy(), lingerMs);
  }

  /** The connection is of no more use: what is under way ends here. */
  #lost(error: Error): void {
    const client = this.#client;
    if (client === null) return;
    this.#client = null;
    this.endError ??= error;
    this.#retire(error);
    // Streams that the far side has finished may still have an event on its way that says so: first those, then this.
    setImmediate(() => {
      for (const exchange of [...this.#exchanges]) exchange.lost(this.endError ?? error);
      this.#exchanges.clear();
      client.destroy();
      this.#socket?.destroy();
      this.#over();
    });
  }

  #over(): void {
    clearInterval(this.#watch);
    clearTimeout(this.#settingsTimer);
    clearTimeout(this.#pingTimer);
    clearTimeout(this.#lingerTimer);
    this.#settled.resolve();
    this.#gone.resolve();
    this.#owner.closed(this);
  }
}
