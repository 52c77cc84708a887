import { randomBytes } from "node:crypto";
import { CarillonError } from "../errors.ts";
import type { Database } from "./database.ts";
import type { Executor } from "./executor.ts";
import { seal, unseal } from "./seal.ts";
import { asNameTaken } from "./topics.ts";

/** A webhook receiver that an admin set up, without its secrets. */
export interface StoredDestination {
  readonly destinationId: number;
  readonly name: string;
  readonly url: string;
  readonly batchSize: number;
  /** how many secrets sign: two or more while they are rotated */
  readonly secretCount: number;
  readonly disabledAt: Date | null;
  readonly disabledReason: string | null;
  readonly updatedAt: Date;
}

/** A destination with its secrets in the clear: in memory only. */
export interface OpenDestination {
  readonly channel: "webhook";
  readonly destinationId: number;
  readonly name: string;
  readonly url: string;
  /** `whsec_...`, newest first */
  readonly secrets: readonly string[];
  readonly batchSize: number;
  readonly disabledAt: Date | null;
}

/** A secret that is handed over once: null when the caller brought it along. */
export interface WithNewSecret {
  readonly destination: StoredDestination;
  readonly newSecret: string | null;
}

/** A destination signs with so many secrets at most: enough to rotate twice before receivers have caught up. */
const secretsMax = 5;

/**
 * @param destination.url checked by the caller (`checkUrl`)
 * @param destination.secret `whsec_...`; without one, one is generated and handed over in the reply
 * @param key 32 bytes, seals the secret
 * @throws name_taken, secret_key_missing
 */
export async function createDestination(
  db: Database,
  destination: {
    readonly name: string;
    readonly url: string;
    readonly batchSize: number;
    readonly secret?: string | undefined;
  },
  key: Uint8Array | null,
): Promise<WithNewSecret> {
  const { name, url, batchSize } = destination;
  const secret = destination.secret ?? generateSecret();
  const sealed = seal(secret, key, contextOf(name));
  try {
    const { rows } = await db.pool.query<DestinationRow>(
      `insert into carillon.destinations (name, url, sealed_secrets, batch_size) values ($1, $2, array[$3::bytea], $4)
       returning ${columns}`,
      [name, url, sealed, batchSize],
    );
    return { destination: one(rows, name), newSecret: destination.secret === undefined ? secret : null };
  } catch (error) {
    throw asNameTaken(error, "destination", name);
  }
}

/** @throws not_found */
export async function readDestination(db: Database, name: string): Promise<StoredDestination> {
  const { rows } = await db.pool.query<DestinationRow>(`select ${columns} from carillon.destinations where name = $1`, [
    name,
  ]);
  return one(rows, name);
}

/** Destinations in the order of their names, beginning behind `after`. */
export async function listDestinations(
  db: Database,
  page: { after: string | null; limit: number },
): Promise<StoredDestination[]> {
  const { rows } = await db.pool.query<DestinationRow>(
    `select ${columns} from carillon.destinations where name > $1 order by name limit $2`,
    [page.after ?? "", page.limit],
  );
  return rows.map(destinationOf);
}

export interface DestinationPatch {
  readonly url?: string | undefined;
  readonly batchSize?: number | undefined;
  /** a new first secret, `whsec_...` or one to be generated; the old ones go on signing until they are retired */
  readonly secret?: string | undefined;
  /** only the newest secret stays */
  readonly retireSecrets?: boolean | undefined;
  readonly disabled?: boolean | undefined;
}

/**
 * Changes a destination. Disabling an already disabled one keeps the time and the reason of the first.
 *
 * @param patch.secret "generate" for one of ours, which is handed over in the reply
 * @throws not_found, secret_key_missing
 */
export async function patchDestination(
  db: Database,
  name: string,
  patch: DestinationPatch,
  key: Uint8Array | null,
): Promise<WithNewSecret> {
  const newSecret = patch.secret === "generate" ? generateSecret() : (patch.secret ?? null);
  const sealed = newSecret === null ? null : seal(newSecret, key, contextOf(name));
  const { rows } = await db.pool.query<DestinationRow>(
    `update carillon.destinations set
       url = coalesce($2, url),
       batch_size = coalesce($3, batch_size),
       sealed_secrets = (
         case when $4::bytea is null then sealed_secrets else array_prepend($4::bytea, sealed_secrets) end
       )[1:$5],
       disabled_at = case $6::boolean when true then coalesce(disabled_at, clock_timestamp())
                                      when false then null else disabled_at end,
       disabled_reason = case $6::boolean when true then coalesce(disabled_reason, 'by an admin')
                                          when false then null else disabled_reason end,
       updated_at = clock_timestamp()
     where name = $1
     returning ${columns}`,
    [
      name,
      patch.url ?? null,
      patch.batchSize ?? null,
      sealed,
      patch.retireSecrets === true ? 1 : secretsMax,
      patch.disabled ?? null,
    ],
  );
  const destination = one(rows, name);
  return { destination, newSecret: patch.secret === "generate" ? newSecret : null };
}

/** The numbers of the destinations with these names; a name that is missing in the result is unknown. */
export async function findDestinations(executor: Executor, names: readonly string[]): Promise<Map<string, number>> {
  if (names.length === 0) return new Map();
  const { rows } = await executor.query<{ destination_id: number; name: string }>(
    "select destination_id, name from carillon.destinations where name = any($1::text[])",
    [names],
  );
  return new Map(rows.map((row) => [row.name, row.destination_id]));
}

/**
 * Destinations with their secrets, for those who sign.
 *
 * @param destinationIds unknown ones are left out
 * @throws secret_key_missing when they were sealed under another key
 */
export async function openDestinations(
  executor: Executor,
  destinationIds: readonly number[],
  key: Uint8Array | null,
): Promise<OpenDestination[]> {
  const { rows } = await executor.query<DestinationRow & { sealed_secrets: Buffer[] }>(
    `select ${columns}, sealed_secrets from carillon.destinations where destination_id = any($1::int[])
     order by destination_id`,
    [destinationIds],
  );
  return rows.map((row) => ({
    channel: "webhook",
    destinationId: row.destination_id,
    name: row.name,
    url: row.url,
    secrets: row.sealed_secrets.map((sealed) => unseal(sealed, key, contextOf(row.name))),
    batchSize: row.batch_size,
    disabledAt: row.disabled_at,
  }));
}

/** 32 random bytes in the form of Standard Webhooks. */
export function generateSecret(): string {
  return `whsec_${randomBytes(32).toString("base64")}`;
}

interface DestinationRow {
  readonly destination_id: number;
  readonly name: string;
  readonly url: string;
  readonly batch_size: number;
  readonly secret_count: number;
  readonly disabled_at: Date | null;
  readonly disabled_reason: string | null;
  readonly updated_at: Date;
}

const columns = `destination_id, name, url, batch_size, cardinality(sealed_secrets) as secret_count, disabled_at,
  disabled_reason, updated_at`;

function one(rows: readonly DestinationRow[], name: string): StoredDestination {
  const [row] = rows;
  if (row === undefined) {
    throw new CarillonError("not_found", `There is no destination named ${JSON.stringify(name)}.`);
  }
  return destinationOf(row);
}

function destinationOf(row: DestinationRow): StoredDestination {
  return {
    destinationId: row.destination_id,
    name: row.name,
    url: row.url,
    batchSize: row.batch_size,
    secretCount: row.secret_count,
    disabledAt: row.disabled_at,
    disabledReason: row.disabled_reason,
    updatedAt: row.updated_at,
  };
}

/** A sealed secret opens for the destination that it was made for and for no other. */
function contextOf(name: string): string {
  return `destination:${name}`;
}
