import { createServer as createHttp1Server, type Server as Http1Server, type IncomingMessage } from "node:http";
import { createServer as createHttp2Server, type Http2Server, type ServerHttp2Session } from "node:http2";
import { type AddressInfo, createServer as createTcpServer, type Socket, type Server as TcpServer } from "node:net";
import { createServer as createTlsServer, type TLSSocket, type Server as TlsServer } from "node:tls";
import type { Exchange, ProviderConnection } from "./provider-exchange.ts";
import { http1Exchange, http2Exchange } from "./provider-exchange.ts";

/** What becomes of new connections: taken; refused (ECONNREFUSED); or taken by TCP, and no byte is ever answered. */
export type Door = "open" | "refusing" | "silent";

export interface ProviderSocketsOptions {
  readonly cert: string;
  readonly key: string;
  readonly host: string;
  readonly port: number;
  /** whether HTTP/1.1 is spoken to clients that don't offer h2 */
  readonly allowHttp1: boolean;
  /** SETTINGS_MAX_CONCURRENT_STREAMS of new connections */
  readonly maxConcurrentStreams: number;
  /** called with each request whose body has come in whole */
  readonly onRequest: (exchange: Exchange) => void;
}

function settingsOf(maxConcurrentStreams: number) {
  return { maxConcurrentStreams };
}

interface Session extends ProviderConnection {
  readonly http2: ServerHttp2Session;
}

/**
 * The listening side of a provider: TCP, behind it TLS, behind that HTTP/2 or HTTP/1.1 as ALPN has it. Each is handed
 * the sockets of the one before: so it can stop listening while connections go on, and leave a connection to itself.
 */
export class ProviderSockets {
  readonly #options: ProviderSocketsOptions;
  readonly #tcp: TcpServer;
  readonly #tls: TlsServer;
  readonly #http1: Http1Server;
  readonly #http2: Http2Server;
  /** by the port at the other end: a TLS socket does not name the one that it wraps */
  readonly #sockets = new Map<number, Socket>();
  readonly #sessions = new Set<Session>();
  #connections = 0;
  #port = 0;
  #door: Door = "open";

  private constructor(options: ProviderSocketsOptions) {
    this.#options = options;
    const { cert, key, allowHttp1 } = options;
    this.#tcp = createTcpServer({ noDelay: true }, (socket) => this.#admit(socket));
    this.#tls = createTlsServer({ cert, key, ALPNProtocols: allowHttp1 ? ["h2", "http/1.1"] : ["h2"] });
    this.#tls.on("secureConnection", (socket) => this.#speak(socket));
    this.#tls.on("tlsClientError", () => {});
    this.#http1 = createHttp1Server({ noDelay: true, keepAliveTimeout: 60_000 }, (request, response) => {
      http1Exchange(request, response, this.#http1Connection(request), options.onRequest);
    });
    // megabytes: what a session's streams may hold at one time
    this.#http2 = createHttp2Server({ maxSessionMemory: 100, settings: settingsOf(options.maxConcurrentStreams) });
    this.#http2.on("session", (session) => this.#begin(session));
    this.#http2.on("sessionError", () => {});
  }

  static async listen(options: ProviderSocketsOptions): Promise<ProviderSockets> {
    const sockets = new ProviderSockets(options);
    sockets.#port = await sockets.#listen(options.port);
    return sockets;
  }

  get port(): number {
    return this.#port;
  }

  /** connections taken since the start */
  get connections(): number {
    return this.#connections;
  }

  /** HTTP/2 connections that are open now */
  get sessions(): readonly ProviderConnection[] {
    return [...this.#sessions];
  }

  get door(): Door {
    return this.#door;
  }

  async setDoor(door: Door): Promise<void> {
    if (door === this.#door) return;
    // close() stops listening at once; its callback would wait for the connections that go on
    if (door === "refusing") this.#tcp.close();
    else if (this.#door === "refusing") await this.#listen(this.#port);
    this.#door = door;
  }

  /** SETTINGS_MAX_CONCURRENT_STREAMS of new connections and, at once, of those that are open. */
  setMaxConcurrentStreams(streams: number): void {
    this.#http2.updateSettings(settingsOf(streams));
    for (const session of this.#sessions) session.setMaxConcurrentStreams(streams);
  }

  /** Ends all connections at once. */
  async close(): Promise<void> {
    if (this.#door !== "refusing") this.#tcp.close();
    this.#door = "refusing";
    const closed = [...this.#sockets.values()].map((socket) => {
      if (socket.closed) return undefined;
      const gone = new Promise<void>((resolve) => socket.once("close", () => resolve()));
      socket.destroy();
      return gone;
    });
    for (const { http2 } of this.#sessions) http2.destroy();
    await Promise.all(closed);
  }

  async #listen(port: number): Promise<number> {
    await new Promise<void>((resolve, reject) => {
      this.#tcp.once("error", reject);
      this.#tcp.listen({ port, host: this.#options.host, backlog: 4_096 }, () => {
        this.#tcp.off("error", reject);
        resolve();
      });
    });
    const address: AddressInfo | string | null = this.#tcp.address();
    if (address === null || typeof address === "string") throw new Error("The provider has no port");
    return address.port;
  }

  #admit(socket: Socket): void {
    const { remotePort } = socket;
    this.#connections += 1;
    socket.on("error", () => {});
    if (remotePort !== undefined) {
      this.#sockets.set(remotePort, socket);
      socket.once("close", () => {
        if (this.#sockets.get(remotePort) === socket) this.#sockets.delete(remotePort);
      });
    }
    if (this.#door !== "silent") this.#tls.emit("connection", socket);
  }

  #speak(socket: TLSSocket): void {
    socket.on("error", () => {});
    if (socket.alpnProtocol === "h2") this.#http2.emit("connection", socket);
    else if (this.#options.allowHttp1) this.#http1.emit("connection", socket);
    else socket.destroy();
  }

  #begin(http2: ServerHttp2Session): void {
    const remotePort = http2.socket.remotePort ?? 0;
    let lastSeen = 0;
    let lastStream = 0;
    let lastServed = Number.POSITIVE_INFINITY;
    const session: Session = {
      http2,
      get lastStream() {
        return lastStream;
      },
      setMaxConcurrentStreams: (streams) => {
        if (!http2.closed && !http2.destroyed) http2.settings(settingsOf(streams));
      },
      goAway: ({ code = 0, lastStream: last = lastSeen, debugData }) => {
        if (http2.closed || http2.destroyed) return;
        lastServed = Math.min(lastServed, last);
        http2.goaway(code, last, debugData === undefined ? undefined : Buffer.from(debugData));
        // In this turn its closing GOAWAY would still name a later stream than this one does, which no client allows.
        setImmediate(() => {
          if (!http2.closed && !http2.destroyed) http2.close();
        });
      },
      reset: () => this.#reset(remotePort),
    };
    http2.on("error", () => {});
    this.#sessions.add(session);
    http2.once("close", () => this.#sessions.delete(session));
    const serves = (stream: number) => {
      if (stream > lastServed) return false;
      lastStream = Math.max(lastStream, stream);
      return true;
    };
    http2.on("stream", (stream, headers) => {
      lastSeen = Math.max(lastSeen, stream.id ?? 0);
      http2Exchange(stream, headers, session, serves, this.#options.onRequest);
    });
  }

  #http1Connection(request: IncomingMessage): ProviderConnection {
    const remotePort = request.socket.remotePort ?? 0;
    return {
      lastStream: 0,
      setMaxConcurrentStreams: () => {},
      goAway: () => this.#reset(remotePort),
      reset: () => this.#reset(remotePort),
    };
  }

  #reset(remotePort: number): void {
    this.#sockets.get(remotePort)?.resetAndDestroy();
  }
}
