import { z } from "zod";
import { slugText } from "./contract.ts";

/** Checked by the egress guard, which has more to say of it than a pattern. */
const url = z.string().max(10_000);
const batchSize = z.number().int().min(1).max(500);
/** Standard Webhooks: 24 to 64 random bytes */
const secret = z.string().max(100).refine(isSecret, 'Must be "whsec_" and the base64 of 24 to 64 bytes');

export const newDestination = z.strictObject({
  name: slugText,
  url,
  batchSize: batchSize.default(1),
  /** without one, one is generated */
  secret: secret.optional(),
});

export const destinationPatch = z.strictObject({
  url: url.optional(),
  batchSize: batchSize.optional(),
  /** the newest: old ones go on signing until they are retired; "generate" for one of ours */
  secret: z
    .string()
    .max(100)
    .refine((value) => value === "generate" || isSecret(value), 'Must be "generate", or "whsec_" and base64')
    .optional(),
  /** only the newest stays */
  retireSecrets: z.boolean().optional(),
  disabled: z.boolean().optional(),
});

function isSecret(value: string): boolean {
  const [, base64 = ""] = /^whsec_([A-Za-z0-9+/]+={0,2})$/.exec(value) ?? [];
  const bytes = Buffer.from(base64, "base64");
  return bytes.length >= 24 && bytes.length <= 64 && bytes.toString("base64") === base64;
}
