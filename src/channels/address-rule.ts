import { type AddressRule, canonicalAddress } from "../reminder/address.ts";
import type { EgressPolicy } from "./egress-guard.ts";

/** What may be registered, where it is dialled too: a browser's subscription brings the URL of its push service along. */
export function addressRule(policy: EgressPolicy): AddressRule {
  void policy;
  return canonicalAddress;
}
