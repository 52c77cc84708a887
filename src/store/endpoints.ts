import { CarillonError, throwAny } from "../errors.ts";
import { type AddressRule, canonicalAddress, isDeviceChannel } from "../reminder/address.ts";
import type { Database } from "./database.ts";
import { type DestinationRef, findDestinations } from "./destinations.ts";
import { DeviceContended, deviceOwners, pruneMovedDevices, sharedDevices, whileContended } from "./devices.ts";
import { type Executor, inTransaction } from "./executor.ts";
import { findOrCreateUsers, findUser, lockUsers, type UserRef } from "./users.ts";

/** Where a user can be reached. */
export interface Endpoint {
  /** 1-20, the endpoint's number within its user */
  readonly ordinal: number;
  readonly channel: string;
  /** the destination's name; null on channels without one */
  readonly destination: string | null;
  readonly address: string;
  readonly registeredAt: Date;
  readonly goneAt: Date | null;
  readonly goneReason: string | null;
}

export interface NewEndpoint {
  /** default: the destination's */
  readonly channel?: string | undefined;
  /** the destination's name */
  readonly destination?: string | undefined;
  /** default, but for devices: the user's id */
  readonly address?: string | undefined;
}

export const endpointsPerUser = 20;

/** An endpoint whose destination is there and whose address is one of its channel, in the form that is stored. */
export interface FoundEndpoint {
  readonly channel: string;
  readonly destinationId: number | null;
  readonly address: string;
}

/** An endpoint to be registered, of a user who was found. */
export interface WantedEndpoint extends FoundEndpoint, UserRef {
  /** RFC 6901 pointer to it in the request */
  readonly pointer: string;
}

/**
 * Registers endpoints, each exactly once: an address that is there already stays, one that was gone comes back. A device
 * that another user has moves: the newer registration holds.
 *
 * @param endpoints of users whose rows the caller has locked (`lockUsers`), and those of their `deviceOwners`
 * @param renew what is there is registered anew, which is what an app that registers at each start means; a file that is
 *   read again writes nothing
 * @returns the ordinal and whether it is new, for each in order
 * @throws too_many_endpoints when a user would have more than 20 at once; address_given_twice; `DeviceContended`
 */
export async function registerEndpoints(
  executor: Executor,
  endpoints: readonly WantedEndpoint[],
  renew: boolean,
): Promise<{ ordinal: number; created: boolean }[]> {
  const distinct = new Map(endpoints.map((endpoint) => [identityOf(endpoint), endpoint]));
  const wanted = [...distinct.values()];
  throwAny(sharedDevices(wanted).map(givenTwice));
  await pruneMovedDevices(executor, wanted);
  const wantedRows = `
       select index::int, w.user_number, w.hash_slot, w.channel, w.destination_id, w.address
       from unnest($1::bigint[], $2::int[], $3::text[], $4::int[], $5::text[]) with ordinality
         as w (user_number, hash_slot, channel, destination_id, address, index)`;
  const { rows } = await DeviceContended.orResult(
    executor.query<RegisteredRow>(registering(wantedRows, renew), [
      wanted.map((endpoint) => endpoint.userNumber),
      wanted.map((endpoint) => endpoint.hashSlot),
      wanted.map((endpoint) => endpoint.channel),
      wanted.map((endpoint) => endpoint.destinationId),
      wanted.map((endpoint) => endpoint.address),
    ]),
  );
  const registered = new Map(
    rows.flatMap((row) => {
      const endpoint = wanted[row.index - 1];
      return endpoint === undefined ? [] : [[identityOf(endpoint), row] as const];
    }),
  );
  const seen = new Set<string>();
  throwAny(wanted.filter((endpoint) => !registered.has(identityOf(endpoint))).map(tooMany));
  return endpoints.map((endpoint) => {
    const identity = identityOf(endpoint);
    const row = registered.get(identity);
    if (row === undefined) throw tooMany(endpoint);
    const created = row.created && !seen.has(identity);
    seen.add(identity);
    return { ordinal: row.ordinal, created };
  });
}

export interface RegisteredRow {
  readonly index: number;
  readonly ordinal: number;
  readonly created: boolean;
  /** it was gone */
  readonly returned: boolean;
}

/**
 * The statement that registers endpoints. An ordinal names an endpoint in the ledger, so those never used come first,
 * then the one gone for longest. Ordinals are dense, so nobody needs to be asked for all twenty: as many as were used,
 * and as many more as are wanted.
 *
 * @param wanted a query of (index, user_number, hash_slot, channel, destination_id, address), without repeats, of users
 *   whose rows are locked
 * @param renew also those that are there get a new `registered_at`. Then it doesn't matter what this statement saw of them:
 *   one that a reply prunes meanwhile (outcome.ts) comes back, since the update waits for that and is about the row as it
 *   is then
 * @returns SQL that gives a `RegisteredRow` for each that has found its ordinal
 */
export function registering(wanted: string, renew: boolean): string {
  return `with wanted as materialized (
       select w.*, carillon.address_key(w.channel, w.destination_id, w.address) as key from (${wanted}) as w
     ), known as materialized (
       select w.index, e.hash_slot, e.user_number, e.ordinal, e.gone_at
       from wanted w
       join carillon.endpoints e
         on e.user_number = w.user_number
        and carillon.address_key(e.channel, e.destination_id, e.address) = w.key
     ), returned as (
       update carillon.endpoints e
       set gone_at = null, gone_reason = null, registered_at = clock_timestamp(), zone = u.zone, locale = u.locale
       from known k join carillon.users u using (user_number)
       where ${renew ? "true" : "k.gone_at is not null"}
         and e.hash_slot = k.hash_slot and e.user_number = k.user_number and e.ordinal = k.ordinal
     ), fresh as materialized (
       select w.*, row_number() over (partition by w.user_number order by w.index) as nth,
              count(*) over (partition by w.user_number) as needed
       from wanted w
       where not exists (select from known k where k.index = w.index)
     ), free as (
       select f.user_number, o.ordinal, e.ordinal is not null as reused,
              row_number() over (
                partition by f.user_number order by e.ordinal is not null, e.gone_at, o.ordinal) as nth
       from (
         select f.user_number, f.hash_slot, f.needed, coalesce(max(e.ordinal), 0) as used
         from fresh f
         left join carillon.endpoints e on e.hash_slot = f.hash_slot and e.user_number = f.user_number
         where f.nth = 1
         group by 1, 2, 3
       ) as f
       cross join lateral generate_series(1, least(${endpointsPerUser}, f.used + f.needed)) as o (ordinal)
       left join carillon.endpoints e
         on e.hash_slot = f.hash_slot and e.user_number = f.user_number and e.ordinal = o.ordinal
       where e.ordinal is null
          or (e.gone_at is not null and not exists (
                select from known k where k.user_number = f.user_number and k.ordinal = o.ordinal))
     ), placed as (
       insert into carillon.endpoints
         (hash_slot, user_number, ordinal, channel, destination_id, address, zone, locale)
       select f.hash_slot, f.user_number, free.ordinal, f.channel, f.destination_id, f.address, u.zone, u.locale
       from fresh f
       join free using (user_number, nth)
       join carillon.users u using (user_number)
       order by f.hash_slot, f.user_number, free.ordinal
       on conflict (hash_slot, user_number, ordinal) do update set
         channel = excluded.channel, destination_id = excluded.destination_id, address = excluded.address,
         zone = excluded.zone, locale = excluded.locale, registered_at = clock_timestamp(),
         gone_at = null, gone_reason = null
     )
     select index, ordinal::int, false as created, gone_at is not null as returned from known
     union all
     select f.index, free.ordinal::int, true, false from fresh f join free using (user_number, nth)`;
}

/** An endpoint of a request, with its user's outside id. */
export interface EndpointRequest extends NewEndpoint {
  readonly userId: string;
  readonly pointer: string;
}

/**
 * Registers endpoints of any users, who are created where they are missing: one transaction, a constant number of
 * statements.
 *
 * @param addressRule what addresses may be
 * @throws unknown_destination, destination_mismatch, bad_address, too_many_endpoints, address_given_twice
 */
export function saveEndpoints(
  db: Database,
  requests: readonly EndpointRequest[],
  addressRule: AddressRule = canonicalAddress,
): Promise<{ userId: string; endpoint: Endpoint; created: boolean }[]> {
  return whileContended(() => saveOnce(db, requests, addressRule));
}

function saveOnce(db: Database, requests: readonly EndpointRequest[], addressRule: AddressRule) {
  return inTransaction(db, async (client) => {
    const destinations = await findDestinations(client, destinationNames(requests));
    const found = requests.map((request) => findEndpoint(request, destinations, addressRule, request.pointer));
    throwAny(found.filter((each) => each instanceof CarillonError));
    const userIds = [...new Set(requests.map((request) => request.userId))];
    const users = await findOrCreateUsers(
      client,
      userIds.map((userId) => ({ userId })),
    );
    const wanted = requests.flatMap(({ userId, pointer }, index) => {
      const endpoint = found[index];
      if (endpoint === undefined || endpoint instanceof CarillonError) return [];
      return [{ ...endpoint, ...refOf(users, userId), pointer }];
    });
    await lockUsers(client, [...users.values(), ...(await deviceOwners(client, wanted))]);
    const registered = await registerEndpoints(client, wanted, true);
    const stored = await readEndpoints(client, [...users.values()]);
    return requests.map(({ userId }, index) => {
      const { ordinal, created } = registered[index] ?? { ordinal: 0, created: false };
      const endpoint = stored.get(refOf(users, userId).userNumber)?.find((each) => each.ordinal === ordinal);
      if (endpoint === undefined) throw noEndpoint(userId, ordinal);
      return { userId, endpoint, created };
    });
  });
}

/**
 * A user's endpoints in the order of their ordinals, gone ones too.
 *
 * @throws unknown_user
 */
export async function listEndpoints(db: Database, userId: string): Promise<Endpoint[]> {
  const user = await findUser(db.pool, userId);
  return (await readEndpoints(db.pool, [user])).get(user.userNumber) ?? [];
}

/**
 * Takes an endpoint out of use. Its row stays, because the ledger knows it by its ordinal; deleting twice is the same.
 *
 * @throws unknown_user, unknown_endpoint
 */
export async function removeEndpoint(db: Database, userId: string, ordinal: number): Promise<Endpoint> {
  const user = await findUser(db.pool, userId);
  await db.pool.query(
    `update carillon.endpoints set gone_at = clock_timestamp(), gone_reason = 'removed'
     where hash_slot = $1 and user_number = $2 and ordinal = $3 and gone_at is null`,
    [user.hashSlot, user.userNumber, ordinal],
  );
  const endpoints = (await readEndpoints(db.pool, [user])).get(user.userNumber);
  const endpoint = endpoints?.find((each) => each.ordinal === ordinal);
  if (endpoint === undefined) throw noEndpoint(userId, ordinal);
  return endpoint;
}

/** The names of the destinations that endpoints refer to, without repeats. */
export function destinationNames(endpoints: readonly NewEndpoint[]): string[] {
  return [...new Set(endpoints.flatMap(({ destination }) => (destination === undefined ? [] : [destination])))];
}

/**
 * What an endpoint of a request means, or what is wrong with it: unknown_destination; destination_mismatch, since each
 * channel but memory has destinations, and they are of that channel; and what the rule says of the address.
 *
 * @param destinations those that `destinationNames` names, as far as they are there
 */
export function findEndpoint(
  endpoint: NewEndpoint & { readonly userId: string },
  destinations: ReadonlyMap<string, DestinationRef>,
  addressRule: AddressRule,
  pointer: string,
): FoundEndpoint | CarillonError {
  const { destination: name } = endpoint;
  const destination = name === undefined ? null : destinations.get(name);
  const channel = endpoint.channel ?? destination?.channel ?? "webhook";
  const atDestination = { pointer: `${pointer}/destination` };
  if ((channel === "memory") !== (name === undefined)) {
    const detail =
      name === undefined ? `A ${channel} endpoint needs a destination.` : `${channel} has no destinations.`;
    return new CarillonError("destination_mismatch", detail, atDestination);
  }
  if (destination === undefined) {
    const detail = `There is no destination named ${JSON.stringify(name)}.`;
    return new CarillonError("unknown_destination", detail, atDestination);
  }
  if (destination !== null && destination.channel !== channel) {
    const detail = `${JSON.stringify(name)} is a destination of ${destination.channel}, not of ${channel}.`;
    return new CarillonError("destination_mismatch", detail, atDestination);
  }
  const atAddress = { pointer: `${pointer}/address` };
  if (endpoint.address === undefined && isDeviceChannel(channel)) {
    return new CarillonError("bad_address", `A ${channel} endpoint needs an address.`, atAddress);
  }
  try {
    const address = addressRule(channel, endpoint.address ?? endpoint.userId);
    return { channel, destinationId: destination?.destinationId ?? null, address };
  } catch (error) {
    if (!(error instanceof CarillonError)) throw error;
    return new CarillonError(error.code, error.message, atAddress);
  }
}

async function readEndpoints(executor: Executor, users: readonly UserRef[]): Promise<Map<string, Endpoint[]>> {
  const { rows } = await executor.query<EndpointRow>(
    `select e.user_number, e.ordinal::int, e.channel, d.name as destination, e.address, e.registered_at, e.gone_at,
            e.gone_reason
     from unnest($1::int[], $2::bigint[]) as u (hash_slot, user_number)
     join carillon.endpoints e using (hash_slot, user_number)
     left join carillon.destinations d using (destination_id)
     order by e.user_number, e.ordinal`,
    [users.map((user) => user.hashSlot), users.map((user) => user.userNumber)],
  );
  return Map.groupBy(rows.map(endpointOf), (_, index) => rows[index]?.user_number ?? "");
}

interface EndpointRow extends Pick<Endpoint, "ordinal" | "channel" | "destination" | "address"> {
  readonly user_number: string;
  readonly registered_at: Date;
  readonly gone_at: Date | null;
  readonly gone_reason: string | null;
}

function endpointOf(row: EndpointRow): Endpoint {
  const { ordinal, channel, destination, address } = row;
  const { registered_at: registeredAt, gone_at: goneAt, gone_reason: goneReason } = row;
  return { ordinal, channel, destination, address, registeredAt, goneAt, goneReason };
}

/** What `carillon.address_key` makes of it, and whose it is. */
function identityOf(endpoint: WantedEndpoint): string {
  return `${endpoint.userNumber}:${endpoint.channel}:${endpoint.destinationId ?? ""}:${endpoint.address}`;
}

function givenTwice(endpoint: Pick<WantedEndpoint, "pointer">): CarillonError {
  const detail = "This device is given to another user in the same request.";
  return new CarillonError("address_given_twice", detail, { pointer: `${endpoint.pointer}/address` });
}

function refOf(users: ReadonlyMap<string, UserRef>, userId: string): UserRef {
  const user = users.get(userId);
  if (user === undefined) throw new CarillonError("internal", `User ${JSON.stringify(userId)} was not stored.`);
  return user;
}

export function tooMany(endpoint: Pick<WantedEndpoint, "pointer">): CarillonError {
  const detail = `A user can have ${endpointsPerUser} endpoints that are not gone.`;
  return new CarillonError("too_many_endpoints", detail, { pointer: endpoint.pointer });
}

function noEndpoint(userId: string, ordinal: number): CarillonError {
  return new CarillonError("unknown_endpoint", `User ${JSON.stringify(userId)} has no endpoint ${ordinal}.`);
}
