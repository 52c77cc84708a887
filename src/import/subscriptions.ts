import { parser } from "../api/contract/contract.ts";
import { newSubscription } from "../api/contract/subscription.ts";
import { requestOf } from "../api/routes/subscriptions.ts";
import { mergeSubscriptions } from "../store/merge-subscriptions.ts";
import { number, numbers } from "./columns.ts";
import { defineKind } from "./kind.ts";

const contract = parser(newSubscription);

/** A line of JSON is what POST /v1/subscriptions takes; a CSV says the same in columns, without endpoints. */
export const subscriptionKind = defineKind({
  name: "subscriptions",
  columns: {
    required: ["user_id", "topic"],
    known: {
      user_id: { path: ["userId"] },
      topic: { path: ["topic"] },
      at: { path: ["at"] },
      time: { path: ["daily", "time"] },
      zone: { path: ["daily", "zone"] },
      days: { path: ["daily", "days"], value: numbers },
      place: { path: ["timetable", "place"] },
      place_id: { path: ["timetable", "placeId"], value: number },
      latitude: { path: ["timetable", "coordinates", "latitude"], value: number },
      longitude: { path: ["timetable", "coordinates", "longitude"], value: number },
      slot: { path: ["timetable", "slot"] },
      offset_minutes: { path: ["timetable", "offsetMinutes"], value: number },
    },
  },
  batchLines: 10_000,
  parse: (fields) => requestOf(contract.parse(fields), ""),
  merge: ({ client, planHorizonMs, addressRule }, rows) =>
    mergeSubscriptions(client, rows, { planHorizonMs, addressRule }),
});
