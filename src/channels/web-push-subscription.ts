import { ECDH } from "node:crypto";
import { CarillonError, type ErrorCode } from "../errors.ts";
import { checkUrl, type EgressPolicy, isInsideHost } from "./egress-guard.ts";
import type { PushReceiver } from "./web-push-encryption.ts";

/** Where push messages may go. */
export interface PushPolicy extends EgressPolicy {
  /** push services beside the known ones: host names in lower case, or `*.` and a name for all below it */
  readonly pushHosts?: readonly string[];
}

/** A browser's push subscription (W3C Push API, `PushSubscription.toJSON()`), checked. */
export interface PushSubscription extends PushReceiver {
  /** a capability: who knows it can send, so it is never logged or shown whole */
  readonly endpoint: URL;
  /** how it is stored: members in one order, no white space, keys in base64url; equal subscriptions read the same */
  readonly canonical: string;
}

/** The push services of Chrome (and most of its kin), Firefox, Safari and Edge. */
export const knownPushHosts: readonly string[] = [
  "fcm.googleapis.com",
  "*.push.services.mozilla.com",
  "*.push.apple.com",
  "*.notify.windows.com",
];

const textLengthMax = 4_096;
const canonicalLengthMax = 2_048;
const members: ReadonlySet<string> = new Set(["endpoint", "expirationTime", "keys"]);
const keyMembers: ReadonlySet<string> = new Set(["p256dh", "auth"]);

/**
 * Checks a browser's push subscription that came from outside, before it is stored and again before it is used. Its URL
 * must be that of a push service that is known or that the operator named; what its name resolves to is checked at each
 * connect (`guardedConnector`).
 *
 * @param text the subscription as JSON, as `JSON.stringify(subscription)` gives it; `expirationTime` is dropped, keys
 *   may also be in plain or padded base64
 * @param pointer JSON pointer to the field that it came in, for the error
 * @throws bad_subscription where it is no subscription; hostile_url where its endpoint is none that we call
 */
export function checkPushSubscription(text: string, policy: PushPolicy, pointer?: string): PushSubscription {
  const refuse = refuser(pointer);
  if (text.length > textLengthMax) return refuse("bad_subscription", `It is longer than ${textLengthMax} characters`);
  const given = parsed(text);
  if (!isRecord(given)) return refuse("bad_subscription", "It is not a JSON object");
  if (!onlyHas(given, members)) return refuse("bad_subscription", "It has members that a subscription has not");
  const { endpoint: url, keys, expirationTime } = given;
  if (typeof url !== "string") return refuse("bad_subscription", "Its endpoint is missing");
  if (expirationTime !== undefined && expirationTime !== null && typeof expirationTime !== "number")
    return refuse("bad_subscription", "Its expirationTime is neither a number nor null");
  if (!isRecord(keys) || !onlyHas(keys, keyMembers))
    return refuse("bad_subscription", "Its keys must be p256dh and auth");

  const publicKey = bytesOf(keys.p256dh);
  const auth = bytesOf(keys.auth);
  if (publicKey === null || !isPointOfP256(publicKey))
    return refuse("bad_subscription", "keys.p256dh must be an uncompressed point of P-256: 65 bytes in base64url");
  if (auth?.length !== 16) return refuse("bad_subscription", "keys.auth must be 16 bytes in base64url");

  const endpoint = checkPushUrl(url, policy, pointer);
  const canonical = JSON.stringify({
    endpoint: endpoint.href,
    keys: { p256dh: publicKey.toString("base64url"), auth: auth.toString("base64url") },
  });
  if (canonical.length > canonicalLengthMax)
    return refuse("bad_subscription", `It is longer than ${canonicalLengthMax} characters`);
  return { endpoint, publicKey, auth, canonical };
}

/**
 * Checks the URL of a push subscription: what `checkUrl` demands, and a push service's host on https 443. Only hosts that
 * the policy opens for development (this machine, private networks) need not be on the list.
 *
 * @throws hostile_url
 */
export function checkPushUrl(url: string, policy: PushPolicy, pointer?: string): URL {
  const refuse = refuser(pointer);
  const endpoint = checkUrl(url, policy, pointer);
  if (!isAsWritten(url, endpoint)) return refuse("hostile_url", "The URL's host must be written plainly, in ASCII");
  if (url.includes("#")) return refuse("hostile_url", "The URL must not have a fragment");
  // checkUrl let an inside host through, so the policy opens it.
  if (isInsideHost(endpoint.hostname)) return endpoint;
  if (!isPushHost(endpoint.hostname, policy.pushHosts ?? []))
    return refuse("hostile_url", "The URL's host is not a push service that this server sends to");
  if (endpoint.protocol !== "https:" || endpoint.port !== "")
    return refuse("hostile_url", "The URL must be https on port 443");
  return endpoint;
}

function isPushHost(hostname: string, added: readonly string[]): boolean {
  const isIt = (host: string) => (host.startsWith("*.") ? hostname.endsWith(host.slice(1)) : hostname === host);
  return knownPushHosts.some(isIt) || added.some(isIt);
}

/** The parser maps look-alike letters and percent signs in a host to plain ones; browsers never write such. */
function isAsWritten(url: string, { protocol, host }: URL): boolean {
  const written = url.slice(protocol.length + 2).toLowerCase();
  return written.startsWith(host) && /^(?::443)?(?:[/?]|$)/.test(written.slice(host.length));
}

function isPointOfP256(bytes: Buffer): boolean {
  if (bytes.length !== 65 || bytes[0] !== 4) return false;
  try {
    ECDH.convertKey(bytes, "prime256v1");
    return true;
  } catch {
    return false;
  }
}

/** Strictly: Node's decoder passes over what is not base64. */
function bytesOf(text: unknown): Buffer | null {
  if (typeof text !== "string" || !/^(?:[A-Za-z0-9_-]+|[A-Za-z0-9+/]+)={0,2}$/.test(text)) return null;
  const bytes = Buffer.from(text, "base64url");
  const bare = text.replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
  return bytes.toString("base64url") === bare ? bytes : null;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function onlyHas(object: Record<string, unknown>, allowed: ReadonlySet<string>): boolean {
  return Object.keys(object).every((name) => allowed.has(name));
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function refuser(pointer: string | undefined): (code: ErrorCode, why: string) => never {
  return (code, why) => {
    throw new CarillonError(code, why, pointer === undefined ? {} : { pointer });
  };
}
