import { createApnsChannel } from "../../../src/channels/apns.ts";
import type { Channel, Delivery, Destination } from "../../../src/channels/channel.ts";
import { createFcmChannel } from "../../../src/channels/fcm.ts";
import { createWebPushChannel } from "../../../src/channels/web-push.ts";
import type { ProvidersReady } from "../../../src/fakes/provider-messages.ts";
import type { ProviderChannel } from "../../../src/fakes/receiver-log.ts";
import { inChunks, moment, type Sender, type SenderConfig } from "./sender.ts";

/** A channel with the settings that a node gives it, called as a worker calls it: chunk by chunk, some at one time. */
export async function startOurs({ channel: name, providers, atOnce }: SenderConfig): Promise<Sender> {
  const channel = channelOf(name, providers.ca);
  const destination = destinationOf(name, providers);
  await channel.warm(destination, new AbortController().signal);

  async function sendChunk(deliveries: readonly Delivery[]): Promise<number> {
    let accepted = 0;
    await channel.send({
      moment,
      deliveries,
      destination,
      timeoutMs: 30_000,
      mayBegin: () => true,
      signal: new AbortController().signal,
      settle: (_, outcomes) => {
        for (const outcome of outcomes) {
          if (outcome.kind === "accepted") accepted += 1;
          else throw new Error(`${outcome.kind}: ${outcome.reason}`);
        }
      },
    });
    return accepted;
  }

  return { ...inChunks(atOnce, sendChunk), [Symbol.asyncDispose]: () => channel.close() };
}

function channelOf(name: ProviderChannel, ca: string): Channel {
  const options = { policy: { allowLoopback: true, allowPrivate: false }, ca };
  switch (name) {
    case "fcm":
      return createFcmChannel(options);
    case "apns":
      return createApnsChannel(options);
    case "web-push":
      return createWebPushChannel({ ...options, connectionsPerHost: 32 });
  }
}

/** The fake's credentials as an operator would have set them up. */
export function destinationOf(name: ProviderChannel, { fcm, apns, webPush }: ProvidersReady): Destination {
  const base = { destinationId: 1, name };
  if (name === "fcm" && fcm !== null) {
    return { ...base, channel: "fcm", url: fcm.url, tokenUrl: fcm.tokenUrl, ...fcm.serviceAccount };
  }
  if (name === "apns" && apns !== null) return { ...base, channel: "apns", url: apns.url, ...apns.key };
  if (name === "web-push" && webPush !== null) {
    return { ...base, channel: "web-push", url: "", subject: "mailto:bench@example.com", ...webPush.vapid };
  }
  throw new Error(`No fake of ${name} was asked for`);
}
