import { deliveryHistory } from "../../store/delivery-history.ts";
import { listMutes, removeMute, saveMute } from "../../store/mutes.ts";
import { readUser, saveUser } from "../../store/users.ts";
import { assertZone, usualZoneName } from "../../timetable/civil-time.ts";
import { parseInstant } from "../../timetable/rule-check.ts";
import { parser } from "../contract/contract.ts";
import { deliveriesQuery, mute, mutePath, userPath, userSettings } from "../contract/user.ts";
import type { ApiDeps } from "../deps.ts";
import { type Route, route } from "../route.ts";

export function userRoutes({ db }: ApiDeps): Route[] {
  const params = parser(userPath, ":");
  return [
    route({
      method: "put",
      path: "/users/:userId",
      scope: "subscribe",
      params,
      body: parser(userSettings),
      run: async ({ params: { userId }, body: { zone, locale } }) => {
        if (zone !== null) assertZone(zone, "/zone");
        const usualZone = zone === null ? null : usualZoneName(zone);
        const { created, ...body } = await saveUser(db, userId, { zone: usualZone, locale });
        return { status: created ? 201 : 200, body };
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
