import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { verifier } from "../channels/webhook-signature.ts";
import { Arrivals } from "./arrivals.ts";
import { type ReceivedReminder, ReceiverLog } from "./receiver-log.ts";
import { type ReceivedRequest, readRequest } from "./webhook-request.ts";

/** What to answer with: a status (200 when left out), headers, a body, after a delay. */
export interface FaultReply {
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  readonly delayMs?: number;
}

/**
 * What a receiver does with a request:
 * - `accept`: records it and answers 200
 * - `reset`: resets the connection and records nothing
 * - `reset_after_accept`: records it, then resets the connection instead of answering
 * - `withhold`: records it and never answers
 * - a reply: records it and answers so
 */
export type Fault = "accept" | "reset" | "reset_after_accept" | "withhold" | FaultReply;

export interface WebhookReceiverOptions {
  /** default 0: any free one */
  readonly port?: number;
  /** default 127.0.0.1 */
  readonly host?: string;
  /** how long each reply takes, default 0 */
  readonly delayMs?: number;
  /** append-only, one line a reminder */
  readonly logFile?: string;
  /** `whsec_...`; when given, requests that none of them signed are answered 401 and not recorded */
  readonly secrets?: readonly string[];
  /** called for each recorded request, before it is answered */
  readonly onReceived?: (reminders: readonly ReceivedReminder[], request: ReceivedRequest) => void;
  readonly faults?: (request: ReceivedRequest) => Fault;
}

export interface WebhookReceiver extends AsyncDisposable {
  readonly url: string;
  readonly port: number;
  /** reminders recorded so far */
  readonly received: number;
  /** requests recorded so far */
  readonly requests: number;
  /** requests refused for their signature so far */
  readonly unsigned: number;
  /** Resolves as soon as so many reminders are recorded; rejects with the signal's reason. */
  whenReceived(count: number, signal?: AbortSignal): Promise<void>;
  /** Ends open connections, writes the log out; a second call is fine. */
  stop(): Promise<void>;
}

/** A receiver that speaks the real protocol: for demo, dev, benches and tests. */
export async function startWebhookReceiver(options: WebhookReceiverOptions = {}): Promise<WebhookReceiver> {
  const { delayMs = 0, secrets, onReceived, faults } = options;
  const log = options.logFile === undefined ? null : new ReceiverLog(options.logFile);
  const verify = secrets === undefined ? null : verifier(secrets);
  const arrivals = new Arrivals();
  let requests = 0;
  let unsigned = 0;

  function record(request: ReceivedRequest, replied: number | false): void {
    const reminders = request.reminders.map(({ id, user }): ReceivedReminder => {
      const { bucket, group, node, attempt, webhookId, receivedAtMs, dueAtMs } = request;
      return { id, user, bucket, group, node, attempt, webhookId, receivedAtMs, dueAtMs, replied };
    });
    for (const reminder of reminders) log?.append(reminder);
    requests += 1;
    onReceived?.(reminders, request);
    arrivals.add(reminders.length);
  }

  function receive(incoming: IncomingMessage, response: ServerResponse, body: Buffer): void {
    if (verify !== null && !isSigned(incoming, body, verify)) {
      unsigned += 1;
      reply(response, { status: 401 }, 0);
      return;
    }
    const request = readRequest(incoming, body, performance.timeOrigin + performance.now());
    if (request === null) {
      reply(response, { status: 400 }, 0);
      return;
    }
    const fault = faults === undefined ? "accept" : faults(request);
    switch (fault) {
      case "accept":
        record(request, 200);
        reply(response, {}, delayMs);
        break;
      case "reset":
        incoming.socket.resetAndDestroy();
        break;
      case "reset_after_accept":
        record(request, false);
        incoming.socket.resetAndDestroy();
        break;
      case "withhold":
        record(request, false);
        break;
      default:
        record(request, fault.status ?? 200);
        reply(response, fault, delayMs);
    }
  }

  const server = createServer({ noDelay: true, keepAliveTimeout: 60_000 }, (incoming, response) => {
    let parts: Buffer[] | null = null;
    let first: Buffer | null = null;
    incoming.on("data", (part: Buffer) => {
      if (first === null) first = part;
      else if (parts === null) parts = [first, part];
      else parts.push(part);
    });
    incoming.on("end", () => receive(incoming, response, parts === null ? (first ?? empty) : Buffer.concat(parts)));
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen({ port: options.port ?? 0, host: options.host ?? "127.0.0.1", backlog: 4_096 }, resolve);
  });
  const address: AddressInfo | string | null = server.address();
  if (address === null || typeof address === "string") throw new Error("The receiver has no port");
  const { port } = address;
  const host = address.family === "IPv6" ? `[${address.address}]` : address.address;

  let stopping: Promise<void> | null = null;
  async function shutDown(): Promise<void> {
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    server.closeAllConnections();
    await closed;
    await log?.close();
  }
  const stop = () => {
    stopping ??= shutDown();
    return stopping;
  };

  return {
    url: `http://${host}:${port}/`,
    port,
    get received() {
      return arrivals.count;
    },
    get requests() {
      return requests;
    },
    get unsigned() {
      return unsigned;
    },
    whenReceived: (count, signal) => arrivals.when(count, signal),
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

const empty = Buffer.alloc(0);

function reply(
  response: ServerResponse,
  { status = 200, headers, body = "", delayMs }: FaultReply,
  otherwiseMs: number,
) {
  const waitMs = delayMs ?? otherwiseMs;
  if (waitMs > 0) {
    setTimeout(() => reply(response, { status, headers: headers ?? {}, body, delayMs: 0 }, 0), waitMs);
    return;
  }
  response.writeHead(status, { "content-length": Buffer.byteLength(body), ...headers });
  response.end(body);
}

function isSigned(incoming: IncomingMessage, body: Buffer, verify: ReturnType<typeof verifier>): boolean {
  const id = incoming.headers["webhook-id"];
  const timestamp = incoming.headers["webhook-timestamp"];
  const signature = incoming.headers["webhook-signature"];
  return (
    typeof id === "string" &&
    typeof timestamp === "string" &&
    typeof signature === "string" &&
    verify(id, timestamp, body, signature)
  );
}
