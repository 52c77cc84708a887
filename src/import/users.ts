import { z } from "zod";
import { localeText, parser, userIdText, zoneText } from "../api/contract/contract.ts";
import { mergeUsers } from "../store/merge-users.ts";
import { defineKind } from "./kind.ts";
import { checkedZone } from "./zones.ts";

/** Unlike PUT, which replaces, a file adds: what it leaves out stays as it is. */
const contract = parser(
  z.strictObject({ userId: userIdText, zone: zoneText.optional(), locale: localeText.optional() }),
);

export const userKind = defineKind({
  name: "users",
  columns: {
    required: ["user_id"],
    known: { user_id: { path: ["userId"] }, zone: { path: ["zone"] }, locale: { path: ["locale"] } },
  },
  batchLines: 10_000,
  parse: (fields) => {
    const { userId, zone, locale } = contract.parse(fields);
    return { userId, zone: zone === undefined ? undefined : checkedZone(zone, "/zone"), locale };
  },
  merge: ({ client, planHorizonMs }, rows) => mergeUsers(client, rows, planHorizonMs),
});
