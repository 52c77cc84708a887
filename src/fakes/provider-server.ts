import type { IncomingHttpHeaders } from "node:http";
import { unreachable } from "../errors.ts";
import { Arrivals } from "./arrivals.ts";
import { type Authority, createAuthority } from "./certificate.ts";
import { type Exchange, type ProviderConnection, type Reply, refusedStream } from "./provider-exchange.ts";
import type { AnswerFault, GoawayFault, ProviderFault } from "./provider-fault.ts";
import { type Door, ProviderSockets } from "./provider-sockets.ts";
import { type ProviderChannel, ReceiverLog } from "./receiver-log.ts";

/** A message that the provider's rules let pass. */
export interface ProviderMessage {
  readonly channel: ProviderChannel;
  /** what a repeat replaces: FCM's notification tag, APNs's collapse id, Web Push's topic; "" without one */
  readonly id: string;
  /** whom it is for: the device token; for Web Push the end of the endpoint's path, which is the user */
  readonly address: string;
  /** what the device gets, parsed; for Web Push decrypted first */
  readonly payload: unknown;
  readonly headers: IncomingHttpHeaders;
  readonly receivedAtMs: number;
}

/** A provider's rules: what it makes of a request, before any fault. */
export interface Protocol<Answer extends string> {
  readonly channel: ProviderChannel;
  readonly allowHttp1: boolean;
  readonly maxConcurrentStreams: number;
  /** @returns a refusal, another page's reply, or a message with the reply that says it was taken */
  receive(exchange: Exchange): Ruling | Promise<Ruling>;
  /** the documented answer of this name */
  answer(name: Answer, message: ProviderMessage): Reply;
}

export type Ruling =
  | { readonly kind: "reply"; readonly reply: Reply }
  | { readonly kind: "message"; readonly message: ProviderMessage; readonly reply: Reply };

export interface ProviderServerOptions<Answer extends string> {
  /** default 0: any free one */
  readonly port?: number;
  /** default 127.0.0.1 */
  readonly host?: string;
  /** signs the certificate; default: a fresh one */
  readonly authority?: Authority;
  /** SETTINGS_MAX_CONCURRENT_STREAMS; default: the provider's own */
  readonly maxConcurrentStreams?: number;
  /** how long each answer takes, default 0 */
  readonly delayMs?: number;
  /** append-only, one line a message: a path, or a log that several providers share and their starter closes */
  readonly log?: ReceiverLog | string;
  /** called for each message that is recorded, before it is answered; `accepted`: the device will show it */
  readonly onMessage?: (message: ProviderMessage, accepted: boolean) => void;
  readonly faults?: (message: ProviderMessage) => ProviderFault<Answer>;
}

/** What all fakes of providers have in common. */
export interface ProviderServer<Answer extends string> extends AsyncDisposable {
  readonly url: string;
  readonly port: number;
  /** PEM: what its clients must trust */
  readonly ca: string;
  /** messages recorded so far */
  readonly received: number;
  /** connections taken since the start */
  readonly connections: number;
  /** HTTP/2 connections that are open now */
  readonly sessions: readonly ProviderConnection[];
  /** the most requests that were unanswered at one time */
  readonly underWayMost: number;
  /** how often it answered what: `200`, `404 UNREGISTERED`, `reset`, `withheld`, `goaway`, `reset_stream` */
  readonly answers: ReadonlyMap<string, number>;
  /** Resolves as soon as so many messages are recorded; rejects with the signal's reason. */
  whenReceived(count: number, signal?: AbortSignal): Promise<void>;
  /** replaces the faults from the next message on */
  setFaults(faults: (message: ProviderMessage) => ProviderFault<Answer>): void;
  setMaxConcurrentStreams(streams: number): void;
  setDoor(door: Door): Promise<void>;
  /** GOAWAY on all open connections, or on one */
  goAway(frame?: { readonly code?: number; readonly lastStream?: number; readonly debugData?: string }): void;
  /** Ends open connections, writes the log out; a second call is fine. */
  stop(): Promise<void>;
}

/** Serves a provider's protocol over HTTP/2 and TLS, with whatever faults are asked for. */
export async function startProviderServer<Answer extends string>(
  protocol: Protocol<Answer>,
  options: ProviderServerOptions<Answer>,
): Promise<ProviderServer<Answer>> {
  const { authority = createAuthority(), host = "127.0.0.1", port = 0, delayMs = 0, onMessage } = options;
  const ownLog = typeof options.log === "string" ? new ReceiverLog(options.log) : null;
  const log = typeof options.log === "string" ? ownLog : (options.log ?? null);
  const arrivals = new Arrivals();
  const answers = new Map<string, number>();
  const delayed = new Set<NodeJS.Timeout>();
  let faults = options.faults ?? (() => "accept" as const);
  let underWay = 0;
  let underWayMost = 0;

  function count(answer: string): void {
    answers.set(answer, (answers.get(answer) ?? 0) + 1);
  }

  function record(message: ProviderMessage, replied: number | false, accepted: boolean): void {
    const { channel, id, address, headers, receivedAtMs } = message;
    log?.append({
      id,
      user: address,
      bucket: "",
      group: 0,
      node: String(headers["carillon-node"] ?? ""),
      attempt: 0,
      webhookId: "",
      receivedAtMs,
      dueAtMs: 0,
      replied,
      channel,
      accepted,
    });
    onMessage?.(message, accepted);
    arrivals.add(1);
  }

  function answer(exchange: Exchange, reply: Reply, waitMs: number): void {
    if (waitMs > 0) {
      const timer = setTimeout(() => {
        delayed.delete(timer);
        answer(exchange, reply, 0);
      }, waitMs);
      delayed.add(timer);
      return;
    }
    underWay -= 1;
    count(reply.name === undefined ? String(reply.status) : `${reply.status} ${reply.name}`);
    exchange.reply(reply);
  }

  function leave(what: string): void {
    underWay -= 1;
    count(what);
  }

  function give(exchange: Exchange, message: ProviderMessage, reply: Reply, given: GivenReply): void {
    const accepted = given.accepts ?? (reply.status >= 200 && reply.status < 300);
    record(message, reply.status, accepted);
    answer(exchange, reply, given.delayMs ?? delayMs);
  }

  function goAway(exchange: Exchange, message: ProviderMessage, reply: Reply, { goaway }: GoawayFault): void {
    const { code = 0, lastStream = "this", debugData } = goaway;
    const { stream, connection } = exchange;
    const last = lastStream === "this" ? stream : lastStream === "before" ? stream - 2 : lastStream;
    const frame = debugData === undefined ? { code } : { code, debugData };
    if (last >= stream) {
      record(message, reply.status, true);
      connection.goAway({ ...frame, lastStream: Math.max(last, connection.lastStream) });
      answer(exchange, reply, delayMs);
      return;
    }
    record(message, false, false);
    leave("goaway");
    // One that came in later is being served, so GOAWAY can't leave this one out; and Node can't name stream 0 as the
    // last one. Then this one is refused by its number instead.
    const isLast = connection.lastStream <= stream;
    if (last <= 0 || !isLast) exchange.resetStream(refusedStream);
    connection.goAway({ ...frame, lastStream: isLast ? Math.max(last, 1) : connection.lastStream });
  }

  function cut(exchange: Exchange): void {
    leave("reset");
    exchange.connection.reset();
  }

  function meet(fault: ProviderFault<Answer>, exchange: Exchange, message: ProviderMessage, reply: Reply): void {
    if (fault === "accept") give(exchange, message, reply, {});
    else if (fault === "reset") cut(exchange);
    else if (fault === "reset_after_accept") {
      record(message, false, true);
      cut(exchange);
    } else if (fault === "withhold") {
      record(message, false, true);
      leave("withheld");
    } else if ("answer" in fault) give(exchange, message, named(protocol, fault, message), fault);
    else if ("status" in fault) give(exchange, message, fault, fault);
    else if ("goaway" in fault) goAway(exchange, message, reply, fault);
    else if ("resetStream" in fault) {
      record(message, false, fault.accepts ?? false);
      leave("reset_stream");
      exchange.resetStream(fault.resetStream);
    } else if ("delayMs" in fault) give(exchange, message, reply, fault);
    else unreachable(fault);
  }

  function follow(exchange: Exchange, ruling: Ruling): void {
    if (ruling.kind === "reply") answer(exchange, ruling.reply, 0);
    else meet(faults(ruling.message), exchange, ruling.message, ruling.reply);
  }

  function onRequest(exchange: Exchange): void {
    underWay += 1;
    underWayMost = Math.max(underWayMost, underWay);
    const ruling = protocol.receive(exchange);
    if (ruling instanceof Promise) void ruling.then((late) => follow(exchange, late));
    else follow(exchange, ruling);
  }

  const sockets = await ProviderSockets.listen({
    ...authority.issue([host === "127.0.0.1" ? "localhost" : host, host]),
    host,
    port,
    allowHttp1: protocol.allowHttp1,
    maxConcurrentStreams: options.maxConcurrentStreams ?? protocol.maxConcurrentStreams,
    onRequest,
  });

  let stopping: Promise<void> | null = null;
  async function shutDown(): Promise<void> {
    for (const timer of delayed) clearTimeout(timer);
    await sockets.close();
    await ownLog?.close();
  }
  const stop = () => {
    stopping ??= shutDown();
    return stopping;
  };

  return {
    url: `https://${host}:${sockets.port}`,
    port: sockets.port,
    ca: authority.ca,
    get received() {
      return arrivals.count;
    },
    get connections() {
      return sockets.connections;
    },
    get sessions() {
      return sockets.sessions;
    },
    get underWayMost() {
      return underWayMost;
    },
    answers,
    whenReceived: (wanted, signal) => arrivals.when(wanted, signal),
    setFaults: (next) => {
      faults = next;
    },
    setMaxConcurrentStreams: (streams) => sockets.setMaxConcurrentStreams(streams),
    setDoor: (door) => sockets.setDoor(door),
    goAway: (frame = {}) => {
      for (const session of sockets.sessions) session.goAway(frame);
    },
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

/** The path's last part, decoded; as it stands where it can't be. */
export function addressOf(encoded: string): string {
  try {
    return decodeURIComponent(encoded);
  } catch {
    return encoded;
  }
}

/** Adds a provider's own members to its server; getters stay getters, which a spread would read once. */
export function withMembers<Server extends object, Members extends object>(server: Server, members: Members) {
  return Object.defineProperties(server, Object.getOwnPropertyDescriptors(members)) as Server & Members;
}

interface GivenReply {
  readonly delayMs?: number;
  readonly accepts?: boolean;
}

function named<Answer extends string>(
  protocol: Protocol<Answer>,
  { answer, retryAfter }: AnswerFault<Answer>,
  message: ProviderMessage,
): Reply {
  const reply = protocol.answer(answer, message);
  return retryAfter === undefined ? reply : { ...reply, headers: { ...reply.headers, "retry-after": retryAfter } };
}
