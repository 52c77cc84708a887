import { z } from "zod";
import { offsetsMax } from "../../timetable/rule-fields.ts";
import { int4Max, latitude, localeText, longitude, text, userIdText, zoneText } from "./contract.ts";
import { newEndpoint } from "./endpoint.ts";

/** Whether times, days and offsets make sense is for src/timetable to say, which knows why; here are their types. */
const bounds = {
  /** short for one of offsetsMinutes */
  offsetMinutes: z.number().optional(),
  offsetsMinutes: z.array(z.number()).max(offsetsMax).optional(),
  /** "YYYY-MM-DD", local, inclusive */
  startsOn: text(0, 20).optional(),
  endsOn: text(0, 20).optional(),
};

const inZone = {
  /** "user", or left out: the user's own */
  zone: zoneText.optional(),
  gap: z.enum(["shift", "skip"]).optional(),
  overlap: z.enum(["first", "last", "both"]).optional(),
};

const daily = z.strictObject({
  /** "HH:MM" or "HH:MM:SS" */
  time: text(0, 20),
  /** ISO weekdays, 1 (Monday) to 7 */
  days: z.array(z.number()).max(7).optional(),
  ...inZone,
  ...bounds,
});

/** "YYYY-MM-DDTHH:MM" with seconds at will, local */
const dateTimes = z.array(text(0, 40)).optional();

/** RFC 5545 */
const recurrence = z.strictObject({
  start: text(0, 40),
  rrule: text(0, 5_000),
  rdates: dateTimes,
  exdates: dateTimes,
  ...inZone,
  ...bounds,
});

/** Where, in one of three ways. */
export const whereFields = {
  /** a place's key */
  place: text(1, 200).optional(),
  placeId: z.number().int().min(1).max(int4Max).optional(),
  /** of the user: the nearest place is taken */
  coordinates: z.strictObject({ latitude, longitude }).optional(),
};

const timetable = z
  .strictObject({
    ...whereFields,
    slot: text(1, 100),
    ...bounds,
  })
  .refine((where) => countPlaces(where) === 1, "Say where by exactly one of place, placeId and coordinates");

/** Where to move to. */
export const subscriptionPatch = z
  .strictObject(whereFields)
  .refine((where) => countPlaces(where) === 1, "Say where by exactly one of place, placeId and coordinates");

const when = {
  /** RFC 3339 */
  at: text(0, 64).optional(),
  daily: daily.optional(),
  recurrence: recurrence.optional(),
  timetable: timetable.optional(),
  /** of the user */
  zone: zoneText.optional(),
};
const saysWhen = ({ at, daily, recurrence, timetable }: { readonly [field in keyof typeof when]?: unknown }) =>
  countGiven(at, daily, recurrence, timetable) === 1;
const howToSayWhen = "Say when by exactly one of at, daily, recurrence and timetable";

export const newSubscription = z
  .strictObject({
    userId: userIdText,
    topic: text(1, 100),
    ...when,
    locale: localeText.optional(),
    endpoints: z.array(newEndpoint).max(20).default([]),
  })
  .refine(saysWhen, howToSayWhen);

/** What a subscription would say of when, without anybody who subscribes. */
export const ruleToPreview = z.strictObject(when).refine(saysWhen, howToSayWhen);
export type RuleToPreview = z.infer<typeof ruleToPreview>;

export type NewSubscription = z.infer<typeof newSubscription>;

type Where = { readonly [field in keyof typeof whereFields]?: unknown };

/** In how many of the three ways it is said where. */
export function countPlaces({ place, placeId, coordinates }: Where): number {
  return countGiven(place, placeId, coordinates);
}

function countGiven(...values: readonly unknown[]): number {
  return values.filter((value) => value !== undefined).length;
}
