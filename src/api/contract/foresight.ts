import { z } from "zod";
import { text } from "./contract.ts";

const instant = text(1, 64);

/** `from`: RFC 3339, default: now */
export const previewQuery = z.strictObject({
  count: z.coerce.number().int().min(1).max(1000).default(10),
  from: instant.optional(),
});

/** `at`: RFC 3339, default: now */
export const explainQuery = z.strictObject({ at: instant.optional() });
