import type { Delivery, Message, Moment } from "../../../src/channels/channel.ts";
import type { ProvidersReady } from "../../../src/fakes/provider-messages.ts";
import { pushSubscription } from "../../../src/fakes/push-subscriptions.ts";
import type { ProviderChannel } from "../../../src/fakes/receiver-log.ts";
import { deliveryIds } from "../../../src/reminder/delivery-id.ts";

export const benchChannels = ["fcm", "apns", "web-push"] as const satisfies readonly ProviderChannel[];

/** Those that are measured; each runs in a process of its own, against the same process of fakes. */
export type SenderKind =
  /** the channel, as a worker calls it */
  | "carillon"
  /** node:http2 and nothing else: makes the same requests, and sends them as fast as it can */
  | "bare"
  /** Web Push: the work that can't be left out, encrypting and signing, and no network */
  | "encryption"
  /** the same request over and over, made once: all that it costs is the network, and the fake */
  | "flood"
  /** firebase-admin, @parse/node-apn, web-push: what a team would write a loop around */
  | "peer";

/** What a sender's process is told at its start. */
export interface SenderConfig {
  readonly channel: ProviderChannel;
  readonly kind: SenderKind;
  /** carillon: sends of a chunk at one time; bare and flood: connections; peer: calls, or connections, at one time */
  readonly atOnce: number;
  readonly providers: ProvidersReady;
}

/** A chunk, as the worker hands it to a channel; firebase-admin's sendEach takes no more either. */
export const chunkSize = 500;
/** Bare and flood: requests under way at one time, over all connections. */
export const underWay = 2 * chunkSize;

/** One way to send messages to users of one channel. */
export interface Sender extends AsyncDisposable {
  /** messages that it has sent to get ready; default none */
  readonly sentAhead?: number;
  /** @returns how many were accepted */
  send(deliveries: readonly Delivery[]): Promise<number>;
}

export interface Sent {
  readonly accepted: number;
  /** from the first message's making to the last one's outcome */
  readonly elapsedMs: number;
  /** of the sender's process, all threads, in that time */
  readonly cpuMs: number;
  /** of its main thread alone: how fast it can be at most, on however many cores */
  readonly mainCpuMs: number;
}

/** Between the bench and a sender's process: one answer to each question. */
export interface Question {
  /** number of the first user; each run has others, so that no fake or push service could know them */
  readonly from: number;
  readonly users: number;
}
export type Answer =
  | { readonly kind: "ready"; readonly sentAhead: number }
  | ({ readonly kind: "sent" } & Sent)
  | { readonly kind: "failed"; readonly why: string };

const occurrence = "2030-01-01T18:00:00Z";

/** All send the same moment and message, as one topic's users get it. */
export const moment: Moment = {
  topic: "launch",
  scheduleId: "7",
  occurrence,
  dueAt: new Date().toISOString(),
  expiresAt: new Date(Date.now() + 3_600_000).toISOString(),
  bucketId: "1",
  groupNumber: 0,
  node: "bench",
  priority: "high",
};
export const message: Message = {
  title: "We are live",
  body: "The stream that you asked to be reminded of has begun. Come in!",
  data: { stream: "7", room: "main" },
  image: null,
  sound: "default",
  link: "https://example.com/live/7",
};

/** The deliveries of users `from` to `from + users - 1`. */
export function deliveriesOf({ channel, providers }: SenderConfig, { from, users }: Question): readonly Delivery[] {
  const idOf = deliveryIds(moment.scheduleId, occurrence);
  return Array.from({ length: users }, (_, at) => {
    const user = String(from + at);
    return {
      deliveryId: idOf(user, 1),
      attempt: 0,
      address: addressOf(channel, providers, user),
      destinationId: 1,
      zone: "Europe/Berlin",
      locale: "en",
      message,
      registeredAtMs: null,
    };
  });
}

/** As long as those that the providers give out. */
function addressOf(channel: ProviderChannel, { webPush }: ProvidersReady, user: string): string {
  switch (channel) {
    case "fcm":
      return `fKx4vJ2mTqWcYbN8sLzR0d:APA91b${user.padStart(134, "Hq7Zt3Lw")}`;
    case "apns":
      return Number(user).toString(16).padStart(64, "5af1c09e");
    case "web-push":
      if (webPush === null) throw new Error("No push service was asked for");
      return JSON.stringify(pushSubscription(webPush.receivers, user));
  }
}

/** Sends chunk by chunk, `atOnce` at one time. */
export function inChunks(atOnce: number, sendChunk: (deliveries: readonly Delivery[]) => Promise<number>): Sender {
  return {
    async send(deliveries) {
      let next = 0;
      let accepted = 0;
      async function sendSome(): Promise<void> {
        while (next < deliveries.length) {
          const from = next;
          next += chunkSize;
          // The sum is read after the chunk is sent: others add to it meanwhile.
          const acceptedHere = await sendChunk(deliveries.slice(from, next));
          accepted += acceptedHere;
        }
      }
      await Promise.all(Array.from({ length: atOnce }, sendSome));
      return accepted;
    },
    async [Symbol.asyncDispose]() {},
  };
}
