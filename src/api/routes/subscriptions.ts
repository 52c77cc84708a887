import { z } from "zod";
import { addressRule } from "../../channels/address-rule.ts";
import { CarillonError } from "../../errors.ts";
import { moveSubscription } from "../../store/moving.ts";
import type { PlaceQuery } from "../../store/place-times.ts";
import { subscribe } from "../../store/subscribe.ts";
import type { SubscriptionRequest, When } from "../../store/subscription-request.ts";
import { endSubscription, readSubscription, type Subscription } from "../../store/subscriptions.ts";
import { itemPointer, oneOrMany, parser, text } from "../contract/contract.ts";
import {
  type NewSubscription,
  newSubscription,
  type RuleToPreview,
  subscriptionPatch,
} from "../contract/subscription.ts";
import type { ApiDeps } from "../deps.ts";
import { type Route, route } from "../route.ts";
import { shownMove } from "./moves.ts";
import { type GivenPlace, placeQueryOf } from "./place-query.ts";
import { shownPlace } from "./schedules.ts";

const subscriptionPath = z.strictObject({ id: text(1, 100) });

export function subscriptionRoutes({ db, planHorizonMs, egressPolicy }: ApiDeps): Route[] {
  const params = parser(subscriptionPath, ":");
  return [
    route({
      method: "post",
      path: "/subscriptions",
      scope: "subscribe",
      body: oneOrMany(newSubscription, "subscriptions"),
      run: async ({ body: { items, bulk } }) => {
        const pointer = itemPointer("subscriptions", bulk);
        const requests = items.map((item, index) => requestOf(item, pointer(index)));
        const saved = await subscribe(db, requests, { planHorizonMs, addressRule: addressRule(egressPolicy) });
        if (bulk) {
          const subscriptions = saved.map(({ created, ...each }) => ({ ...shown(each), created }));
          return { status: 200, body: { subscriptions } };
        }
        const [subscription] = saved;
        if (subscription === undefined) throw new CarillonError("internal", "The subscription was not stored.");
        const { created, ...rest } = subscription;
        return { status: created ? 201 : 200, body: shown(rest) };
      },
    }),
    route({
      method: "get",
      path: "/subscriptions/:id",
      scope: "subscribe",
      params,
      run: async ({ params: { id } }) => ({ status: 200, body: shown(await readSubscription(db, id)) }),
    }),
    route({
      method: "patch",
      path: "/subscriptions/:id",
      scope: "subscribe",
      params,
      body: parser(subscriptionPatch),
      run: async ({ params: { id }, body }) => {
        const moved = await moveSubscription(db, id, whereOf(body), { planHorizonMs });
        return { status: 200, body: shownMove(moved) };
      },
    }),
    route({
      method: "delete",
      path: "/subscriptions/:id",
      scope: "subscribe",
      params,
      run: async ({ params: { id } }) => ({ status: 200, body: shown(await endSubscription(db, id)) }),
    }),
  ];
}

/** What the contract has let pass, as the store takes it. */
export function requestOf(item: NewSubscription, pointer: string): SubscriptionRequest {
  const { userId, topic, zone, locale, endpoints } = item;
  return { userId, topic, zone, locale, endpoints, pointer, when: whenOf(item) };
}

/** The contract has made sure that there is exactly one of the four. */
export function whenOf({ at, daily, recurrence, timetable }: RuleToPreview): When {
  if (at !== undefined) return { at };
  if (daily !== undefined) return { daily };
  if (recurrence !== undefined) return { recurrence };
  if (timetable === undefined) throw new CarillonError("internal", "A subscription came without its moment.");
  const { place, placeId, coordinates, ...said } = timetable;
  return { timetable: { where: whereOf({ place, placeId, coordinates }), ...said } };
}

/** The contract has made sure that there is one of the three. */
function whereOf(given: GivenPlace): PlaceQuery {
  const where = placeQueryOf(given);
  if (where === undefined) throw new CarillonError("internal", "A request came without its place.");
  return where;
}

function shown({ place, ...subscription }: Subscription) {
  return { ...subscription, ...shownPlace(place) };
}
