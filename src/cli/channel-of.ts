import { egressPolicy } from "../app.ts";
import type { Channel, ChannelName, OnReply } from "../channels/channel.ts";
import { createWebhookChannel } from "../channels/webhook.ts";
import type { Config } from "../config.ts";

/**
 * The channel as a node with this configuration would have it, for verbs that try one out.
 *
 * @param onReply is told of every answer of the far side
 * @returns null where this program has no such channel
 */
export function channelOf(name: ChannelName, config: Config, onReply?: OnReply): Channel | null {
  const policy = egressPolicy(config);
  const { connectionsPerHost } = config.egress;
  const observer = onReply === undefined ? {} : { onReply };
  switch (name) {
    case "webhook":
      return createWebhookChannel({ policy, connectionsPerHost, ...observer });
    default:
      return null;
  }
}
