import { createPublicKey, generateKeyPairSync, randomBytes, randomUUID } from "node:crypto";
import type { IncomingHttpHeaders } from "node:http";
import { type ApnsAnswer, apnsAccepted, apnsAnswer } from "./apns-answers.ts";
import { type CheckedToken, TokenChecker } from "./jwt-check.ts";
import type { Exchange, ProviderConnection } from "./provider-exchange.ts";
import {
  addressOf,
  type ProviderMessage,
  type ProviderServer,
  type ProviderServerOptions,
  type Ruling,
  startProviderServer,
  withMembers,
} from "./provider-server.ts";

/** What Apple hands out for an app's provider. */
export interface ApnsKey {
  /** 10 characters, as the key id */
  readonly teamId: string;
  readonly keyId: string;
  /** the .p8: PKCS8 PEM, P-256 */
  readonly privateKey: string;
  readonly bundleId: string;
}

export interface ApnsOptions extends ProviderServerOptions<ApnsAnswer> {
  /** default: a fresh one */
  readonly key?: ApnsKey;
  /** how long a provider token is good for from its `iat` on, default an hour as Apple's */
  readonly tokenLifetimeMs?: number;
  /** a connection that changes its provider token sooner after the last change is answered 429, default 20 min */
  readonly tokenUpdateMinMs?: number;
  /** when dead tokens are said to have died, epoch milliseconds; default: at the request */
  readonly goneSinceMs?: number;
}

export interface Apns extends ProviderServer<ApnsAnswer> {
  readonly key: ApnsKey;
  /** provider tokens seen so far that hold */
  readonly providerTokens: number;
  /** from now on all provider tokens seen until now are answered 403 ExpiredProviderToken */
  expireTokens(): void;
}

/** What Apple's servers were seen to allow, once a connection has shown a good provider token. */
const streamsOnceAuthorised = 1_000;
const payloadBytesMax = 4_096;
const collapseIdBytesMax = 64;
const iatAheadMsMax = 60_000;
const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;
const pushTypes = new Set([
  "alert",
  "background",
  "location",
  "voip",
  "complication",
  "fileprovider",
  "mdm",
  "liveactivity",
  "pushtotalk",
  "widgets",
  "controls",
]);

export function createApnsKey(bundleId = "com.example.carillon"): ApnsKey {
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  return {
    teamId: tenCharacters(),
    keyId: tenCharacters(),
    privateKey: privateKey.export({ type: "pkcs8", format: "pem" }).toString(),
    bundleId,
  };
}

function tenCharacters(): string {
  return randomBytes(5).toString("hex").toUpperCase();
}

/** The provider token that a connection last showed. */
interface Shown {
  token: string;
  changedAtMs: number;
}

/**
 * APNs's provider API (`POST /3/device/{token}`), with provider tokens. A connection has one stream until its first
 * request is authorised. Any device token is good; which are not is a matter of faults.
 */
export async function startApns(options: ApnsOptions = {}): Promise<Apns> {
  const { key = createApnsKey(), tokenLifetimeMs = 3_600_000, tokenUpdateMinMs = 1_200_000 } = options;
  const streams = options.maxConcurrentStreams ?? streamsOnceAuthorised;
  const publicKey = createPublicKey(key.privateKey);
  const tokens = new TokenChecker("ES256");
  const shown = new WeakMap<ProviderConnection, Shown>();
  const good = new Set<string>();
  const expired = new Set<string>();

  /** @returns why the provider token is refused; null when it holds */
  function wrongToken(checked: CheckedToken | null, token: string, exchange: Exchange): ApnsAnswer | null {
    const { connection, receivedAtMs } = exchange;
    if (checked === null || checked.keyId !== key.keyId || checked.claims.iss !== key.teamId) {
      return "InvalidProviderToken";
    }
    const issuedAtMs = (checked.claims.iat ?? Number.NaN) * 1_000;
    if (Number.isNaN(issuedAtMs) || issuedAtMs > receivedAtMs + iatAheadMsMax) return "InvalidProviderToken";
    if (issuedAtMs < receivedAtMs - tokenLifetimeMs || expired.has(token)) return "ExpiredProviderToken";
    const last = shown.get(connection);
    if (last === undefined) {
      shown.set(connection, { token, changedAtMs: receivedAtMs });
      connection.setMaxConcurrentStreams(streams);
    } else if (last.token !== token) {
      if (receivedAtMs - last.changedAtMs < tokenUpdateMinMs) return "TooManyProviderTokenUpdates";
      last.token = token;
      last.changedAtMs = receivedAtMs;
    }
    good.add(token);
    return null;
  }

  function rule(checked: CheckedToken | null, token: string, exchange: Exchange): Ruling {
    const { path, headers, body, receivedAtMs } = exchange;
    const apnsId = headerOf(headers, "apns-id") ?? randomUUID().toUpperCase();
    const wrong = wrongToken(checked, token, exchange) ?? wrongHeaders(headers, key.bundleId);
    if (wrong !== null) return refusal(wrong, apnsId);
    if (body.length > payloadBytesMax) return refusal("PayloadTooLarge", apnsId);
    const payload = parseObject(body);
    if (payload === null) return refusal("PayloadEmpty", apnsId);
    const message: ProviderMessage = {
      channel: "apns",
      id: headerOf(headers, "apns-collapse-id") ?? "",
      address: addressOf(path.slice(devicePath.length)),
      payload,
      headers,
      receivedAtMs,
    };
    return { kind: "message", message, reply: apnsAccepted(apnsId) };
  }

  function receive(exchange: Exchange): Ruling | Promise<Ruling> {
    const { method, path, headers } = exchange;
    const apnsId = headerOf(headers, "apns-id") ?? randomUUID().toUpperCase();
    if (method !== "POST") return refusal("MethodNotAllowed", apnsId);
    if (!path.startsWith(devicePath)) return refusal("BadPath", apnsId);
    if (path.length === devicePath.length) return refusal("MissingDeviceToken", apnsId);
    const [, token] = /^bearer (.+)$/i.exec(headers.authorization ?? "") ?? [];
    if (token === undefined) return refusal("MissingProviderToken", apnsId);
    const checked = tokens.check(token, publicKey);
    if (!(checked instanceof Promise)) return rule(checked, token, exchange);
    return checked.then((late) => rule(late, token, exchange));
  }

  const server = await startProviderServer<ApnsAnswer>(
    {
      channel: "apns",
      allowHttp1: false,
      maxConcurrentStreams: 1,
      receive,
      answer: (reason, { headers, receivedAtMs }) =>
        apnsAnswer(reason, headerOf(headers, "apns-id") ?? randomUUID(), options.goneSinceMs ?? receivedAtMs),
    },
    // a connection begins with one stream, whatever it is allowed later
    { ...options, maxConcurrentStreams: Math.min(streams, 1) },
  );
  return withMembers(server, {
    key,
    get providerTokens() {
      return good.size;
    },
    expireTokens: () => {
      for (const token of good) expired.add(token);
    },
  });
}

const devicePath = "/3/device/";

function refusal(reason: ApnsAnswer, apnsId: string): Ruling {
  return { kind: "reply", reply: apnsAnswer(reason, apnsId, 0) };
}

/** Apple, "Sending notification requests to APNs": what each header may be. */
function wrongHeaders(headers: IncomingHttpHeaders, bundleId: string): ApnsAnswer | null {
  const id = headerOf(headers, "apns-id");
  if (id !== undefined && !uuid.test(id)) return "BadMessageId";
  const topic = headerOf(headers, "apns-topic");
  if (topic === undefined) return "MissingTopic";
  if (topic !== bundleId) return "TopicDisallowed";
  if (!pushTypes.has(headerOf(headers, "apns-push-type") ?? "")) return "InvalidPushType";
  const expiration = headerOf(headers, "apns-expiration");
  if (expiration !== undefined && !/^\d{1,10}$/.test(expiration)) return "BadExpirationDate";
  const priority = headerOf(headers, "apns-priority");
  if (priority !== undefined && !["1", "5", "10"].includes(priority)) return "BadPriority";
  const collapseId = headerOf(headers, "apns-collapse-id");
  return collapseId !== undefined && Buffer.byteLength(collapseId) > collapseIdBytesMax ? "BadCollapseId" : null;
}

function headerOf(headers: IncomingHttpHeaders, name: string): string | undefined {
  const value = headers[name];
  return Array.isArray(value) ? value[0] : value;
}

function parseObject(body: Buffer): object | null {
  try {
    const parsed: unknown = JSON.parse(body.toString("utf8"));
    return typeof parsed === "object" && parsed !== null && !Array.isArray(parsed) ? parsed : null;
  } catch {
    return null;
  }
}
