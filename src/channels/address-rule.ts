import { type AddressRule, canonicalAddress } from "../reminder/address.ts";
import { checkPushSubscription, type PushPolicy } from "./web-push-subscription.ts";

/** What may be registered, where it is dialled too: a browser's subscription brings the URL of its push service along. */
export function addressRule(policy: PushPolicy): AddressRule {
  return (channel, address) =>
    channel === "web-push" ? checkPushSubscription(address, policy).canonical : canonicalAddress(channel, address);
}
