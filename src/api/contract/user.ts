import { z } from "zod";
import { localeText, text, userIdText, zoneText } from "./contract.ts";
import { countPlaces, whereFields } from "./subscription.ts";

/** What is left out is taken away: this replaces. */
export const userSettings = z.strictObject({
  zone: zoneText.nullable().default(null),
  locale: localeText.nullable().default(null),
});

/** What is left out stays; a place is where the user has moved to. */
export const userPatch = z
  .strictObject({ zone: zoneText.nullable().optional(), locale: localeText.nullable().optional(), ...whereFields })
  .refine((patch) => countPlaces(patch) <= 1, "Say where by one of place, placeId and coordinates");

/** A user id in a path. */
export const userPath = z.strictObject({ userId: userIdText });

/** `until`: an RFC 3339 instant; null: until it is taken back */
export const mute = z.strictObject({ until: text(1, 64).nullable() });
export const mutePath = z.strictObject({ userId: userIdText, topic: text(1, 100) });

export const deliveriesQuery = z.strictObject({ limit: z.coerce.number().int().min(1).max(1000).default(100) });
