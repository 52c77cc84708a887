import { z } from "zod";
import { bulkOf, lineText, text, userIdText } from "./contract.ts";

/** Every channel that there is or will be: a preference may be said of one that is not set up here. */
const channel = z.enum(["webhook", "fcm", "apns", "web-push", "memory"]);
const topic = text(1, 100).nullable().default(null);
const wallTime = z.string().regex(/^(?:[01]\d|2[0-3]):[0-5]\d(?::[0-5]\d)?$/, "Must be a wall time, like 22:00");

const preference = z.strictObject({ topic, channel: channel.nullable().default(null), allowed: z.boolean() });
const quietHours = z
  .strictObject({ topic, from: wallTime, to: wallTime })
  .refine(({ from, to }) => seconds(from) !== seconds(to), "Must not end when they begin: to be silent always, mute");

/** What is left out is taken away: this replaces. */
export const userPreferences = z.strictObject({
  preferences: z
    .array(preference)
    .max(1000)
    .refine(
      (all) => unlike(all, (each) => JSON.stringify([each.topic, each.channel])),
      "Must name a topic and channel once",
    )
    .default([]),
  quietHours: z
    .array(quietHours)
    .max(100)
    .refine((all) => unlike(all, (each) => JSON.stringify(each.topic)), "Must name a topic once")
    .default([]),
});

const suppression = z.strictObject({
  userId: userIdText,
  reason: lineText(1, 200),
  /** an RFC 3339 instant; null: for good */
  until: text(1, 64).nullable().default(null),
});
export const newSuppressions = bulkOf(suppression, "suppressions");

function unlike<T>(all: readonly T[], keyOf: (each: T) => string): boolean {
  return new Set(all.map(keyOf)).size === all.length;
}

/** "22:00" and "22:00:00" are one time. */
function seconds(time: string): string {
  return time.length === 5 ? `${time}:00` : time;
}
