import { z } from "zod";
import { bigintText, page } from "./contract.ts";

export const bucketPath = z.strictObject({ bucketId: bigintText });
export const bucketsQuery = page.extend({
  state: z.enum(["open", "recent"]).default("open"),
  cursor: bigintText.optional(),
});
