import { z } from "zod";
import { channelNames } from "../../channels/channel.ts";
import { coded, slugText } from "./contract.ts";
import { canonicalLocaleText, texts, variants } from "./message.ts";

const settings = {
  ...texts,
  /** the language that these texts are written in */
  locale: canonicalLocaleText.optional(),
  variants: variants.optional(),
  priority: z.enum(["high", "normal"]).optional(),
  deliveryMode: z.enum(["at_least_once", "at_most_once"]).optional(),
  expiresAfterMs: z.number().int().min(1000).max(604_800_000).optional(),
  catchUp: z.enum(["skip", "latest", "all"]).optional(),
  /** null: by population */
  groupCount: z
    .number()
    .int()
    .max(65_536)
    .refine((count) => count >= 2, {
      message: "A preset group count must be at least 2",
      params: coded("group_count_too_small"),
    })
    .nullable()
    .optional(),
  /** how long a moment's users are told in; expiry counts from its due time all the same */
  spreadMs: z.number().int().min(0).max(3_600_000).optional(),
  /** null: for timetable rules yes, for others no */
  oncePerLocalDay: z.boolean().nullable().optional(),
  ignoresQuietHours: z.boolean().optional(),
  reach: z.enum(["all", "first"]).optional(),
  /** those that are not named come last */
  channelOrder: z
    .array(z.enum(channelNames))
    .refine((names) => new Set(names).size === names.length, "Must name a channel once")
    .optional(),
};

export const newTopic = z.strictObject({ name: slugText, ...settings });
export const topicPatch = z.strictObject(settings);
