import { once } from "node:events";
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from "node:http";
import { createSecureServer, type Http2ServerRequest, type Http2ServerResponse } from "node:http2";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo } from "node:net";
import { Browser } from "./browser.ts";

export type PushAnswer =
  | { readonly status: number; readonly headers?: Record<string, string>; readonly body?: string }
  /** takes the request and stays silent */
  | "withhold"
  /** takes the request and drops the connection or stream */
  | "reset";

export interface PushedMessage {
  readonly user: string;
  readonly httpVersion: string;
  readonly headers: IncomingHttpHeaders;
  /** decrypted, as the service worker gets it */
  readonly payload: { readonly id: string; readonly [member: string]: unknown };
}

export interface PushServerOptions {
  /** default: plain HTTP/1.1 */
  readonly speaks?: "http" | "https" | "h2";
  /** key and certificate in PEM */
  readonly credentials?: { readonly key: string; readonly cert: string };
  /** default: 201 */
  answer?(user: string): PushAnswer;
}

type Request = IncomingMessage | Http2ServerRequest;
type Response = ServerResponse | Http2ServerResponse;

/** A push service with its browsers (RFC 8030, 5): real requests, and messages that are really decrypted. */
export class PushServer implements AsyncDisposable {
  readonly log: PushedMessage[] = [];
  readonly #browsers = new Map<string, Browser>();
  readonly #answer: (user: string) => PushAnswer;
  readonly #server: ReturnType<typeof serverFor>;
  readonly #scheme: string;
  readonly #sockets = new Set<{ destroy(): void }>();
  readonly #waiting: { readonly count: number; resolve(): void }[] = [];

  private constructor(options: PushServerOptions) {
    this.#answer = options.answer ?? (() => ({ status: 201 }));
    this.#scheme = (options.speaks ?? "http") === "http" ? "http" : "https";
    this.#server = serverFor(options, (request, response) => void this.#take(request, response));
    this.#server.on("connection", (socket) => {
      this.#sockets.add(socket);
      socket.on("error", () => {});
    });
  }

  static async start(options: PushServerOptions = {}): Promise<PushServer> {
    const server = new PushServer(options);
    server.#server.listen(0, "127.0.0.1");
    await once(server.#server, "listening");
    return server;
  }

  get origin(): string {
    return `${this.#scheme}://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** The user's subscription, always the same. */
  subscription(user: string): string {
    const browser = this.#browsers.get(user) ?? new Browser();
    this.#browsers.set(user, browser);
    return browser.subscription(`${this.origin}/push/${user}?token=${user}`);
  }

  whenReceived(count: number): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting.push({ count, resolve });
      this.#tell();
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #take(request: Request, response: Response): Promise<void> {
    const body = Buffer.concat(await Array.fromAsync<Buffer>(request));
    const user = /^\/push\/([^/?]+)\?token=\1$/.exec(request.url ?? "")?.[1] ?? "";
    const browser = this.#browsers.get(user);
    if (browser === undefined) return reply(response, { status: 404 });
    const { httpVersion, headers } = request;
    this.log.push({ user, httpVersion, headers, payload: JSON.parse(browser.decrypt(body).toString("utf8")) });
    this.#tell();
    const answer = this.#answer(user);
    if (answer === "withhold") return;
    if (answer !== "reset") reply(response, answer);
    else if ("stream" in response) response.stream.close(2);
    else request.socket.destroy();
  }

  #tell(): void {
    for (const waiting of this.#waiting) {
      if (this.log.length >= waiting.count) waiting.resolve();
    }
  }
}

function reply(response: Response, { status, headers, body }: Exclude<PushAnswer, string>): void {
  response.statusCode = status;
  for (const [name, value] of Object.entries(headers ?? {})) response.setHeader(name, value);
  response.end(body ?? "");
}

function serverFor(options: PushServerOptions, take: (request: Request, response: Response) => void) {
  const { speaks = "http", credentials = {} } = options;
  switch (speaks) {
    case "http":
      return createServer(take);
    case "https":
      return createTlsServer(credentials, take);
    case "h2":
      return createSecureServer(credentials, take);
  }
}
