/**
 * A channel brings reminders to the outside push world. Everything that can become of one send is one of the closed
 * union `Outcome`; a channel never throws for what a receiver or the network does.
 */

import type { Message } from "../reminder/message.ts";
import type { Reply } from "./lane.ts";

export type { Message };

/** What is to be sent to one endpoint: one delivery. */
export interface Delivery {
  /** stable over attempts and rounds: derived from schedule, occurrence, subscription and endpoint */
  readonly deliveryId: string;
  /** 0 for the first try, rises with each further one */
  readonly attempt: number;
  /**
   * the endpoint's address: for a webhook, what its receiver knows the user by; the device token (fcm, apns); for Web
   * Push the browser's subscription as canonical JSON
   */
  readonly address: string;
  /** the destination that the endpoint refers to; null on channels without one */
  readonly destinationId: number | null;
  readonly zone: string | null;
  readonly locale: string | null;
  /** rendered; deliveries that read the same share one object, so a channel may cache by identity */
  readonly message: Message;
}

/** What all deliveries of one chunk have in common; serialised once a chunk where the protocol allows. */
export interface Moment {
  readonly topic: string;
  readonly scheduleId: string;
  readonly occurrence: string;
  /** RFC 3339 UTC with milliseconds */
  readonly dueAt: string;
  /** RFC 3339 UTC: after it nothing is sent */
  readonly expiresAt: string;
  readonly bucketId: string;
  readonly groupNumber: number;
  /** the sending node, for the receiver's log */
  readonly node: string;
  /** high: shown at once, on a phone that sleeps, too; normal: whenever that costs the phone little */
  readonly priority: "high" | "normal";
}

/** Where the reminders of a channel go through, set up by an admin; with its secrets in the clear (in memory only). */
export type Destination = WebhookDestination | FcmDestination | ApnsDestination | WebPushDestination;

interface DestinationBase {
  readonly destinationId: number;
  readonly name: string;
  /** the receiver's, or the base URL of the provider's API; empty for Web Push, where each endpoint has its own */
  readonly url: string;
}

/** A receiver of webhooks. */
export interface WebhookDestination extends DestinationBase {
  readonly channel: "webhook";
  /** `whsec_...`, newest first: each signs, for rotation */
  readonly secrets: readonly string[];
  /** 1: one request a reminder; more: up to so many reminders in one signed body */
  readonly batchSize: number;
}

/** A Firebase project, with a service account that may send. */
export interface FcmDestination extends DestinationBase {
  readonly channel: "fcm";
  readonly projectId: string;
  readonly clientEmail: string;
  /** RSA, PKCS #8 in PEM */
  readonly privateKey: string;
  /** where the service account's assertions become access tokens */
  readonly tokenUrl: string;
}

/** An app at Apple's push service, with the key of its team. */
export interface ApnsDestination extends DestinationBase {
  readonly channel: "apns";
  readonly teamId: string;
  readonly keyId: string;
  /** the .p8 file's text: EC P-256, PKCS #8 in PEM */
  readonly privateKey: string;
  /** the app, and with it the `apns-topic` */
  readonly bundleId: string;
}

/** A VAPID identity (RFC 8292): browsers' subscriptions are bound to its public key. */
export interface WebPushDestination extends DestinationBase {
  readonly channel: "web-push";
  /** `mailto:` or `https:`, for the push service to reach who sends */
  readonly subject: string;
  /** base64url of 65 bytes: an uncompressed point of P-256 */
  readonly publicKey: string;
  /** base64url of 32 bytes */
  readonly privateKey: string;
}

export type Outcome =
  | { readonly kind: "accepted" }
  /** the receiver refuses this message for good; the endpoint stays */
  | { readonly kind: "rejected"; readonly reason: string; readonly status?: number }
  /**
   * the endpoint is no more: to be pruned, unless it was registered again after `sinceMs` (epoch milliseconds), when the
   * far side found it dead; left out: now
   */
  | { readonly kind: "gone"; readonly reason: string; readonly status?: number; readonly sinceMs?: number }
  /**
   * certainly not sent: try again, never before `retryAfterMs` from now where it is given; `forAll`: the far side wants
   * nothing at all for so long; `heard`: without a status, and yet from the far side (GOAWAY, REFUSED_STREAM)
   */
  | {
      readonly kind: "retry";
      readonly reason: string;
      readonly status?: number;
      readonly retryAfterMs?: number;
      readonly forAll?: boolean;
      readonly heard?: true;
    }
  /** the credential or destination is refused (401, 403): its circuit opens, attempts aren't burned */
  | { readonly kind: "auth"; readonly reason: string; readonly status?: number }
  /** perhaps sent: timeout or reset after bytes were written, 5xx */
  | { readonly kind: "in_doubt"; readonly reason: string; readonly status?: number; readonly retryAfterMs?: number };

/** The one outcome that needs no telling apart. */
export const accepted: Outcome = Object.freeze({ kind: "accepted" });

export interface SendRequest {
  readonly moment: Moment;
  readonly deliveries: readonly Delivery[];
  /** null on channels without destinations */
  readonly destination: Destination | null;
  /** each request must be answered within this; a request that isn't is in doubt */
  readonly timeoutMs: number;
  /**
   * Asked right before each request's first byte; false means: do not send (lease, expiry or shutdown). Such a
   * delivery's outcome is `retry` with reason "held_back".
   */
  mayBegin(): boolean;
  /** aborting gives up on what is under way: bytes written -> in_doubt, else retry */
  readonly signal: AbortSignal;
  /**
   * Called once for every delivery, as soon as its outcome is known, with its index in `deliveries`; for a batch,
   * in one go for all its members. Never called after `send` has resolved.
   */
  settle(indexes: readonly number[], outcomes: readonly Outcome[]): void;
}

export interface Channel {
  readonly name: ChannelName;
  /** how many deliveries may usefully travel in one request to this destination */
  batchSize(destination: Destination | null): number;
  /**
   * The far side that an address is behind, where one destination has several (push services of browsers): each is slow,
   * silent or busy by itself.
   */
  routeOf?(address: string): string;
  /** open connections ahead of the instant; never fails */
  warm(destination: Destination | null, signal: AbortSignal): Promise<void>;
  /** resolves when every delivery has been settled; never rejects */
  send(request: SendRequest): Promise<void>;
  /**
   * Looks whether reminders could go through this destination now, as near to sending one as can be done without ringing
   * anybody: for `carillon doctor`. Never rejects. Left out where there is nothing to look at.
   */
  probe?(destination: Destination, signal: AbortSignal): Promise<Probe>;
  close(): Promise<void>;
}

export type Probe =
  | { readonly well: true; readonly found: string }
  | { readonly well: false; readonly found: string; readonly toDo: string };

/** Told of every answer as it came from the far side: for people who try a destination out (`carillon send-test`). */
export type OnReply = (reply: Reply) => void;

export const channelNames = ["webhook", "fcm", "apns", "web-push", "memory"] as const;
export type ChannelName = (typeof channelNames)[number];
