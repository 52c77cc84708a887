import { readFileSync } from "node:fs";
import { createApp } from "./api/app.ts";
import { createHealthApp } from "./api/health.ts";
import { type ApiServer, startApi } from "./api/server.ts";
import type { Channel } from "./channels/channel.ts";
import { createChannels, createEvents, egressPolicy } from "./channels/channels.ts";
import { type Config, requireDatabaseUrl } from "./config.ts";
import { CarillonError } from "./errors.ts";
import type { Lifecycle } from "./lifecycle.ts";
import { type Logger, rateLimited } from "./logger.ts";
import { runPlanner } from "./planner/planner.ts";
import type { CutOptions } from "./store/cut.ts";
import { type Database, openDatabase } from "./store/database.ts";
import { assertMigrated } from "./store/migrate.ts";
import { adoptZoneData } from "./store/zone-data.ts";
import { startWatchdog } from "./worker/watchdog.ts";
import { startWorker, type Worker, workerConnections } from "./worker/worker.ts";

/** The composition root: puts the parts of a node together. Each part is stopped by the lifecycle, last one first. */

export const version = readVersion();
/** of the zone data that this process plans with */
const tzdata = process.versions.tz;

export interface NodeDeps {
  readonly config: Config;
  readonly lifecycle: Lifecycle;
  readonly logger: Logger;
}

/** A live node counts as dead, and is no longer counted on when moments are cut, after so many missed leases. */
const aliveLeases = 1;
const groupsPerNode = 4;
/** of the pool that plans, and of the one that its jobs run on */
const plannerPoolSize = 4;
/** How many connections to Postgres a node that serves the API opens at most. */
export const apiNodeConnections = 10;
const groupFloor = 500;
const cutBatch = 1000;

/** How many connections to Postgres a node that works, with so many slots, opens at most. */
export function workerNodeConnections(slots: number): number {
  return workerConnections(slots) + 2 * plannerPoolSize;
}

/** How a planning node with this configuration cuts moments into groups. */
export function cutOptions({ lease, planner }: Config): CutOptions {
  const { groupTarget } = planner;
  return { groupTarget, groupsPerNode, groupFloor, aliveMs: lease.leaseMs * aliveLeases, batch: cutBatch };
}

/**
 * The sending and the planning part of a node.
 * @param channels for tests; by default those that the configuration allows
 * @throws CarillonError schema_out_of_date, database_unavailable, bad_configuration
 */
export async function startWorkerNode(
  { config, lifecycle, logger }: NodeDeps,
  channels: readonly Channel[] = createChannels(config),
): Promise<Worker> {
  const databaseUrl = requireDatabaseUrl(config);
  const { leadMs, horizonMs } = config.planner;
  const { pollMs, drainMs } = config.worker;
  const faults = rateLimited(logger);
  const open = (part: string, max: number, lazyCommits = false): Database =>
    lifecycle.use(
      part,
      openDatabase({
        url: databaseUrl,
        applicationName: `carillon ${part} ${config.nodeName}`,
        max,
        lazyCommits,
        onError: (error) => faults.warn("pool", { err: error }, "a connection to Postgres broke"),
      }),
    );
  const db = open("planner", plannerPoolSize);
  await assertMigrated(db);
  const worker = lifecycle.use(
    "worker",
    await startWorker({
      ...config.lease,
      ...config.worker,
      databaseUrl,
      nodeName: config.nodeName,
      version,
      tzdata,
      secretKey: config.secretKey,
      channels,
      eventSender: createEvents(config),
      leadMs,
      logger,
    }),
  );
  // a loop that stands still for most of a lease can't know whether it still has it
  const watchdog = startWatchdog(Math.floor(config.lease.leaseMs * 0.75));
  lifecycle.onStop("watchdog", () => watchdog[Symbol.dispose]());
  if (tzdata !== undefined) await sayZoneData(db, tzdata, horizonMs, logger);
  const planner = runPlanner(
    {
      db,
      jobsDb: open("planner jobs", plannerPoolSize, true),
      options: { horizonMs, leadMs, pollMs, drainMs, tzdata },
      cut: cutOptions(config),
      logger,
      faults,
    },
    lifecycle.stopping,
  );
  lifecycle.onStop("planner", () => planner);
  return worker;
}

/** Newer zone data than other nodes' has schedules planned again; older is worth a word, since it plans old times. */
async function sayZoneData(db: Database, tzdata: string, horizonMs: number, logger: Logger): Promise<void> {
  const adopted = await adoptZoneData(db, tzdata, horizonMs);
  if (adopted.standing === "older") {
    logger.warn({ tzdata, newest: adopted.newest }, "this node's zone data is older than what has been used here");
  } else if (adopted.replanned > 0) {
    logger.info({ tzdata, schedules: adopted.replanned }, "schedules are planned again with newer zone data");
  }
}

/** Serves /livez and /readyz of a worker that has no API beside it, on the HTTP port. */
export async function startHealth(worker: Worker, { config, lifecycle, logger }: NodeDeps): Promise<ApiServer> {
  async function ready(): Promise<void> {
    if (!worker.ready) throw new CarillonError("database_unavailable", "Postgres does not answer the heartbeat.");
  }
  const app = createHealthApp({ ready, stopping: lifecycle.stopping }, logger);
  return lifecycle.use("health", await startApi(app, config.http));
}

/**
 * The HTTP API of a node.
 * @param openOnLoopback development: no key is asked for
 * @throws CarillonError schema_out_of_date, database_unavailable
 */
export async function startApiNode(
  { config, lifecycle, logger }: NodeDeps,
  { openOnLoopback = false }: { readonly openOnLoopback?: boolean } = {},
): Promise<ApiServer> {
  const faults = rateLimited(logger);
  const db = lifecycle.use(
    "api database",
    openDatabase({
      url: requireDatabaseUrl(config),
      applicationName: `carillon api ${config.nodeName}`,
      max: apiNodeConnections,
      onError: (error) => faults.warn("pool", { err: error }, "a connection to Postgres broke"),
    }),
  );
  await assertMigrated(db);
  const app = createApp({
    db,
    logger,
    secretKey: config.secretKey,
    egressPolicy: egressPolicy(config),
    planHorizonMs: config.planner.horizonMs,
    openOnLoopback,
    stopping: lifecycle.stopping,
  });
  const server = lifecycle.use("api", await startApi(app, config.http));
  logger.info({ url: server.url }, "api listening");
  return server;
}

function readVersion(): string {
  const parsed: unknown = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8"));
  return typeof parsed === "object" && parsed !== null && "version" in parsed ? String(parsed.version) : "unknown";
}
