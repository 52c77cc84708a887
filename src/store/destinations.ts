import { randomBytes } from "node:crypto";
import { CarillonError, unreachable } from "../errors.ts";
import type { Database } from "./database.ts";
import type { Executor } from "./executor.ts";
import { seal, unseal } from "./seal.ts";
import { asNameTaken } from "./topics.ts";

/** What identifies a destination at its provider, and isn't secret. */
export interface FcmSettings {
  readonly projectId: string;
  readonly clientEmail: string;
  readonly tokenUrl: string;
}
export interface ApnsSettings {
  readonly teamId: string;
  readonly keyId: string;
  readonly bundleId: string;
}
export interface WebPushSettings {
  /** `mailto:` or `https:` */
  readonly subject: string;
  /** base64url of 65 bytes */
  readonly publicKey: string;
}

/** A destination that an admin set up, without its secrets. */
export type StoredDestination = {
  readonly destinationId: number;
  readonly name: string;
  /** the receiver's, or the base of the provider's API; empty for web-push, where each endpoint has its own */
  readonly url: string;
  readonly disabledAt: Date | null;
  readonly disabledReason: string | null;
  readonly updatedAt: Date;
} & (StoredReceiver | Kind);

interface StoredReceiver {
  readonly channel: "webhook";
  readonly batchSize: number;
  /** how many secrets sign: two or more while they are rotated */
  readonly secretCount: number;
}

/** A push service's destination by its channel. */
type Kind =
  | ({ readonly channel: "fcm" } & FcmSettings)
  | ({ readonly channel: "apns" } & ApnsSettings)
  | ({ readonly channel: "web-push" } & WebPushSettings);

/** A destination with its secrets in the clear: in memory only. */
export type OpenDestination = {
  readonly destinationId: number;
  readonly name: string;
  readonly url: string;
  readonly disabledAt: Date | null;
} & (OpenReceiver | (Kind & { readonly privateKey: string }));

interface OpenReceiver {
  readonly channel: "webhook";
  /** `whsec_...`, newest first */
  readonly secrets: readonly string[];
  readonly batchSize: number;
}

/** Checked by the caller: the URL by `checkUrl`, the keys by src/channels/credentials.ts. */
export type NewDestination = { readonly name: string; readonly url: string } & (
  | NewReceiver
  | (Kind & { readonly privateKey: string })
);

interface NewReceiver {
  readonly channel?: "webhook";
  readonly batchSize: number;
  /** `whsec_...`; without one, one is generated and handed over in the reply */
  readonly secret?: string | undefined;
}

/** A secret that is handed over once: null when the caller brought it along. */
export interface WithNewSecret {
  readonly destination: StoredDestination;
  readonly newSecret: string | null;
}

/** A destination signs with so many secrets at most: enough to rotate twice before receivers have caught up. */
const secretsMax = 5;

/**
 * @param key 32 bytes, seals the secret
 * @throws name_taken, secret_key_missing
 */
export async function createDestination(
  db: Database,
  destination: NewDestination,
  key: Uint8Array | null,
): Promise<WithNewSecret> {
  const { name, url } = destination;
  const { channel, batchSize, settings, secret, newSecret } = partsOf(destination);
  const sealed = seal(secret, key, contextOf(name));
  try {
    const { rows } = await db.pool.query<DestinationRow>(
      `insert into carillon.destinations (name, url, sealed_secrets, batch_size, channel, settings)
       values ($1, $2, array[$3::bytea], $4, $5, $6)
       returning ${columns}`,
      [name, url, sealed, batchSize, channel, settings],
    );
    return { destination: one(rows, name), newSecret };
  } catch (error) {
    throw asNameTaken(error, "destination", name);
  }
}

/** How a new destination is laid out in its row. */
function partsOf(destination: NewDestination): {
  readonly channel: string;
  readonly batchSize: number;
  readonly settings: object;
  readonly secret: string;
  readonly newSecret: string | null;
} {
  switch (destination.channel) {
    case undefined:
    case "webhook": {
      const { batchSize, secret = generateSecret() } = destination;
      const newSecret = destination.secret === undefined ? secret : null;
      return { channel: "webhook", batchSize, settings: {}, secret, newSecret };
    }
    case "fcm": {
      const { channel, projectId, clientEmail, tokenUrl, privateKey } = destination;
      return pushParts(channel, { projectId, clientEmail, tokenUrl }, privateKey);
    }
    case "apns": {
      const { channel, teamId, keyId, bundleId, privateKey } = destination;
      return pushParts(channel, { teamId, keyId, bundleId }, privateKey);
    }
    case "web-push": {
      const { channel, subject, publicKey, privateKey } = destination;
      return pushParts(channel, { subject, publicKey }, privateKey);
    }
    default:
      return unreachable(destination);
  }
}

function pushParts(channel: string, settings: FcmSettings | ApnsSettings | WebPushSettings, secret: string) {
  return { channel, batchSize: 1, settings, secret, newSecret: null };
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

type ChangedSettings = {
  readonly [name in keyof (FcmSettings & ApnsSettings & WebPushSettings)]?: string | undefined;
};

export interface DestinationPatch {
  readonly url?: string | undefined;
  /** of a webhook */
  readonly batchSize?: number | undefined;
  /** of a webhook: a new first secret, `whsec_...` or one to be generated; the old ones go on signing until they are retired */
  readonly secret?: string | undefined;
  /** of a webhook: only the newest secret stays */
  readonly retireSecrets?: boolean | undefined;
  /** of a push service: those that are given replace those that are there */
  readonly settings?: ChangedSettings | undefined;
  /** of a push service: replaces the one that is there */
  readonly privateKey?: string | undefined;
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
  const newSecret = patch.secret === "generate" ? generateSecret() : (patch.secret ?? patch.privateKey ?? null);
  const sealed = newSecret === null ? null : seal(newSecret, key, contextOf(name));
  const onlyNewest = patch.retireSecrets === true || patch.privateKey !== undefined;
  const { rows } = await db.pool.query<DestinationRow>(
    `update carillon.destinations set
       url = coalesce($2, url),
       batch_size = coalesce($3, batch_size),
       sealed_secrets = (
         case when $4::bytea is null then sealed_secrets else array_prepend($4::bytea, sealed_secrets) end
       )[1:$5],
       settings = settings || $7::jsonb,
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
      onlyNewest ? 1 : secretsMax,
      patch.disabled ?? null,
      patch.settings ?? {},
    ],
  );
  const destination = one(rows, name);
  return { destination, newSecret: patch.secret === "generate" ? newSecret : null };
}

/** A destination as endpoints refer to it. */
export interface DestinationRef {
  readonly destinationId: number;
  readonly channel: string;
}

/** The destinations with these names; a name that is missing in the result is unknown. */
export async function findDestinations(
  executor: Executor,
  names: readonly string[],
): Promise<Map<string, DestinationRef>> {
  if (names.length === 0) return new Map();
  const { rows } = await executor.query<{ destination_id: number; channel: string; name: string }>(
    "select destination_id, channel, name from carillon.destinations where name = any($1::text[])",
    [names],
  );
  return new Map(rows.map((row) => [row.name, { destinationId: row.destination_id, channel: row.channel }]));
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
  return rows.map((row) => {
    const secrets = row.sealed_secrets.map((sealed) => unseal(sealed, key, contextOf(row.name)));
    const { destination_id: destinationId, name, url, disabled_at: disabledAt } = row;
    const common = { destinationId, name, url, disabledAt };
    if (row.channel === "webhook") return { ...common, channel: row.channel, secrets, batchSize: row.batch_size };
    const [privateKey = ""] = secrets;
    return { ...common, ...kindOf(row), privateKey };
  });
}

/** 32 random bytes in the form of Standard Webhooks. */
export function generateSecret(): string {
  return `whsec_${randomBytes(32).toString("base64")}`;
}

type DestinationRow = {
  readonly destination_id: number;
  readonly name: string;
  readonly url: string;
  readonly batch_size: number;
  readonly secret_count: number;
  readonly disabled_at: Date | null;
  readonly disabled_reason: string | null;
  readonly updated_at: Date;
} & ({ readonly channel: "webhook" } | PushRow);

/** Only what is written here is in `settings`. */
type PushRow =
  | { readonly channel: "fcm"; readonly settings: FcmSettings }
  | { readonly channel: "apns"; readonly settings: ApnsSettings }
  | { readonly channel: "web-push"; readonly settings: WebPushSettings };

const columns = `destination_id, name, channel, url, settings, batch_size, cardinality(sealed_secrets) as secret_count,
  disabled_at, disabled_reason, updated_at`;

function one(rows: readonly DestinationRow[], name: string): StoredDestination {
  const [row] = rows;
  if (row === undefined) {
    throw new CarillonError("not_found", `There is no destination named ${JSON.stringify(name)}.`);
  }
  return destinationOf(row);
}

function destinationOf(row: DestinationRow): StoredDestination {
  const { destination_id: destinationId, name, url } = row;
  const { disabled_at: disabledAt, disabled_reason: disabledReason, updated_at: updatedAt } = row;
  const kind: StoredReceiver | Kind =
    row.channel === "webhook"
      ? { channel: row.channel, batchSize: row.batch_size, secretCount: row.secret_count }
      : kindOf(row);
  return { destinationId, name, url, ...kind, disabledAt, disabledReason, updatedAt };
}

function kindOf(row: PushRow): Kind {
  switch (row.channel) {
    case "fcm":
      return { channel: row.channel, ...row.settings };
    case "apns":
      return { channel: row.channel, ...row.settings };
    case "web-push":
      return { channel: row.channel, ...row.settings };
    default:
      return unreachable(row);
  }
}

/** A sealed secret opens for the destination that it was made for and for no other. */
function contextOf(name: string): string {
  return `destination:${name}`;
}
