import { CarillonError } from "../errors.ts";
import type { Database } from "./database.ts";
import { type Executor, inTransaction } from "./executor.ts";

export interface User {
  /** the outside id */
  readonly userId: string;
  /** IANA zone */
  readonly zone: string | null;
  /** BCP 47 */
  readonly locale: string | null;
  readonly createdAt: Date;
}

/** A user's position: what everything else refers to. */
export interface UserRef {
  /** bigint */
  readonly userNumber: string;
  readonly hashSlot: number;
}

export interface WantedUser {
  readonly userId: string;
  /** left out: stays as it is */
  readonly zone?: string | undefined;
  readonly locale?: string | undefined;
}

/**
 * Finds the users with these outside ids and creates those who are missing, in a constant number of statements.
 *
 * Lock order (all transactions of the API take locks in this order, and so never wait for each other in a circle): new
 * users by outside id; user rows by number; endpoints; new schedules by topic and rule; subscriptions by position; jobs.
 *
 * @param users ids without repeats
 * @returns every user's position by outside id
 */
export async function findOrCreateUsers(
  executor: Executor,
  users: readonly WantedUser[],
): Promise<Map<string, UserRef>> {
  const userIds = users.map((user) => user.userId);
  const found = await findUsers(executor, userIds);
  const missing = users.filter((user) => !found.has(user.userId));
  if (missing.length === 0) return found;
  const { rows } = await executor.query<UserRefRow>(
    `insert into carillon.users (user_id, zone, locale)
     select * from unnest($1::text[], $2::text[], $3::text[]) as n (user_id, zone, locale)
     order by n.user_id
     on conflict (user_id) do nothing
     returning user_id, user_number, hash_slot`,
    [
      missing.map((user) => user.userId),
      missing.map((user) => user.zone ?? null),
      missing.map((user) => user.locale ?? null),
    ],
  );
  for (const row of rows) found.set(row.user_id, refOf(row));
  if (rows.length === missing.length) return found;
  // the rest was created by somebody else since we looked: the insert has waited for them, so they are there now
  const late = missing.map((user) => user.userId).filter((userId) => !found.has(userId));
  for (const [userId, ref] of await findUsers(executor, late)) found.set(userId, ref);
  return found;
}

/** Positions of the users that exist, by outside id. */
export async function findUsers(executor: Executor, userIds: readonly string[]): Promise<Map<string, UserRef>> {
  const { rows } = await executor.query<UserRefRow>(
    "select user_id, user_number, hash_slot from carillon.users where user_id = any($1::text[])",
    [userIds],
  );
  return new Map(rows.map((row) => [row.user_id, refOf(row)]));
}

/** The zones of those of the users who exist and have one, by outside id. */
export async function zonesOf(executor: Executor, userIds: readonly string[]): Promise<Map<string, string>> {
  if (userIds.length === 0) return new Map();
  const { rows } = await executor.query<{ user_id: string; zone: string }>(
    "select user_id, zone from carillon.users where user_id = any($1::text[]) and zone is not null",
    [userIds],
  );
  return new Map(rows.map((row) => [row.user_id, row.zone]));
}

/** @throws unknown_user */
export async function findUser(executor: Executor, userId: string): Promise<UserRef> {
  const user = (await findUsers(executor, [userId])).get(userId);
  if (user === undefined) throw noUser(userId);
  return user;
}

/**
 * Takes the users' rows in the order of their numbers: whoever hands out something per user (endpoints' ordinals) or
 * copies something from user to endpoints comes through here, and so one after the other for one user.
 */
export async function lockUsers(executor: Executor, users: Iterable<UserRef>): Promise<void> {
  const userNumbers = [...users].map((user) => user.userNumber);
  await executor.query(
    "select from carillon.users where user_number = any($1::bigint[]) order by user_number for no key update",
    [userNumbers],
  );
}

/**
 * Sets zone and locale of users whose rows the caller has locked, and copies them to their endpoints, where sending
 * reads them. What is left out stays as it is.
 */
export async function setZones(
  executor: Executor,
  users: readonly (UserRef & Pick<WantedUser, "zone" | "locale">)[],
): Promise<void> {
  const columns = [
    users.map((user) => user.userNumber),
    users.map((user) => user.hashSlot),
    users.map((user) => user.zone ?? null),
    users.map((user) => user.locale ?? null),
  ];
  // one statement, so that a user and his endpoints can't be told apart; only rows that change are written
  await executor.query(
    `with given as materialized (
       select * from unnest($1::bigint[], $2::int[], $3::text[], $4::text[]) as g (user_number, hash_slot, zone, locale)
     ), copied as (
       update carillon.endpoints e set zone = coalesce(g.zone, e.zone), locale = coalesce(g.locale, e.locale)
       from given g
       where e.hash_slot = g.hash_slot and e.user_number = g.user_number
         and (e.zone, e.locale) is distinct from (coalesce(g.zone, e.zone), coalesce(g.locale, e.locale))
     )
     update carillon.users u set zone = coalesce(g.zone, u.zone), locale = coalesce(g.locale, u.locale)
     from given g
     where u.user_number = g.user_number
       and (u.zone, u.locale) is distinct from (coalesce(g.zone, u.zone), coalesce(g.locale, u.locale))`,
    columns,
  );
}

/**
 * Makes the user if there is none, and replaces zone and locale with what is given (null: none), at the endpoints too.
 *
 * @param settings.zone a known IANA zone, which the caller has checked
 */
export function saveUser(
  db: Database,
  userId: string,
  settings: { readonly zone: string | null; readonly locale: string | null },
): Promise<User & { readonly created: boolean }> {
  const { zone, locale } = settings;
  return inTransaction(db, async (client) => {
    const { rows } = await client.query<UserRow & UserRefRow & { created: boolean }>(
      `insert into carillon.users as u (user_id, zone, locale) values ($1, $2, $3)
       on conflict (user_id) do update set zone = excluded.zone, locale = excluded.locale
       returning user_id, zone, locale, created_at, user_number, hash_slot, u.xmax = 0 as created`,
      [userId, zone, locale],
    );
    const row = one(rows, userId);
    await client.query(
      `update carillon.endpoints set zone = $3, locale = $4
       where hash_slot = $1 and user_number = $2 and (zone, locale) is distinct from ($3, $4)`,
      [row.hash_slot, row.user_number, zone, locale],
    );
    return { ...userOf(row), created: row.created };
  });
}

/** @throws unknown_user */
export async function readUser(db: Database, userId: string): Promise<User> {
  const { rows } = await db.pool.query<UserRow>(
    "select user_id, zone, locale, created_at from carillon.users where user_id = $1",
    [userId],
  );
  return userOf(one(rows, userId));
}

interface UserRow {
  readonly user_id: string;
  readonly zone: string | null;
  readonly locale: string | null;
  readonly created_at: Date;
}

interface UserRefRow {
  readonly user_id: string;
  readonly user_number: string;
  readonly hash_slot: number;
}

function refOf(row: UserRefRow): UserRef {
  return { userNumber: row.user_number, hashSlot: row.hash_slot };
}

function userOf(row: UserRow): User {
  return { userId: row.user_id, zone: row.zone, locale: row.locale, createdAt: row.created_at };
}

function one<T>(rows: readonly T[], userId: string): T {
  const [row] = rows;
  if (row === undefined) throw noUser(userId);
  return row;
}

function noUser(userId: string): CarillonError {
  return new CarillonError("unknown_user", `There is no user ${JSON.stringify(userId)}.`);
}
