import { z } from "zod";
import { CarillonError } from "../../errors.ts";
import { listPlaces, nearestPlace, readPlace, savePlaces } from "../../store/places.ts";
import { int4Max, itemPointer, oneOrMany, page, parser, text } from "../contract/contract.ts";
import { nearestQuery, newPlace } from "../contract/place.ts";
import type { ApiDeps } from "../deps.ts";
import { type Route, route } from "../route.ts";
import { pageOf } from "./page.ts";

const placePath = z.strictObject({ key: text(1, 200) });
const placesQuery = page.extend({ cursor: z.coerce.number().int().min(0).max(int4Max).default(0) });

export function placeRoutes({ db }: ApiDeps): Route[] {
  return [
    route({
      method: "post",
      path: "/places",
      scope: "admin",
      body: oneOrMany(newPlace, "places"),
      run: async ({ body: { items, bulk } }) => {
        const saved = await savePlaces(db, items, itemPointer("places", bulk));
        if (bulk) return { status: 200, body: { places: saved } };
        const [place] = saved;
        if (place === undefined) throw new CarillonError("internal", "The place was not stored.");
        const { created, ...body } = place;
        return { status: created ? 201 : 200, body };
      },
    }),
    route({
      method: "get",
      path: "/places",
      scope: "subscribe",
      query: parser(placesQuery, "?"),
      run: async ({ query: { limit, cursor } }) => {
        const places = await listPlaces(db, { after: cursor, limit: limit + 1 });
        return { status: 200, body: pageOf("places", places, limit, (place) => String(place.placeId)) };
      },
    }),
    route({
      method: "get",
      path: "/places/nearest",
      scope: "subscribe",
      query: parser(nearestQuery, "?"),
      run: async ({ query: { latitude, longitude } }) => ({
        status: 200,
        body: await nearestPlace(db, latitude, longitude),
      }),
    }),
    route({
      method: "get",
      path: "/places/:key",
      scope: "subscribe",
      params: parser(placePath, ":"),
      run: async ({ params: { key } }) => ({ status: 200, body: await readPlace(db, key) }),
    }),
  ];
}
