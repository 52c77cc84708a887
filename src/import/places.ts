import { parser } from "../api/contract/contract.ts";
import { newPlace } from "../api/contract/place.ts";
import { mergePlaces } from "../store/merge-places.ts";
import { withZone, type ZonedPlace } from "../store/places.ts";
import { number } from "./columns.ts";
import { defineKind } from "./kind.ts";
import { checkedZone } from "./zones.ts";

const contract = parser(newPlace);

export const placeKind = defineKind<ZonedPlace>({
  name: "places",
  columns: {
    required: ["key", "name", "latitude", "longitude"],
    known: {
      key: { path: ["key"] },
      name: { path: ["name"] },
      country: { path: ["country"] },
      latitude: { path: ["latitude"], value: number },
      longitude: { path: ["longitude"], value: number },
      zone: { path: ["zone"] },
      population: { path: ["population"], value: number },
      timetable: { path: ["timetable"] },
    },
  },
  batchLines: 10_000,
  parse: (fields) => {
    const place = withZone(contract.parse(fields), "/zone");
    return place.zoneSource === "suggested" ? place : { ...place, zone: checkedZone(place.zone, "/zone") };
  },
  merge: ({ client }, rows) => mergePlaces(client, rows),
  zoneSuggested: ({ zoneSource }) => zoneSource === "suggested",
});
