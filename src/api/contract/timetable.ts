import { z } from "zod";
import { parseDate } from "../../timetable/civil-time.ts";
import { timetableKinds } from "../../timetable/timetable.ts";
import { coded, freeJson, int4Max, slugText, text } from "./contract.ts";

/** What the parameters mean, and which there are, depends on the kind; src/timetable checks them. */
const parameters = z.record(z.string(), freeJson);

export const newTimetable = z.strictObject({
  name: slugText,
  kind: z.enum(timetableKinds),
  parameters: parameters.default({}),
});
export const timetablePatch = z.strictObject({ parameters });

/** `?dryRun=true`: the same reply, and nothing is changed */
export const dryRunQuery = z.strictObject({
  dryRun: z
    .enum(["true", "false"])
    .default("false")
    .transform((text) => text === "true"),
});

export const versionPath = z.strictObject({
  name: text(1, 100),
  version: z.coerce.number().int().min(1).max(int4Max),
});

export const versionBody = z.strictObject({
  /** null: since ever */
  effectiveFrom: civilDate().nullable().optional(),
  parameters,
  note: text(1, 1000).nullable().optional(),
});

function civilDate() {
  return z.string().transform((text, context) => {
    const date = parseDate(text);
    if (date !== null) return date;
    const message = "Must be a date of the calendar, like 2026-11-24";
    context.addIssue({ code: "custom", message, params: coded("malformed_time") });
    return z.NEVER;
  });
}
