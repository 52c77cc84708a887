import type { Config } from "../config.ts";
import type { Channel } from "./channel.ts";
import type { EgressPolicy } from "./egress-guard.ts";
import { createWebhookChannel } from "./webhook.ts";

/** All channels that a node sends by, as its configuration has them. */
export function createChannels(config: Config): readonly Channel[] {
  const policy = egressPolicy(config);
  const { connectionsPerHost, ca } = config.egress;
  return [createWebhookChannel({ policy, connectionsPerHost, ca: ca ?? undefined })];
}

/** What a node with this configuration may dial. */
export function egressPolicy({ egress }: Pick<Config, "egress">): EgressPolicy {
  return { allowLoopback: egress.allowLoopback, allowPrivate: egress.allowPrivateEndpoints };
}
