/**
 * "In the user's own zone": a wall or recurrence rule that names no zone, or "user", is in the zone of whoever
 * subscribes, given in the same request or stored, and is marked as following them.
 */
import { CarillonError } from "../errors.ts";
import type { Executor } from "./executor.ts";
import type { SubscriptionRequest, When } from "./subscription-request.ts";
import { zonesOf } from "./users.ts";

/** The zones that users have or are about to get, by outside id. */
export interface OwnZones {
  /** given in the request, as it is written there: the last one counts, as it does when it is stored */
  readonly given: ReadonlyMap<string, string>;
  /** stored, of users that are given none: only to be relied on once their rows are locked */
  readonly stored: ReadonlyMap<string, string>;
}

/** A user's stored zone was changed by somebody else between its being read and the lock on the user's row. */
export class ZoneChanged extends Error {}

export async function findOwnZones(executor: Executor, requests: readonly SubscriptionRequest[]): Promise<OwnZones> {
  const given = new Map(requests.flatMap(({ userId, zone }) => (zone === undefined ? [] : [[userId, zone] as const])));
  const following = requests.filter(({ userId, when }) => followsUser(when) && !given.has(userId));
  return { given, stored: await zonesOf(executor, [...new Set(following.map(({ userId }) => userId))]) };
}

/**
 * @param stored what was read before
 * @throws ZoneChanged unless all of them still hold, now that the caller has locked the users' rows
 */
export async function assertZonesHold(executor: Executor, stored: OwnZones["stored"]): Promise<void> {
  const now = await zonesOf(executor, [...stored.keys()]);
  for (const [userId, zone] of stored) {
    if (now.get(userId) !== zone) throw new ZoneChanged();
  }
}

/**
 * The request's when, with the user's own zone in place where it is asked for.
 *
 * @throws user_zone_missing, pointing into the request
 */
export function inOwnZone(
  { userId, when }: Pick<SubscriptionRequest, "userId" | "when">,
  { given, stored }: OwnZones,
): When {
  if (!followsUser(when)) return when;
  const zone = given.get(userId) ?? stored.get(userId);
  if (zone === undefined) {
    throw new CarillonError("user_zone_missing", "Say the user's zone, or one in the rule.", { pointer: "/zone" });
  }
  const own = { zone, follows: "user" } as const;
  return "daily" in when ? { daily: { ...when.daily, ...own } } : { recurrence: { ...when.recurrence, ...own } };
}

type Following = Extract<When, { readonly daily: unknown } | { readonly recurrence: unknown }>;

export function followsUser(when: When): when is Following {
  const rule = "daily" in when ? when.daily : "recurrence" in when ? when.recurrence : null;
  return rule !== null && (rule.zone === undefined || rule.zone === "user");
}
