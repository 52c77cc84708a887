import { once } from "node:events";
import {
  constants,
  createSecureServer,
  type Http2Server,
  type Http2Session,
  type IncomingHttpHeaders,
  type ServerHttp2Stream,
} from "node:http2";
import { createAuthority } from "../../src/fakes/certificate.ts";

/** What a small APNs does with a request. */
export type ApnsAnswer =
  | { readonly status: number; readonly body?: unknown; readonly headers?: Readonly<Record<string, string>> }
  /** takes the request and stays silent */
  | "withhold"
  /** takes the request and drops the connection */
  | "reset"
  /** RST_STREAM with REFUSED_STREAM */
  | "refuse"
  /** takes it, and says by GOAWAY that it takes no later one on this connection */
  | "goaway";

export interface ApnsRequest {
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
  /** streams open on its session while it came, itself included */
  readonly streams: number;
}

/** HTTP/2 over TLS on this machine, which answers as the test says. It keeps what it was asked. */
export interface ApnsServer extends AsyncDisposable {
  readonly url: string;
  /** PEM, to be trusted by whoever connects */
  readonly ca: string;
  readonly requests: readonly ApnsRequest[];
  readonly sessions: number;
  /** resolves when so many requests have come */
  whenRequested(count: number): Promise<void>;
  stop(): Promise<void>;
}

export async function startApnsServer(answerTo: (request: ApnsRequest) => ApnsAnswer): Promise<ApnsServer> {
  const authority = createAuthority();
  const requests: ApnsRequest[] = [];
  const open = new Map<Http2Session, number>();
  const lastStreams = new Map<Http2Session, number>();
  let sessions = 0;
  const server = createSecureServer(authority.issue(["127.0.0.1", "localhost"]));
  server.on("session", (session) => {
    sessions += 1;
    open.set(session, 0);
    session.on("close", () => open.delete(session));
    session.on("error", () => {});
  });
  server.on("stream", (stream, headers) => {
    const { session } = stream;
    if (session === undefined) return;
    const streams = (open.get(session) ?? 0) + 1;
    open.set(session, streams);
    stream.on("close", () => open.set(session, (open.get(session) ?? 1) - 1));
    stream.on("error", () => {});
    onBody(stream, (body) => {
      if ((stream.id ?? 0) > (lastStreams.get(session) ?? Number.POSITIVE_INFINITY)) return;
      const request = { path: String(headers[":path"]), headers, body, streams };
      requests.push(request);
      const given = answerTo(request);
      if (given === "goaway") lastStreams.set(session, stream.id ?? 0);
      answer(stream, session, given);
      server.emit("requested");
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const stop = () => stopServer(server, open);
  return {
    url: `https://127.0.0.1:${portOf(server)}`,
    ca: authority.ca,
    requests,
    get sessions() {
      return sessions;
    },
    async whenRequested(count) {
      while (requests.length < count) await once(server, "requested");
    },
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

/** Never called for a stream that ends before its body does. */
function onBody(stream: ServerHttp2Stream, come: (body: string) => void): void {
  const parts: Buffer[] = [];
  stream.on("data", (part: Buffer) => parts.push(part));
  stream.on("end", () => come(Buffer.concat(parts).toString()));
}

function answer(stream: ServerHttp2Stream, session: Http2Session, given: ApnsAnswer): void {
  if (given === "withhold" || stream.destroyed) return;
  if (given === "reset") {
    session.destroy(undefined, constants.NGHTTP2_INTERNAL_ERROR);
  } else if (given === "refuse") {
    stream.close(constants.NGHTTP2_REFUSED_STREAM);
  } else if (given === "goaway") {
    session.goaway(constants.NGHTTP2_NO_ERROR, stream.id ?? 0);
    stream.respond({ ":status": 200 }, { endStream: true });
    // in this turn its own GOAWAY would name a later stream, which no client allows
    setImmediate(() => session.close());
  } else {
    const { status, body, headers = {} } = given;
    stream.respond({ ":status": status, ...headers });
    stream.end(body === undefined ? "" : JSON.stringify(body));
  }
}

async function stopServer(server: Http2Server, open: ReadonlyMap<Http2Session, number>): Promise<void> {
  for (const session of open.keys()) session.destroy();
  if (server.listening) await new Promise((resolve) => server.close(resolve));
}

function portOf(server: Http2Server): number {
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}
