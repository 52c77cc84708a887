import { z } from "zod";
import { channelNames } from "../../channels/channel.ts";
import { lineText, text, userIdText } from "./contract.ts";

/** The memory channel is for tests: nobody can be reached there. */
const channels = channelNames.filter((name) => name !== "memory");

const fields = {
  channel: z.enum(channels).default("webhook"),
  /** the destination's name */
  destination: text(1, 100).optional(),
  /** what the receiver knows the user by; default: the user's id */
  address: lineText(1, 2048).optional(),
};

export const newEndpoint = z.strictObject(fields);
export const newEndpointOfUser = z.strictObject({ userId: userIdText, ...fields });
export const endpointPath = z.strictObject({
  userId: userIdText,
  ordinal: z
    .string()
    .regex(/^\d{1,2}$/)
    .transform(Number),
});
