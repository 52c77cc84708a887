import type { Destination } from "../channels/channel.ts";
import { createChannels } from "../channels/channels.ts";
import type { Database } from "../store/database.ts";
import { listDestinations, openDestinations, type StoredDestination } from "../store/destinations.ts";
import type { Finding, Patient } from "./doctor.ts";

const pageSize = 200;
/** Looking at a destination takes a few round trips; more than this is a fault of its own. */
const probeMs = 10_000;
/** Destinations at once: they are other machines' work, and an operator waits. */
const probesAtOnce = 8;

/** Whether the secret key is there and opens what was sealed. */
export async function checkSecrets({ db, config }: Patient): Promise<readonly Finding[]> {
  const check = "secrets";
  const stored = await allDestinations(db);
  if (config.secretKey === null) {
    const toDo = "Set CARILLON_SECRET_KEY (`openssl rand -base64 32` makes one), the same on all nodes.";
    if (stored.length > 0) return [{ check, state: "problem", found: "CARILLON_SECRET_KEY is not set", toDo }];
    return [{ check, state: "note", found: "CARILLON_SECRET_KEY is not set; there is no destination yet" }];
  }
  const sealedOtherwise: string[] = [];
  for (const { destinationId, name } of stored) {
    const opens = await openDestinations(db.pool, [destinationId], config.secretKey).then(
      () => true,
      () => false,
    );
    if (!opens) sealedOtherwise.push(name);
  }
  if (sealedOtherwise.length === 0) {
    return [{ check, state: "ok", found: `the key opens those of ${stored.length} destinations` }];
  }
  const found = `sealed under another key: ${sealedOtherwise.join(", ")}`;
  const toDo = "Start nodes with the key that they were sealed under, or give each a new secret (docs/operating.md).";
  return [{ check, state: "problem", found, toDo }];
}

/** Each destination by its channel's own look; one that is disabled is not bothered. */
export async function checkDestinations({ db, config }: Patient): Promise<readonly Finding[]> {
  const stored = await allDestinations(db);
  if (stored.length === 0) return [{ check: "destinations", state: "note", found: "there are none" }];
  const channels = createChannels(config);
  const findings: Finding[] = [];
  try {
    for (let from = 0; from < stored.length; from += probesAtOnce) {
      const some = stored.slice(from, from + probesAtOnce);
      findings.push(...(await Promise.all(some.map((destination) => lookAt(destination)))));
    }
  } finally {
    await Promise.all(channels.map((channel) => channel.close()));
  }
  return findings;

  async function lookAt({ destinationId, name, disabledAt, disabledReason }: StoredDestination): Promise<Finding> {
    const check = `destination ${name}`;
    if (disabledAt !== null) {
      return { check, state: "note", found: `disabled: ${disabledReason ?? "no reason was given"}` };
    }
    const opened = await openDestinations(db.pool, [destinationId], config.secretKey).catch(() => []);
    const [destination] = opened;
    if (destination === undefined) return { check, state: "skipped", found: "its secret can't be opened" };
    return probe(check, destination);
  }

  async function probe(check: string, destination: Destination): Promise<Finding> {
    const channel = channels.find(({ name }) => name === destination.channel);
    if (channel?.probe === undefined)
      return { check, state: "skipped", found: `nothing looks at ${destination.channel} yet` };
    const result = await channel.probe(destination, AbortSignal.timeout(probeMs));
    const found = `${destination.channel}: ${result.found}`;
    return result.well ? { check, state: "ok", found } : { check, state: "problem", found, toDo: result.toDo };
  }
}

async function allDestinations(db: Database): Promise<readonly StoredDestination[]> {
  const all: StoredDestination[] = [];
  for (;;) {
    const page = await listDestinations(db, { after: all.at(-1)?.name ?? null, limit: pageSize });
    all.push(...page);
    if (page.length < pageSize) return all;
  }
}
