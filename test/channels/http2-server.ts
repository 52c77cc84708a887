import { once } from "node:events";
import {
  createSecureServer,
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
  type Settings,
} from "node:http2";
import type { AddressInfo, Socket } from "node:net";
import { createAuthority } from "../../src/fakes/certificate.ts";

const authority = createAuthority();
/** What clients of these servers must trust. */
export const { ca } = authority;
/** A certificate for this machine, and its key. */
export const localCertificate = authority.issue(["localhost", "127.0.0.1"]);

/** One request as it came in, whole. */
export interface ReceivedStream {
  readonly stream: ServerHttp2Stream;
  readonly session: ServerHttp2Session;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
  /** in the order of arrival at the server, from 0 */
  readonly ordinal: number;
  answer(status: number, headers?: Record<string, string>, body?: string): void;
}

/** A server that does with each request what the test says. */
export interface Http2TestServer extends AsyncDisposable {
  readonly url: URL;
  readonly received: readonly ReceivedStream[];
  /** sessions taken so far */
  readonly sessions: readonly ServerHttp2Session[];
  /** streams open at one time, at the most, on one session */
  readonly streamsAtOnceMax: number;
  whenReceived(count: number): Promise<void>;
  /** resolves when so many sessions have been taken */
  whenSessions(count: number): Promise<void>;
  /** resolves when so many sessions are open */
  whenOpen(count: number): Promise<void>;
}

export async function startHttp2Server(
  onRequest: (request: ReceivedStream) => void,
  settings: Settings = {},
  onSession: (session: ServerHttp2Session) => void = () => {},
): Promise<Http2TestServer> {
  const received: ReceivedStream[] = [];
  const sessions: ServerHttp2Session[] = [];
  const open = new Set<ServerHttp2Session>();
  const sockets = new Set<Socket>();
  let streamsAtOnceMax = 0;
  const changes = new EventTarget();
  const changed = () => changes.dispatchEvent(new Event("change"));
  const when = async (isSo: () => boolean) => {
    while (!isSo()) await once(changes, "change");
  };

  const server = createSecureServer({ ...localCertificate, settings });
  server.on("secureConnection", (socket: Socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    socket.on("error", () => {});
  });
  server.on("sessionError", () => {});
  server.on("session", (session) => {
    sessions.push(session);
    open.add(session);
    session.on("close", () => {
      open.delete(session);
      changed();
    });
    onSession(session);
    changed();
    const streams = new Set<ServerHttp2Stream>();
    session.on("stream", (stream, headers) => {
      streams.add(stream);
      streamsAtOnceMax = Math.max(streamsAtOnceMax, streams.size);
      stream.on("close", () => streams.delete(stream));
      stream.on("error", () => {});
      let body = "";
      stream.setEncoding("utf8");
      stream.on("data", (part: string) => {
        body += part;
      });
      stream.on("end", () => {
        const answer: ReceivedStream["answer"] = (status, others = {}, text = "") => {
          if (stream.closed || stream.destroyed) return;
          stream.respond({ ":status": status, ...others });
          stream.end(text);
        };
        const request = { stream, session, headers, body, ordinal: received.length, answer };
        received.push(request);
        onRequest(request);
        changed();
      });
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return {
    url: new URL(`https://127.0.0.1:${port}/base?q=1`),
    received,
    sessions,
    get streamsAtOnceMax() {
      return streamsAtOnceMax;
    },
    whenReceived: (count) => when(() => received.length >= count),
    whenSessions: (count) => when(() => sessions.length >= count),
    whenOpen: (count) => when(() => open.size === count),
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
