import type { ImportKind } from "../store/imports.ts";
import { endpointKind } from "./endpoints.ts";
import type { Kind } from "./kind.ts";
import { placeKind } from "./places.ts";
import { subscriptionKind } from "./subscriptions.ts";
import { timetableKind } from "./timetables.ts";
import { userKind } from "./users.ts";

/** What can be imported. */
export const kinds: Readonly<Record<ImportKind, Kind>> = {
  places: placeKind,
  users: userKind,
  endpoints: endpointKind,
  subscriptions: subscriptionKind,
  timetables: timetableKind,
};
