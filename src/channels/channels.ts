import type { Config } from "../config.ts";
import type { Channel } from "./channel.ts";
import { createWebPushChannel } from "./web-push.ts";
import type { PushPolicy } from "./web-push-subscription.ts";
import { createWebhookChannel } from "./webhook.ts";

/** All channels that a node sends by, as its configuration has them. */
export function createChannels(config: Config): readonly Channel[] {
  const policy = egressPolicy(config);
  const { connectionsPerHost } = config.egress;
  return [createWebhookChannel({ policy, connectionsPerHost }), createWebPushChannel({ policy, connectionsPerHost })];
}

/** What a node with this configuration may dial. */
export function egressPolicy({ egress }: Pick<Config, "egress">): PushPolicy {
  const { allowLoopback, allowPrivateEndpoints: allowPrivate, webPushHosts: pushHosts } = egress;
  return { allowLoopback, allowPrivate, pushHosts };
}
