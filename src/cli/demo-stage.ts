import { randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startApiNode } from "../app.ts";
import type { ClockReading } from "../clock.ts";
import { readConfig } from "../config.ts";
import type { ProviderChannel } from "../fakes/receiver-log.ts";
import { type SpawnedProviders, spawnProviders } from "../fakes/spawned-providers.ts";
import { type SpawnedReceiver, spawnWebhookReceiver } from "../fakes/spawned-receiver.ts";
import type { Lifecycle } from "../lifecycle.ts";
import { createLogger } from "../logger.ts";
import { readClocks } from "../store/clock.ts";
import { type Database, openDatabase } from "../store/database.ts";
import { assertEmptyOrMarked, markDeployment } from "../store/deployment.ts";
import { migrate } from "../store/migrate.ts";
import { savePlaces } from "../store/places.ts";
import { PgClock } from "../worker/pg-clock.ts";
import { type ChildNode, spawnNode } from "./child-node.ts";
import { type ClockOptions, clockLine, liveBy } from "./clock-options.ts";
import { DemoClient } from "./demo-client.ts";
import { startEmbeddedPostgres } from "./embedded-postgres.ts";
import { type PlaceOfTheWorld, placesOfTheWorld } from "./places-of-the-world.ts";
import { say } from "./say.ts";

/** Everything that a demo is played on: Postgres with the places of the world, two nodes, a receiver and the API. */
export interface DemoStage {
  readonly db: Database;
  readonly places: readonly PlaceOfTheWorld[];
  readonly nodes: readonly ChildNode[];
  readonly receiver: SpawnedReceiver;
  /** the receiver's log */
  readonly logFile: string;
  /** providers of push, where any were asked for, and their log */
  readonly providers: { readonly running: SpawnedProviders; readonly logFile: string } | null;
  readonly client: DemoClient;
  /** deliveries that one worker may have under way */
  readonly window: number;
  readonly clock: PgClock;
  /** Has the stage live by another clock from now on. */
  setClock(options: ClockOptions): Promise<ClockReading>;
}

/** The demo's nodes plan and poll more often than a production's, so that it is over sooner; leases are the real ones. */
export const demoLeadMs = 4000;
const nodeEnvironment = { CARILLON_POLL_MS: "500", LOG_LEVEL: "warn" };
const receiverDelayMs = 20;
export const nodeNames = ["node-1", "node-2"] as const;

/**
 * @param databaseUrl null: a Postgres of its own
 * @throws CarillonError not_a_demo_database where that holds anything else
 */
export async function buildStage(
  lifecycle: Lifecycle,
  {
    databaseUrl,
    clock: clockOptions,
    leadMs = demoLeadMs,
    pushChannels = [],
  }: {
    readonly databaseUrl: string | null;
    readonly clock: ClockOptions;
    readonly leadMs?: number;
    readonly pushChannels?: readonly ProviderChannel[];
  },
): Promise<DemoStage> {
  const url = databaseUrl ?? (await startDatabase(lifecycle));
  const directory = await mkdtemp(join(tmpdir(), "carillon-demo-"));
  lifecycle.onStop("logs", () => rm(directory, { recursive: true, force: true }));
  const providers = await startProviders(lifecycle, pushChannels, directory);
  const environment = {
    ...nodeEnvironment,
    ...(providers === null ? {} : { CARILLON_CA_FILE: providers.caFile }),
    CARILLON_LEAD_MS: String(leadMs),
    DATABASE_URL: url,
    CARILLON_SECRET_KEY: randomBytes(32).toString("base64"),
    CARILLON_ALLOW_LOOPBACK: "true",
  };
  const config = readConfig({ ...environment, PORT: "0", CARILLON_NODE_NAME: "api" });
  const logger = createLogger(config.logLevel, "demo");
  const db = lifecycle.use(
    "database",
    openDatabase({ url, applicationName: "carillon demo", max: 4, statementTimeoutMs: 60_000 }),
  );
  await assertEmptyOrMarked(db.pool, "demo");
  await migrate(url);
  await markDeployment(db.pool, "demo");
  const clock = new PgClock();
  const setClock = async (options: ClockOptions) => {
    const reading = await liveBy(db.pool, options);
    say(clockLine(reading));
    await clock.sample(() => readClocks(db.pool));
    return reading;
  };
  await setClock(clockOptions);

  const places = placesOfTheWorld();
  await savePlaces(db, places, (index) => `/places/${index}`);
  say(`Imported ${places.length} cities of the world as places.`);

  const logFile = join(directory, "received.ndjson");
  const receiver = lifecycle.use("receiver", await spawnWebhookReceiver({ logFile, delayMs: receiverDelayMs }));
  const nodes = await Promise.all(
    nodeNames.map(async (name) =>
      lifecycle.use(
        name,
        await spawnNode({ verb: "worker", env: { ...environment, PORT: "0", CARILLON_NODE_NAME: name } }),
      ),
    ),
  );
  const also = pushChannels.length === 0 ? "" : `, and the push services ${pushChannels.join(", ")}`;
  say(`Started ${nodes.length} nodes and a receiver that answers after ${receiverDelayMs} ms${also}.`);

  const api = await startApiNode({ config, lifecycle, logger }, { openOnLoopback: true });
  const client = new DemoClient(api.url, randomBytes(3).toString("hex"), lifecycle.stopping);
  return { db, places, nodes, receiver, logFile, providers, client, window: config.worker.window, clock, setClock };
}

/** Fakes that speak the providers' protocols over TLS, with an authority of their own. */
async function startProviders(lifecycle: Lifecycle, channels: readonly ProviderChannel[], directory: string) {
  if (channels.length === 0) return null;
  const [logFile, caFile] = [join(directory, "pushed.ndjson"), join(directory, "ca.pem")];
  const running = lifecycle.use(
    "push services",
    await spawnProviders({ channels, logFile, caFile, delayMs: receiverDelayMs }),
  );
  return { running, logFile, caFile };
}

async function startDatabase(lifecycle: Lifecycle): Promise<string> {
  say("Starting Postgres.");
  // durable as in production: what is measured and killed here is the real thing
  const server = lifecycle.use(
    "Postgres",
    await startEmbeddedPostgres({ settings: { fsync: "on", synchronous_commit: "on", full_page_writes: "on" } }),
  );
  return server.url();
}
