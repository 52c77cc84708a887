import { z } from "zod";
import { eventKinds } from "../../store/events.ts";

export const eventListener = z.strictObject({
  /** what it is told of */
  kinds: z.array(z.enum(eventKinds)).min(1).max(eventKinds.length),
});
