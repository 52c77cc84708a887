import { z } from "zod";
import { timetableKinds } from "../../timetable/timetable.ts";
import { freeJson, slugText } from "./contract.ts";

/** What the parameters mean, and which there are, depends on the kind; src/timetable checks them. */
const parameters = z.record(z.string(), freeJson);

export const newTimetable = z.strictObject({
  name: slugText,
  kind: z.enum(timetableKinds),
  parameters: parameters.default({}),
});
export const timetablePatch = z.strictObject({ parameters });
