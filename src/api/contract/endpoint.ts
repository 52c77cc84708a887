import { z } from "zod";
import { channelNames } from "../../channels/channel.ts";
import { addressLengthMax } from "../../reminder/address.ts";
import { lineText, text, userIdText } from "./contract.ts";

/** The memory channel is for tests: nobody can be reached there. */
const channels = channelNames.filter((name) => name !== "memory");

const fields = {
  /** default: the destination's */
  channel: z.enum(channels).optional(),
  /** the destination's name */
  destination: text(1, 100).optional(),
  /**
   * What a webhook's receiver knows the user by, by default the user's id; a device's token; a browser's subscription, as
   * it is or as text.
   */
  address: z.preprocess(asText, lineText(1, addressLengthMax).optional()),
};

export const newEndpoint = z.strictObject(fields);
export const newEndpointOfUser = z.strictObject({ userId: userIdText, ...fields });
/** How addresses are told: shortened, since who has a push subscription can send to it. */
export const endpointsQuery = z.strictObject({ addresses: z.enum(["short", "full"]).default("short") });
export const endpointPath = z.strictObject({
  userId: userIdText,
  ordinal: z
    .string()
    .regex(/^\d{1,2}$/)
    .transform(Number),
});

function asText(address: unknown): unknown {
  return typeof address === "object" && address !== null && !Array.isArray(address) ? JSON.stringify(address) : address;
}
