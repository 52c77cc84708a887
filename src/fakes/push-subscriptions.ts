import { createHmac, randomBytes } from "node:crypto";

/** A browser's subscription as its `toJSON()` gives it, with the members that a sender needs. */
export interface PushSubscriptionText {
  readonly endpoint: string;
  readonly keys: { readonly p256dh: string; readonly auth: string };
}

/**
 * What the subscriptions of any number of users come from, as data: another process can make the same ones.
 *
 * Users share one P-256 key pair, which no browser would do: 20,000 pairs would take seconds to make, and a sender
 * can't tell. What keeps users apart is the endpoint and the secret, which come from the user's id.
 */
export interface PushReceivers {
  /** the push service's own, without a path */
  readonly url: string;
  /** base64url, 65 bytes */
  readonly p256dh: string;
  /** base64url; auth secrets are made of it */
  readonly authSeed: string;
}

export function createAuthSeed(): string {
  return randomBytes(32).toString("base64url");
}

/** The subscription of one user. Its text, `JSON.stringify`, is an endpoint's address. */
export function pushSubscription({ url, p256dh, authSeed }: PushReceivers, user: string): PushSubscriptionText {
  const auth = authSecret(authSeed, user).toString("base64url");
  return { endpoint: `${url}${pushPath}${encodeURIComponent(user)}`, keys: { p256dh, auth } };
}

export const pushPath = "/push/";

/** 16 bytes */
export function authSecret(authSeed: string, user: string): Buffer {
  return createHmac("sha256", authSeed).update(user).digest().subarray(0, 16);
}
