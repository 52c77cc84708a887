import type { Monotonic } from "../clock.ts";
import { asError } from "../errors.ts";
import { Evidence } from "./apns-evidence.ts";
import { findingOf, probeRequest } from "./apns-probe.ts";
import { type ApnsRoute, apnsProvider } from "./apns-provider.ts";
import { apnsOutcome } from "./apns-reply.ts";
import { ProviderTokens } from "./apns-token.ts";
import { AuthorisedSending } from "./authorised-sending.ts";
import type { ApnsDestination, Channel, OnReply, Outcome, SendRequest } from "./channel.ts";
import { checkUrl, type EgressPolicy, guardedConnector, type Resolve } from "./egress-guard.ts";
import { Http2Lane } from "./http2-lane.ts";
import { settleAll } from "./settle-all.ts";

export interface ApnsChannelOptions {
  readonly policy: EgressPolicy;
  /** connections at one time to one destination; each carries as many requests at once as Apple lets it. Default 4 */
  readonly sessionsMax?: number;
  /** look-up, TCP and TLS together; default 3,000 */
  readonly connectTimeoutMs?: number;
  /** PEM: authorities that are trusted beside Node's own */
  readonly ca?: string | undefined;
  readonly onReply?: OnReply | undefined;
  /** epoch milliseconds, for tokens; default the wall clock */
  readonly nowMs?: () => number;
  readonly monotonic?: Monotonic;
  /** default DNS */
  readonly resolve?: Resolve;
  /** aborting closes the channel */
  readonly signal?: AbortSignal;
}

/** One app's connections, kept while all that they are bound to stays the same. */
interface App extends ApnsRoute {
  readonly boundTo: string;
  readonly lane: Http2Lane;
}

/** Each differs with each request: in HPACK's table they would only push out what all have in common. */
const neverIndexed = ["apns-id", "apns-collapse-id"];

/**
 * Apple's push service ("Sending notification requests to APNs"): one HTTP/2 request a device, each destination over
 * connections of its own, since Apple binds one to the team and key that it saw first. Retries, back-off and circuits
 * are the caller's: what can't be sent is settled, with its reason, and not tried again; but for a token that was too
 * old, which is replaced and the request made once more.
 */
export function createApnsChannel(options: ApnsChannelOptions): Channel {
  const { policy, sessionsMax = 4, connectTimeoutMs = 3_000, ca, onReply, nowMs = Date.now, monotonic } = options;
  const connector = guardedConnector(policy, connectTimeoutMs, options.resolve, {
    http2: true,
    ...(ca === undefined ? {} : { ca }),
  });
  const apps = new Map<number, App>();
  const tokens = new Map<string, ProviderTokens>();
  const retired = new Set<Promise<void>>();
  let closed = false;

  function appOf(destination: ApnsDestination): App {
    const { destinationId, url, bundleId } = destination;
    const boundTo = `${url} ${credentialOf(destination)}`;
    const known = apps.get(destinationId);
    if (known?.boundTo === boundTo && known.bundleId === bundleId) return known;
    const stays = known !== undefined && known.boundTo === boundTo;
    const lane = stays ? known.lane : newLane(url);
    if (known !== undefined && !stays) retire(known.lane);
    const app = { boundTo, lane, tokens: tokensOf(destination), bundleId, evidence: new Evidence(), onReply };
    apps.set(destinationId, app);
    return app;
  }

  function newLane(url: string): Http2Lane {
    // Apple asks to wait with more than one request until the first has shown that the token is good.
    return new Http2Lane(checkUrl(url, policy), { sessionsMax, streamsBeforeFirstReply: 1, neverIndexed }, connector);
  }

  /** Apps of one team share its key and token: Apple counts a team's tokens, whatever they are for. */
  function tokensOf(destination: ApnsDestination): ProviderTokens {
    const credential = credentialOf(destination);
    const known = tokens.get(credential);
    if (known !== undefined) return known;
    const { teamId, keyId, privateKey } = destination;
    const made = new ProviderTokens({ teamId, keyId, privateKey }, nowMs, monotonic);
    tokens.set(credential, made);
    return made;
  }

  function retire(lane: Http2Lane): void {
    const closing = lane.close().finally(() => retired.delete(closing));
    retired.add(closing);
  }

  async function send(request: SendRequest, evidence?: Evidence): Promise<void> {
    const { destination } = request;
    if (destination?.channel !== "apns") {
      return settleAll(request, { kind: "rejected", reason: "the endpoint has no destination" });
    }
    if (closed) return settleAll(request, { kind: "retry", reason: "not sent: closed" });
    let app: App;
    try {
      app = appOf(destination);
    } catch (error) {
      return settleAll(request, apnsOutcome({ kind: "unsent", error: asError(error) }, nowMs()));
    }
    const route = evidence === undefined ? app : { ...app, evidence };
    await new AuthorisedSending(request, apnsProvider(route, request.moment, nowMs)).run();
  }

  async function close(): Promise<void> {
    closed = true;
    options.signal?.removeEventListener("abort", closeOnAbort);
    await Promise.all([...[...apps.values()].map(({ lane }) => lane.close()), ...retired]);
  }
  const closeOnAbort = () => void close();
  options.signal?.addEventListener("abort", closeOnAbort, { once: true });
  if (options.signal?.aborted === true) closed = true;

  return {
    name: "apns",
    batchSize: () => 1,

    async warm(destination, signal) {
      if (destination?.channel !== "apns" || closed) return;
      try {
        const app = appOf(destination);
        await Promise.all([app.lane.warm(sessionsMax, signal), app.tokens.current()]);
      } catch {
        // A hostile URL or a key that is none is told by the outcomes of what is sent there.
      }
    },

    send: (request) => send(request),

    async probe(destination, signal) {
      const outcomes: Outcome[] = [];
      const request = probeRequest(destination, signal, nowMs(), (outcome) => outcomes.push(outcome));
      // its token is none, and Apple is to say so
      await send(request, new Evidence(true));
      return findingOf(outcomes[0] ?? { kind: "retry", reason: "nothing was sent" });
    },

    close,
  };
}

function credentialOf({ teamId, keyId, privateKey }: ApnsDestination): string {
  return `${teamId} ${keyId} ${privateKey}`;
}
