import { CarillonError } from "../errors.ts";

/*
 * Addresses of devices: the token that FCM or APNs gave an app, or what a browser's `PushManager.subscribe` gave a page.
 */

/** Channels whose addresses are devices: each belongs to one user at a time, and is shown shortened. */
export const deviceChannels = ["fcm", "apns", "web-push"] as const;

/**
 * What is registered for an address that was given.
 *
 * @param address as it came in
 * @returns the address as it is stored: the same device always gives the same text
 * @throws bad_address without pointer, and what an address's own rules throw
 */
export type AddressRule = (channel: string, address: string) => string;

export const addressLengthMax = 2_048;

export function isDeviceChannel(channel: string): boolean {
  return (deviceChannels as readonly string[]).includes(channel);
}

/**
 * The form that a channel's addresses have. FCM: printable characters, since tokens are opaque (firebase.google.com,
 * "Manage FCM registration tokens"). APNs: hexadecimal in lower case; Apple says 32 bytes today and not to rely on it.
 * Web Push: the subscription as JSON with the members that sending needs, in one order and without white space.
 */
export const canonicalAddress: AddressRule = (channel, address) => {
  switch (channel) {
    case "fcm":
      if (!/^[\x21-\x7e]{1,2048}$/.test(address)) throw badAddress("An FCM token has no white space");
      return address;
    case "apns":
      if (!/^(?:[0-9a-fA-F]{2}){32,100}$/.test(address)) {
        throw badAddress("An APNs device token is 64 to 200 hexadecimal digits");
      }
      return address.toLowerCase();
    case "web-push":
      return canonicalSubscription(address);
    default:
      return address;
  }
};

/**
 * How an address is shown to whoever may register but not read: enough to tell two apart, too little to send to. What a
 * webhook's receiver knows a user by is shown whole.
 */
export function shownAddress(channel: string, address: string): string {
  if (!isDeviceChannel(channel)) return address;
  if (channel !== "web-push") return shortened(address, address.slice(0, 6));
  const { endpoint } = subscriptionIn(address) ?? {};
  // the service is worth knowing, and says nothing of the device
  return typeof endpoint === "string" && URL.canParse(endpoint)
    ? shortened(endpoint, `${new URL(endpoint).origin}/`)
    : "…";
}

function shortened(text: string, head: string): string {
  return `${head}…${text.length > head.length + 8 ? text.slice(-4) : ""}`;
}

function canonicalSubscription(text: string): string {
  const { endpoint, keys } = subscriptionIn(text) ?? {};
  const { p256dh, auth } = isObject(keys) ? keys : {};
  if (typeof endpoint !== "string" || !isBase64url(p256dh, 65) || !isBase64url(auth, 16)) {
    throw badAddress(
      'A Web Push address is a subscription\'s JSON: {"endpoint":"https://...","keys":{"p256dh","auth"}}',
    );
  }
  const canonical = JSON.stringify({ endpoint, keys: { p256dh, auth } });
  if (canonical.length > addressLengthMax) {
    throw badAddress(`A Web Push subscription has ${addressLengthMax} characters at most`);
  }
  return canonical;
}

function subscriptionIn(text: string): Record<string, unknown> | null {
  try {
    const parsed: unknown = JSON.parse(text);
    return isObject(parsed) ? parsed : null;
  } catch {
    return null;
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}

function isBase64url(value: unknown, bytes: number): value is string {
  return (
    typeof value === "string" && /^[A-Za-z0-9_-]+$/.test(value) && Buffer.from(value, "base64url").length === bytes
  );
}

function badAddress(detail: string): CarillonError {
  return new CarillonError("bad_address", detail);
}
