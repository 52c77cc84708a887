import { findDestinations } from "./destinations.ts";
import {
  destinationNames,
  mistakesInEndpoint,
  type NewEndpoint,
  type RegisteredRow,
  registering,
  tooMany,
} from "./endpoints.ts";
import type { Executor } from "./executor.ts";
import { lastOfEach, type Merged, type Numbered, type Refused, stage } from "./staging.ts";

export interface EndpointRow extends NewEndpoint {
  readonly userId: string;
}

/**
 * Registers endpoints as `saveEndpoints` does, under the same locks in the same order: new users by outside id, users'
 * rows by number, endpoints. Refused are those with a destination that there is not or that doesn't fit the channel, and
 * those for which their user has no room.
 */
export async function mergeEndpoints(client: Executor, rows: readonly Numbered<EndpointRow>[]): Promise<Merged> {
  const destinations = await findDestinations(client, destinationNames(rows.map(({ row }) => row)));
  const refused: Refused[] = [];
  const sound = rows.filter(({ line, row }) => {
    const [error] = mistakesInEndpoint(row, destinations, "");
    if (error !== undefined) refused.push({ line, error });
    return error === undefined;
  });
  const { last, repeated } = lastOfEach(sound, identityOf);
  await stage(
    client,
    "import_endpoints",
    { line: "integer", user_id: "text", channel: "text", destination_id: "integer", address: "text" },
    last.map(({ line, row }) => [
      line,
      row.userId,
      row.channel,
      row.destination === undefined ? null : (destinations.get(row.destination) ?? null),
      row.address ?? row.userId,
    ]),
  );
  await client.query(
    `insert into carillon.users (user_id)
     select distinct user_id from pg_temp.import_endpoints s
     where not exists (select from carillon.users u where u.user_id = s.user_id)
     order by user_id
     on conflict (user_id) do nothing`,
  );
  await client.query(
    `select from carillon.users where user_id in (select user_id from pg_temp.import_endpoints)
     order by user_number for no key update`,
  );
  const { rows: registered } = await client.query<RegisteredRow>(
    registering(
      `select s.line as index, u.user_number, u.hash_slot, s.channel, s.destination_id, s.address
       from pg_temp.import_endpoints s join carillon.users u using (user_id)`,
    ),
  );
  const placed = new Set(registered.map((row) => row.index));
  const without = last.filter(({ line }) => !placed.has(line));
  refused.push(...without.map(({ line }) => ({ line, error: tooMany({ pointer: "" }) })));
  const inserted = registered.filter((row) => row.created).length;
  const changed = registered.filter((row) => row.returned).length;
  return { inserted, changed, unchanged: registered.length - inserted - changed + repeated, refused };
}

function identityOf({ userId, channel, destination, address }: EndpointRow): string {
  return JSON.stringify([userId, channel, destination ?? null, address ?? userId]);
}
