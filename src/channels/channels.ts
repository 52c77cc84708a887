import type { Config } from "../config.ts";
import { createApnsChannel } from "./apns.ts";
import type { Channel, OnReply } from "./channel.ts";
import { createFcmChannel } from "./fcm.ts";
import { createWebPushChannel } from "./web-push.ts";
import type { PushPolicy } from "./web-push-subscription.ts";
import { createWebhookChannel } from "./webhook.ts";
import { createEventSender, type EventSender } from "./webhook-events.ts";

/**
 * All channels that a node sends by, as its configuration has them.
 *
 * @param watch.onReply is told of every answer of a far side
 */
export function createChannels(config: Config, watch: { readonly onReply?: OnReply } = {}): readonly Channel[] {
  const policy = egressPolicy(config);
  const { connectionsPerHost } = config.egress;
  const common = { policy, ca: config.egress.ca ?? undefined, ...watch };
  return [
    createWebhookChannel({ connectionsPerHost, ...common }),
    createFcmChannel(common),
    createApnsChannel(common),
    createWebPushChannel({ connectionsPerHost, ...common }),
  ];
}

/** What tells listeners of events, under the same rules. */
export function createEvents(config: Config): EventSender {
  return createEventSender({ policy: egressPolicy(config), ca: config.egress.ca ?? undefined });
}

/** What a node with this configuration may dial. */
export function egressPolicy({ egress }: Pick<Config, "egress">): PushPolicy {
  const { allowLoopback, allowPrivateEndpoints: allowPrivate, webPushHosts: pushHosts } = egress;
  return { allowLoopback, allowPrivate, pushHosts };
}
