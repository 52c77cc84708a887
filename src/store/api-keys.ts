import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import { sql } from "kysely";
import { CarillonError } from "../errors.ts";
import type { Database } from "./database.ts";

/** `subscribe`: users, endpoints, mutes and subscriptions, and reading topics and places; `admin`: everything. */
export type Scope = "subscribe" | "admin";
export const scopes: readonly Scope[] = ["subscribe", "admin"];

export interface ApiKey {
  readonly keyId: number;
  readonly name: string;
  readonly scopes: readonly Scope[];
  readonly createdAt: Date;
  readonly revokedAt: Date | null;
  /** to the minute */
  readonly lastUsedAt: Date | null;
}

const tokenForm = /^ck_(\d{1,9})_([A-Za-z0-9_-]{43})$/;

/**
 * Makes a key. The token is in the reply and nowhere else: only its sha256 is stored, which is enough for 32 random
 * bytes (a slow hash protects passwords that can be guessed).
 *
 * @param key.name what people know it by, 1-100 characters
 * @returns the key's number and `ck_<keyId>_<43 characters of base64url>`
 */
export async function createKey(
  db: Database,
  key: { readonly name: string; readonly scopes: readonly Scope[] },
): Promise<{ keyId: number; token: string }> {
  const secret = randomBytes(32).toString("base64url");
  const { rows } = await sql<{ key_id: number }>`
    insert into carillon.api_keys (name, hash, scopes)
    values (${key.name}, ${hashOf(secret)}, ${[...key.scopes]}::text[])
    returning key_id`.execute(db.kysely);
  const [row] = rows;
  if (row === undefined) throw new CarillonError("internal", "The API key was not stored.");
  return { keyId: row.key_id, token: `ck_${row.key_id}_${secret}` };
}

/**
 * Finds the key that a token stands for, and notes that it was used.
 *
 * @returns null for anything but a token of a key that is stored and not revoked
 */
export async function findKey(db: Database, token: string): Promise<ApiKey | null> {
  const [, keyId, secret] = tokenForm.exec(token) ?? [];
  if (keyId === undefined || secret === undefined) return null;
  const { rows } = await sql<KeyRow & { hash: Buffer; stale: boolean }>`
    select ${keyColumns}, hash,
           last_used_at is null or last_used_at < clock_timestamp() - interval '1 minute' as stale
    from carillon.api_keys
    where key_id = ${keyId}::int and revoked_at is null`.execute(db.kysely);
  const [row] = rows;
  if (row === undefined || !timingSafeEqual(row.hash, hashOf(secret))) return null;
  if (row.stale) await noteUse(db, row.key_id);
  return keyOf(row);
}

/** At most once a minute: a row that each request writes would be the busiest row of the database. */
async function noteUse(db: Database, keyId: number): Promise<void> {
  await sql`
    update carillon.api_keys set last_used_at = clock_timestamp()
    where key_id = ${keyId}
      and (last_used_at is null or last_used_at < clock_timestamp() - interval '1 minute')`.execute(db.kysely);
}

/**
 * Ends a key: the next request with it is refused. Revoking twice keeps the first time.
 *
 * @throws unknown_api_key
 */
export async function revokeKey(db: Database, keyId: number): Promise<ApiKey> {
  const { rows } = await sql<KeyRow>`
    update carillon.api_keys set revoked_at = coalesce(revoked_at, clock_timestamp())
    where key_id = ${keyId}
    returning ${keyColumns}`.execute(db.kysely);
  const [row] = rows;
  if (row === undefined) throw new CarillonError("unknown_api_key", `There is no API key ${keyId}.`);
  return keyOf(row);
}

/** All keys, revoked ones too, oldest first. */
export async function listKeys(db: Database): Promise<readonly ApiKey[]> {
  const { rows } = await sql<KeyRow>`select ${keyColumns} from carillon.api_keys order by key_id`.execute(db.kysely);
  return rows.map(keyOf);
}

interface KeyRow {
  readonly key_id: number;
  readonly name: string;
  readonly scopes: readonly Scope[];
  readonly created_at: Date;
  readonly revoked_at: Date | null;
  readonly last_used_at: Date | null;
}

const keyColumns = sql`key_id, name, scopes, created_at, revoked_at, last_used_at`;

function keyOf(row: KeyRow): ApiKey {
  return {
    keyId: row.key_id,
    name: row.name,
    scopes: row.scopes,
    createdAt: row.created_at,
    revokedAt: row.revoked_at,
    lastUsedAt: row.last_used_at,
  };
}

function hashOf(secret: string): Buffer {
  return createHash("sha256").update(secret, "utf8").digest();
}
