import { CarillonError } from "../errors.ts";
import { deviceChannels, isDeviceChannel } from "../reminder/address.ts";
import { codeOf } from "./database.ts";
import type { Executor } from "./executor.ts";
import type { UserRef } from "./users.ts";

/*
 * A device (an app's token, a browser's subscription) belongs to one user at a time: people hand phones on, and sign out
 * and in as somebody else. Who registers it last has it, and the other's endpoint is pruned; else one person would read
 * another's reminders. The index endpoints_by_device holds it, at a quarter more work of inserting a device (5 us and 73 bytes of
 * WAL each); other endpoints are not in it and cost what they did.
 *
 * Interleavings of two that register one device, A for Ada and B for Bob:
 * - A is committed before B's prune begins: B's prune sees Ada's endpoint and takes it out of use.
 * - A is committed between B's prune and B's insert, or while B's insert waits for it: the index refuses B's insert. B begins
 *   again (`DeviceContended`) and now sees it.
 * - A and B register several and wait for each other in a circle: Postgres ends one of them, which begins again.
 * Either way the one that is committed last has it.
 */

/** Endpoints as far as devices go. */
interface Device {
  readonly channel: string;
  readonly destinationId: number | null;
  readonly address: string;
}

export const movedReason = "moved to another user";

const isDevice = `channel in (${deviceChannels.map((channel) => `'${channel}'`).join(", ")})`;

/**
 * The endpoints in use, as `e`, that are on devices of `wanted` (a relation with channel, destination_id, address).
 * What is said of `e` is what the index demands, in its words.
 */
const onDevicesOf = (wanted: string) => `
  carillon.endpoints e
  join ${wanted} w
    on carillon.address_key(e.channel, e.destination_id, e.address)
     = carillon.address_key(w.channel, w.destination_id, w.address)
   and w.${isDevice} and e.${isDevice} and e.gone_at is null`;

/** A query of the user numbers that have devices of `wanted`. */
export const ownersOf = (wanted: string) => `select e.user_number from ${onDevicesOf(wanted)}`;

/**
 * The statement that takes devices from those who have them.
 *
 * @param wanted a relation of (user_number, channel, destination_id, address), no device twice, of users whose rows are
 *   locked, as are those of the owners
 */
export const pruneMoved = (wanted: string) => `
  update carillon.endpoints p set gone_at = clock_timestamp(), gone_reason = '${movedReason}'
  from (
    select e.hash_slot, e.user_number, e.ordinal from ${onDevicesOf(wanted)} where e.user_number <> w.user_number
  ) as m
  where p.hash_slot = m.hash_slot and p.user_number = m.user_number and p.ordinal = m.ordinal and p.gone_at is null`;

const given = `unnest($1::bigint[], $2::text[], $3::int[], $4::text[])`;
const wantedArrays = `(select * from ${given} as w (user_number, channel, destination_id, address))`;

/** Who has these devices now, to be locked together with those who are to have them, in the order of their numbers. */
export async function deviceOwners(executor: Executor, endpoints: readonly Device[]): Promise<UserRef[]> {
  const devices = endpoints.filter(({ channel }) => isDeviceChannel(channel));
  if (devices.length === 0) return [];
  const { rows } = await executor.query<{ user_number: string; hash_slot: number }>(
    `select user_number, hash_slot from carillon.users where user_number in (${ownersOf(wantedArrays)})`,
    columnsOf(devices.map((device) => ({ ...device, userNumber: null }))),
  );
  return rows.map((row) => ({ userNumber: row.user_number, hashSlot: row.hash_slot }));
}

/** Takes these devices from other users. */
export async function pruneMovedDevices(
  executor: Executor,
  endpoints: readonly (Device & Pick<UserRef, "userNumber">)[],
): Promise<void> {
  const devices = endpoints.filter(({ channel }) => isDeviceChannel(channel));
  if (devices.length > 0) await executor.query(pruneMoved(wantedArrays), columnsOf(devices));
}

/** Those whose device is given to another user earlier in the list: which of the two is the newer one isn't said. */
export function sharedDevices<T extends Device & Pick<UserRef, "userNumber">>(endpoints: readonly T[]): T[] {
  const users = new Map<string, string>();
  return endpoints.filter((endpoint) => {
    if (!isDeviceChannel(endpoint.channel)) return false;
    const device = `${endpoint.destinationId}:${endpoint.address}`;
    const user = users.get(device) ?? endpoint.userNumber;
    users.set(device, user);
    return user !== endpoint.userNumber;
  });
}

/** Somebody else was registering the same device: the transaction can only begin again. */
export class DeviceContended extends Error {
  override readonly name = "DeviceContended";

  /** @throws DeviceContended, or what else the statement throws */
  static async orResult<T>(statement: Promise<T>): Promise<T> {
    try {
      return await statement;
    } catch (error) {
      throw isContended(error) ? new DeviceContended("a device was registered by another", { cause: error }) : error;
    }
  }
}

/** Each time somebody else has got on, so this many are never needed. */
export const contendedMax = 50;

/**
 * Again until nobody is in the way.
 *
 * @throws database_unavailable when there is no end to it
 */
export async function whileContended<T>(run: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await run();
    } catch (error) {
      if (!(error instanceof DeviceContended)) throw error;
      if (tries >= contendedMax) {
        throw new CarillonError("database_unavailable", "Too many register the same devices.", { cause: error });
      }
    }
  }
}

const uniqueViolation = "23505";
const deadlock = "40P01";

function isContended(error: unknown): boolean {
  const code = codeOf(error);
  if (code === deadlock) return true;
  const constraint = error instanceof Error && "constraint" in error ? error.constraint : undefined;
  return code === uniqueViolation && constraint === "endpoints_by_device";
}

function columnsOf(devices: readonly (Device & { readonly userNumber: string | null })[]): unknown[] {
  return [
    devices.map(({ userNumber }) => userNumber),
    devices.map(({ channel }) => channel),
    devices.map(({ destinationId }) => destinationId),
    devices.map(({ address }) => address),
  ];
}
