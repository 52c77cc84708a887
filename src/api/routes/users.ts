import { deliveryHistory } from "../../store/delivery-history.ts";
import { changeUser } from "../../store/moving.ts";
import { listMutes, removeMute, saveMute } from "../../store/mutes.ts";
import { readUser } from "../../store/users.ts";
import { assertZone, usualZoneName } from "../../timetable/civil-time.ts";
import { parseInstant } from "../../timetable/rule-check.ts";
import { parser } from "../contract/contract.ts";
import { deliveriesQuery, mute, mutePath, userPatch, userPath, userSettings } from "../contract/user.ts";
import type { ApiDeps } from "../deps.ts";
import { type Route, route } from "../route.ts";
import { shownMove } from "./moves.ts";
import { placeQueryOf } from "./place-query.ts";

export function userRoutes({ db, planHorizonMs }: ApiDeps): Route[] {
  const params = parser(userPath, ":");
  return [
    route({
      method: "put",
      path: "/users/:userId",
      scope: "subscribe",
      params,
      body: parser(userSettings),
      run: async ({ params: { userId }, body: { zone, locale } }) => {
        const change = { zone: knownZone(zone), locale, create: true };
        const { user, subscriptions } = await changeUser(db, userId, change, { planHorizonMs });
        const { created, ...rest } = user;
        return { status: created ? 201 : 200, body: { ...rest, subscriptions: subscriptions.map(shownMove) } };
      },
    }),
    route({
      method: "patch",
      path: "/users/:userId",
      scope: "subscribe",
      params,
      body: parser(userPatch),
      run: async ({ params: { userId }, body: { zone, locale, ...place } }) => {
        const settings = { zone: zone === undefined ? undefined : knownZone(zone), locale };
        const change = { ...settings, where: placeQueryOf(place), create: false };
        const { user, subscriptions } = await changeUser(db, userId, change, { planHorizonMs });
        const { created, ...rest } = user;
        return { status: 200, body: { ...rest, subscriptions: subscriptions.map(shownMove) } };
      },
    }),
    route({
      method: "get",
      path: "/users/:userId",
      scope: "subscribe",
      params,
      run: async ({ params: { userId } }) => ({ status: 200, body: await readUser(db, userId) }),
    }),
    route({
      method: "get",
      path: "/users/:userId/deliveries",
      scope: "subscribe",
      params,
      query: parser(deliveriesQuery, "?"),
      run: async ({ params: { userId }, query: { limit } }) => ({
        status: 200,
        body: { deliveries: await deliveryHistory(db, userId, limit) },
      }),
    }),
  ];
}

/** Mutes: of all topics at `/mutes`, of one at `/mutes/:topic`. */
export function muteRoutes({ db }: ApiDeps): Route[] {
  const ofAll = parser(userPath, ":");
  const ofOne = parser(mutePath, ":");
  const body = parser(mute);
  const save = async (userId: string, topic: string | null, until: string | null) => {
    const instant = until === null ? null : new Date(parseInstant(until, "/until"));
    return { status: 200, body: await saveMute(db, userId, { topic, until: instant }) } as const;
  };
  const remove = async (userId: string, topic: string | null) => {
    await removeMute(db, userId, topic);
    return { status: 200, body: { mutes: await listMutes(db, userId) } } as const;
  };
  return [
    route({
      method: "get",
      path: "/users/:userId/mutes",
      scope: "subscribe",
      params: ofAll,
      run: async ({ params: { userId } }) => ({ status: 200, body: { mutes: await listMutes(db, userId) } }),
    }),
    route({
      method: "put",
      path: "/users/:userId/mutes",
      scope: "subscribe",
      params: ofAll,
      body,
      run: ({ params: { userId }, body: { until } }) => save(userId, null, until),
    }),
    route({
      method: "delete",
      path: "/users/:userId/mutes",
      scope: "subscribe",
      params: ofAll,
      run: ({ params: { userId } }) => remove(userId, null),
    }),
    route({
      method: "put",
      path: "/users/:userId/mutes/:topic",
      scope: "subscribe",
      params: ofOne,
      body,
      run: ({ params: { userId, topic }, body: { until } }) => save(userId, topic, until),
    }),
    route({
      method: "delete",
      path: "/users/:userId/mutes/:topic",
      scope: "subscribe",
      params: ofOne,
      run: ({ params: { userId, topic } }) => remove(userId, topic),
    }),
  ];
}

/** @throws unknown_zone */
function knownZone(zone: string | null): string | null {
  if (zone === null) return null;
  assertZone(zone, "/zone");
  return usualZoneName(zone);
}
