import { CarillonError } from "../errors.ts";
import { type AddressRule, isDeviceChannel } from "../reminder/address.ts";
import { findDestinations } from "./destinations.ts";
import { DeviceContended, ownersOf, pruneMoved, whileContended } from "./devices.ts";
import {
  destinationNames,
  type FoundEndpoint,
  findEndpoint,
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

type FoundRow = FoundEndpoint & { readonly userId: string };

/**
 * Registers endpoints as `saveEndpoints` does, under the same locks in the same order: new users by outside id, users'
 * rows by number, endpoints. Refused are those with a destination that there is not or that doesn't fit the channel, with
 * an address that is none, and those for which their user has no room. Of two lines with one device the later holds.
 */
export async function mergeEndpoints(
  client: Executor,
  rows: readonly Numbered<EndpointRow>[],
  addressRule: AddressRule,
): Promise<Merged> {
  const destinations = await findDestinations(client, destinationNames(rows.map(({ row }) => row)));
  const refused: Refused[] = [];
  const sound = rows.flatMap(({ line, row }): Numbered<FoundRow>[] => {
    const found = findEndpoint(row, destinations, addressRule, "");
    if (!(found instanceof CarillonError)) return [{ line, row: { ...found, userId: row.userId } }];
    refused.push({ line, error: found });
    return [];
  });
  const { last, repeated } = lastOfEach(sound, identityOf);
  await stage(
    client,
    "import_endpoints",
    { line: "integer", user_id: "text", channel: "text", destination_id: "integer", address: "text" },
    last.map(({ line, row }) => [line, row.userId, row.channel, row.destinationId, row.address]),
  );
  const devices = last.some(({ row }) => isDeviceChannel(row.channel));
  const registered = await whileContended(() => registerStaged(client, devices));
  const placed = new Set(registered.map((row) => row.index));
  const without = last.filter(({ line }) => !placed.has(line));
  refused.push(...without.map(({ line }) => ({ line, error: tooMany({ pointer: "" }) })));
  const inserted = registered.filter((row) => row.created).length;
  const changed = registered.filter((row) => row.returned).length;
  return { inserted, changed, unchanged: registered.length - inserted - changed + repeated, refused };
}

const staged = `(select u.user_number, u.hash_slot, s.*
  from pg_temp.import_endpoints s join carillon.users u using (user_id))`;

/** @param devices among them are devices, which others may have */
async function registerStaged(client: Executor, devices: boolean): Promise<readonly RegisteredRow[]> {
  await client.query("savepoint staged");
  try {
    await client.query(
      `insert into carillon.users (user_id)
       select distinct user_id from pg_temp.import_endpoints s
       where not exists (select from carillon.users u where u.user_id = s.user_id)
       order by user_id
       on conflict (user_id) do nothing`,
    );
    const owners = devices ? `union ${ownersOf("pg_temp.import_endpoints")}` : "";
    await client.query(
      `select from carillon.users where user_number in (select user_number from ${staged} as own ${owners})
       order by user_number for no key update`,
    );
    if (devices) await client.query(pruneMoved(staged));
    const wanted = `select line as index, user_number, hash_slot, channel, destination_id, address from ${staged} as w`;
    const { rows } = await DeviceContended.orResult(client.query<RegisteredRow>(registering(wanted, false)));
    return rows;
  } catch (error) {
    // the next try has to see what was committed meanwhile
    if (error instanceof DeviceContended) await client.query("rollback to savepoint staged");
    throw error;
  }
}

/** A device is one, whoever has it. */
function identityOf({ userId, channel, destinationId, address }: FoundRow): string {
  return JSON.stringify([isDeviceChannel(channel) ? null : userId, channel, destinationId, address]);
}
