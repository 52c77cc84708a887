import type { Monotonic } from "../clock.ts";
import { asError } from "../errors.ts";
import { probeRequest } from "./apns-probe.ts";
import { AuthorisedSending } from "./authorised-sending.ts";
import type { Channel, FcmDestination, OnReply, Outcome, SendRequest } from "./channel.ts";
import { checkUrl, type EgressPolicy, guardedConnector, type Resolve } from "./egress-guard.ts";
import { fcmBodies } from "./fcm-body.ts";
import { findingOf } from "./fcm-probe.ts";
import { type FcmRoute, fcmProvider } from "./fcm-provider.ts";
import { fcmOutcome } from "./fcm-reply.ts";
import { AccessTokens } from "./fcm-token.ts";
import { Http2Lane } from "./http2-lane.ts";
import { settleAll } from "./settle-all.ts";

export interface FcmChannelOptions {
  readonly policy: EgressPolicy;
  /** connections at one time to one destination; each carries some 100 requests at once. Default 8 */
  readonly sessionsMax?: number;
  /** look-up, TCP and TLS together; default 3,000 */
  readonly connectTimeoutMs?: number;
  /** PEM: authorities that are trusted beside Node's own */
  readonly ca?: string | undefined;
  readonly onReply?: OnReply | undefined;
  /** epoch milliseconds, for assertions and times to live; default the wall clock */
  readonly nowMs?: () => number;
  readonly monotonic?: Monotonic;
  /** default DNS */
  readonly resolve?: Resolve;
  /** aborting closes the channel */
  readonly signal?: AbortSignal;
}

/** One Firebase project's connections and tokens, kept while all that they are bound to stays the same. */
interface Project extends FcmRoute {
  readonly boundTo: string;
  readonly lane: Http2Lane;
  readonly tokens: AccessTokens;
}

/**
 * Firebase Cloud Messaging by its HTTP v1 API: one HTTP/2 request a device, over several sessions, since each carries
 * only some 100 at a time. Retries, back-off and circuits are the caller's: what can't be sent is settled, with its
 * reason, and not tried again; but for an access token that was refused, which is renewed and the request made once more.
 */
export function createFcmChannel(options: FcmChannelOptions): Channel {
  const { policy, sessionsMax = 8, connectTimeoutMs = 3_000, ca, onReply, nowMs = Date.now, monotonic } = options;
  const trust = ca === undefined ? {} : { ca };
  const connector = guardedConnector(policy, connectTimeoutMs, options.resolve, { http2: true, ...trust });
  const tokenConnector = guardedConnector(policy, connectTimeoutMs, options.resolve, trust);
  const projects = new Map<number, Project>();
  const retired = new Set<Promise<unknown>>();
  let closed = false;

  function projectOf(destination: FcmDestination): Project {
    const { destinationId, url, projectId, clientEmail, privateKey, tokenUrl } = destination;
    const boundTo = JSON.stringify([url, projectId, clientEmail, privateKey, tokenUrl]);
    const known = projects.get(destinationId);
    if (known?.boundTo === boundTo) return known;
    const path = `v1/projects/${encodeURIComponent(projectId)}/messages:send`;
    const base = checkUrl(url, policy);
    const tokens = new AccessTokens(destination, policy, tokenConnector, nowMs, monotonic);
    const lane = new Http2Lane(new URL(path, base.href.replace(/\/*$/, "/")), { sessionsMax }, connector);
    const project = { boundTo, lane, tokens, onReply };
    projects.set(destinationId, project);
    if (known !== undefined) retire(known);
    return project;
  }

  function retire({ lane, tokens }: Project): void {
    const closing = Promise.all([lane.close(), tokens.close()]).finally(() => retired.delete(closing));
    retired.add(closing);
  }

  async function send(request: SendRequest, validateOnly = false): Promise<void> {
    const { destination } = request;
    if (destination?.channel !== "fcm") {
      return settleAll(request, { kind: "rejected", reason: "the endpoint has no destination" });
    }
    if (closed) return settleAll(request, { kind: "retry", reason: "not sent: closed" });
    let project: Project;
    try {
      project = projectOf(destination);
    } catch (error) {
      return settleAll(request, fcmOutcome({ kind: "unsent", error: asError(error) }, nowMs()));
    }
    const bodies = fcmBodies(request.moment, nowMs(), validateOnly);
    await new AuthorisedSending(request, fcmProvider(project, bodies, nowMs)).run();
  }

  async function close(): Promise<void> {
    closed = true;
    options.signal?.removeEventListener("abort", closeOnAbort);
    const closing = [...projects.values()].flatMap(({ lane, tokens }) => [lane.close(), tokens.close()]);
    await Promise.all([...closing, ...retired]);
  }
  const closeOnAbort = () => void close();
  options.signal?.addEventListener("abort", closeOnAbort, { once: true });
  if (options.signal?.aborted === true) closed = true;

  return {
    name: "fcm",
    batchSize: () => 1,

    async warm(destination, signal) {
      if (destination?.channel !== "fcm" || closed || signal.aborted) return;
      try {
        const { lane, tokens } = projectOf(destination);
        await Promise.all([lane.warm(sessionsMax, signal), tokens.current()]);
      } catch {
        // A hostile URL or a key that is none is told by the outcomes of what is sent there.
      }
    },

    send: (request) => send(request),

    async probe(destination, signal) {
      const outcomes: Outcome[] = [];
      await send(
        probeRequest(destination, signal, nowMs(), (outcome) => outcomes.push(outcome)),
        true,
      );
      return findingOf(outcomes[0] ?? { kind: "retry", reason: "nothing was sent" });
    },

    close,
  };
}
