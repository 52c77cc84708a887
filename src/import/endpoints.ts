import { parser } from "../api/contract/contract.ts";
import { newEndpointOfUser } from "../api/contract/endpoint.ts";
import { mergeEndpoints } from "../store/merge-endpoints.ts";
import { defineKind } from "./kind.ts";

const contract = parser(newEndpointOfUser);

export const endpointKind = defineKind({
  name: "endpoints",
  columns: {
    required: ["user_id"],
    known: {
      user_id: { path: ["userId"] },
      channel: { path: ["channel"] },
      destination: { path: ["destination"] },
      address: { path: ["address"] },
    },
  },
  batchLines: 10_000,
  parse: contract.parse,
  merge: ({ client, addressRule }, rows) => mergeEndpoints(client, rows, addressRule),
});
