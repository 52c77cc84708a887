import { z } from "zod";

export const pace = z.strictObject({
  /** sends a second, all nodes together */
  perSecond: z.number().positive().max(1_000_000),
  /** after a silence, from a tenth to the whole over so long */
  rampUpMs: z.number().int().min(0).max(3_600_000).default(0),
});
