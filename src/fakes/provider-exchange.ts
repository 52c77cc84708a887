import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from "node:http";
import { constants, type ServerHttp2Stream } from "node:http2";

/** A connection to a provider, as it is seen from the provider's side. */
export interface ProviderConnection {
  /** the last stream whose request came in and was not passed over; 0 over HTTP/1.1 */
  readonly lastStream: number;
  /** its SETTINGS_MAX_CONCURRENT_STREAMS, from now on */
  setMaxConcurrentStreams(streams: number): void;
  /**
   * GOAWAY (RFC 9113, section 6.8), then the connection is closed as soon as its streams have ended. Requests on streams
   * above the last one are passed over: whoever made them was told that they are not served, and makes them again.
   *
   * @param lastStream the last stream that will be served; left out: the last one that has begun
   */
  goAway(frame: { readonly code?: number; readonly lastStream?: number; readonly debugData?: string }): void;
  /** TCP reset */
  reset(): void;
}

export interface Reply {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  /** what the provider calls this answer; in counts beside the status */
  readonly name?: string;
}

/** One request that has come in whole. */
export interface Exchange {
  readonly connection: ProviderConnection;
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
  /** 0 over HTTP/1.1 */
  readonly stream: number;
  /** wall clock, epoch milliseconds with a fraction */
  readonly receivedAtMs: number;
  /** nothing happens when the client has given up meanwhile */
  reply(reply: Reply): void;
  /** RST_STREAM; over HTTP/1.1, the connection is cut */
  resetStream(code: number): void;
}

const empty = Buffer.alloc(0);

/** Reads a stream's body, then hands the exchange on, if its connection still serves it. */
export function http2Exchange(
  stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
  connection: ProviderConnection,
  serves: (stream: number) => boolean,
  onRequest: (exchange: Exchange) => void,
): void {
  stream.on("error", () => {});
  whenWhole(stream, (body) => {
    if (!serves(stream.id ?? 0)) return;
    onRequest({
      connection,
      method: String(headers[":method"]),
      path: String(headers[":path"]),
      headers,
      body,
      stream: stream.id ?? 0,
      receivedAtMs: wallClockMs(),
      reply({ status, headers: extra, body: text = "" }) {
        if (stream.destroyed || stream.closed) return;
        stream.respond({ ":status": status, ...extra }, { endStream: text === "" });
        if (text !== "") stream.end(text);
      },
      resetStream(code) {
        if (!stream.destroyed && !stream.closed) stream.close(code);
      },
    });
  });
}

export function http1Exchange(
  request: IncomingMessage,
  response: ServerResponse,
  connection: ProviderConnection,
  onRequest: (exchange: Exchange) => void,
): void {
  whenWhole(request, (body) => {
    onRequest({
      connection,
      method: request.method ?? "",
      path: request.url ?? "",
      headers: request.headers,
      body,
      stream: 0,
      receivedAtMs: wallClockMs(),
      reply({ status, headers, body: text = "" }) {
        if (response.destroyed) return;
        response.writeHead(status, { "content-length": Buffer.byteLength(text), ...headers });
        response.end(text);
      },
      resetStream: () => connection.reset(),
    });
  });
}

export const refusedStream = constants.NGHTTP2_REFUSED_STREAM;

function whenWhole(readable: IncomingMessage | ServerHttp2Stream, whole: (body: Buffer) => void): void {
  const parts: Buffer[] = [];
  readable.on("data", (part: Buffer) => parts.push(part));
  readable.on("end", () => {
    const [first = empty] = parts;
    whole(parts.length > 1 ? Buffer.concat(parts) : first);
  });
}

function wallClockMs(): number {
  return performance.timeOrigin + performance.now();
}
