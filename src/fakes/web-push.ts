import { createECDH, createPublicKey, type KeyObject } from "node:crypto";
import type { IncomingHttpHeaders } from "node:http";
import { type CheckedToken, TokenChecker } from "./jwt-check.ts";
import type { Exchange } from "./provider-exchange.ts";
import {
  addressOf,
  type ProviderServer,
  type ProviderServerOptions,
  type Ruling,
  startProviderServer,
  withMembers,
} from "./provider-server.ts";
import { PushDecryption } from "./push-decryption.ts";
import {
  authSecret,
  createAuthSeed,
  type PushReceivers,
  type PushSubscriptionText,
  pushPath,
  pushSubscription,
} from "./push-subscriptions.ts";
import { type WebPushAnswer, webPushAccepted, webPushAnswer } from "./web-push-answers.ts";

/** An application server's key pair (RFC 8292). */
export interface VapidKeys {
  /** base64url, 65 bytes: what browsers subscribe with */
  readonly publicKey: string;
  /** base64url, 32 bytes */
  readonly privateKey: string;
}

export interface WebPushOptions extends ProviderServerOptions<WebPushAnswer> {
  /** the pair that all subscriptions were made with; default: a fresh one */
  readonly vapid?: VapidKeys;
  /** each nth message is decrypted, default 1; a bench that measures the sender may look at fewer */
  readonly decryptEvery?: number;
}

export interface WebPush extends ProviderServer<WebPushAnswer> {
  readonly vapid: VapidKeys;
  /** what subscriptions are made of, for another process */
  readonly receivers: PushReceivers;
  /** messages that could not be decrypted: answered 400 here, though a real push service could not know */
  readonly undecryptable: number;
  subscribe(user: string): PushSubscriptionText;
}

const bodyBytesMax = 4_096;
const expirySecondsMax = 24 * 3_600;
const urgencies = new Set(["very-low", "low", "normal", "high"]);

export function createVapidKeys(): VapidKeys {
  const keys = createECDH("prime256v1");
  const publicKey = keys.generateKeys().toString("base64url");
  // getPrivateKey leaves leading zeros out
  const privateKey = Buffer.concat([Buffer.alloc(32), keys.getPrivateKey()])
    .subarray(-32)
    .toString("base64url");
  return { publicKey, privateKey };
}

/**
 * A push service (RFC 8030) that is also the browsers behind it: it makes their subscriptions and decrypts what comes
 * for them. Any user's subscription is good; which are not is a matter of faults.
 */
export async function startWebPush(options: WebPushOptions = {}): Promise<WebPush> {
  const { vapid = createVapidKeys(), decryptEvery = 1 } = options;
  const decryption = new PushDecryption();
  const authSeed = createAuthSeed();
  const tokens = new TokenChecker("ES256");
  const vapidKey = keyOf(vapid.publicKey);
  let origin = "";
  let messages = 0;
  let undecryptable = 0;

  function rule(token: CheckedToken | null, exchange: Exchange): Ruling {
    const { path, headers, body, receivedAtMs } = exchange;
    const wrongVapid =
      token === null ? "the signature does not hold" : wrongClaims(token, origin, receivedAtMs / 1_000);
    if (wrongVapid !== null) return refusal("BadVapid", wrongVapid);
    const wrong = wrongHeaders(headers);
    if (wrong !== null) return refusal("BadRequest", wrong);
    if (body.length > bodyBytesMax) return refusal("PayloadTooLarge", `more than ${bodyBytesMax} bytes`);

    const user = addressOf(path.slice(pushPath.length));
    messages += 1;
    let payload: unknown = null;
    if (body.length > 0 && messages % decryptEvery === 0) {
      const text = decryption.decrypt(body, authSecret(authSeed, user))?.toString("utf8");
      if (text === undefined) {
        undecryptable += 1;
        return refusal("BadRequest", "not encrypted for this subscription");
      }
      payload = parsed(text);
    }
    return {
      kind: "message",
      message: { channel: "web-push", id: String(headers.topic ?? ""), address: user, payload, headers, receivedAtMs },
      reply: webPushAccepted(`${origin}/message/${messages}`, String(headers.ttl)),
    };
  }

  function receive(exchange: Exchange): Ruling | Promise<Ruling> {
    const { method, path, headers } = exchange;
    if (!path.startsWith(pushPath) || path.length === pushPath.length) return refusal("NotFound", "no subscription");
    if (method !== "POST") return refusal("MethodNotAllowed", "");
    const credentials = readVapid(headers.authorization ?? "");
    if (credentials === null) return refusal("MissingVapid", "vapid t=..., k=... is needed");
    // RFC 8292, section 4: a subscription takes messages of that key alone with which it was made
    if (credentials.key !== vapid.publicKey) return refusal("BadVapid", "VAPID public key mismatch");
    const token = tokens.check(credentials.token, vapidKey);
    return token instanceof Promise ? token.then((late) => rule(late, exchange)) : rule(token, exchange);
  }

  const protocol = {
    channel: "web-push",
    allowHttp1: true,
    maxConcurrentStreams: 100,
    receive,
    answer: (name: WebPushAnswer) => webPushAnswer(name),
  } as const;
  const server = await startProviderServer<WebPushAnswer>(protocol, options);
  origin = server.url;
  const receivers: PushReceivers = { url: origin, p256dh: decryption.publicKey.toString("base64url"), authSeed };
  return withMembers(server, {
    vapid,
    receivers,
    get undecryptable() {
      return undecryptable;
    },
    subscribe: (user: string) => pushSubscription(receivers, user),
  });
}

function refusal(name: WebPushAnswer, message: string): Ruling {
  return { kind: "reply", reply: webPushAnswer(name, message) };
}

/** RFC 8292, section 3: `vapid t=<token>, k=<key>`, in either order. */
function readVapid(authorization: string): { readonly token: string; readonly key: string } | null {
  const [, parameters] = /^vapid\s+(.+)$/i.exec(authorization) ?? [];
  const named = new Map(parameters?.split(",").map((parameter) => pair(parameter.trim())));
  const token = named.get("t");
  const key = named.get("k");
  return token === undefined || key === undefined ? null : { token, key };
}

function pair(parameter: string): [string, string] {
  const at = parameter.indexOf("=");
  return [parameter.slice(0, at), parameter.slice(at + 1)];
}

/** @returns what is wrong with them (RFC 8292, section 2) */
function wrongClaims({ claims }: CheckedToken, origin: string, nowSeconds: number): string | null {
  const { aud, exp, sub } = claims;
  if (aud !== origin) return "aud is not the origin of the push service";
  if (exp === undefined || exp <= nowSeconds) return "exp is in the past";
  if (exp > nowSeconds + expirySecondsMax) return "exp is more than 24 hours ahead";
  return sub === undefined || /^(mailto:|https:)/.test(sub) ? null : "sub is neither mailto: nor https:";
}

function wrongHeaders(headers: IncomingHttpHeaders): string | null {
  const { ttl, topic, urgency } = headers;
  if (!/^\d+$/.test(String(ttl ?? ""))) return "TTL is missing or no number";
  if (headers["content-encoding"] !== "aes128gcm") return "content-encoding is not aes128gcm";
  if (topic !== undefined && !/^[A-Za-z0-9_-]{1,32}$/.test(String(topic))) return "Topic is not 1-32 of base64url";
  return urgency === undefined || urgencies.has(String(urgency)) ? null : "Urgency is not one of RFC 8030's";
}

function keyOf(publicKey: string): KeyObject {
  const bytes = Buffer.from(publicKey, "base64url");
  const [x, y] = [bytes.subarray(1, 33), bytes.subarray(33)].map((part) => part.toString("base64url"));
  return createPublicKey({ format: "jwk", key: { kty: "EC", crv: "P-256", x: x ?? "", y: y ?? "" } });
}

/** Most senders send JSON; what is none stays the text that it is. */
function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
