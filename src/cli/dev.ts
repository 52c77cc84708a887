import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { chmod, readFile, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { Command, InvalidArgumentError } from "commander";
import { startApiNode } from "../app.ts";
import { type ClockReading, clockAt } from "../clock.ts";
import { readConfig } from "../config.ts";
import { CarillonError } from "../errors.ts";
import { spawnWebhookReceiver } from "../fakes/spawned-receiver.ts";
import { type Lifecycle, runUntilSignal, untilAborted } from "../lifecycle.ts";
import { createLogger } from "../logger.ts";
import { type Database, openDatabase } from "../store/database.ts";
import { assertEmptyOrMarked, markDeployment } from "../store/deployment.ts";
import { createDestination, patchDestination } from "../store/destinations.ts";
import { migrate } from "../store/migrate.ts";
import { savePlaces } from "../store/places.ts";
import { createTopic } from "../store/topics.ts";
import { spawnNode } from "./child-node.ts";
import { type ClockOptions, clockLine, instantOption, liveBy, speedOption } from "./clock-options.ts";
import { devDirectory } from "./dev-directory.ts";
import { startEmbeddedPostgres } from "./embedded-postgres.ts";
import { placesOfTheWorld } from "./places-of-the-world.ts";

interface DevOptions extends ClockOptions {
  readonly port: number;
  readonly dbDir: string;
  readonly json?: true;
  readonly verbose?: true;
}

const host = "127.0.0.1";
const topicName = "demo";
const destinationName = "dev";
/** Far enough ahead, in real time, to copy the line and to be cut and armed in time. */
const exampleAheadMs = 30_000;

export function devCommand(): Command {
  return new Command("dev")
    .description("everything on this machine: Postgres, API, two workers, and a receiver that prints what it gets")
    .option("--port <port>", "of the API", portNumber, 8080)
    .option("--db-dir <dir>", "where Postgres keeps its data", join(".carillon", "dev"))
    .option("--now <instant>", "live at another time, such as 2027-03-28T00:30Z", instantOption)
    .option("--speed <n>", "so many times as fast as real time", speedOption)
    .option("--json", "print one JSON object when ready, instead of text")
    .option("--verbose", "show the nodes' logs")
    .addHelpText("after", "\nExample:\n  $ carillon dev --now 2027-03-28T00:30Z --speed 60")
    .action(async (options: DevOptions) => {
      process.exitCode = await runUntilSignal((lifecycle) => runDev(options, lifecycle), {
        log: createLogger(options.verbose ? "info" : "error", "dev"),
      });
    });
}

async function runDev(options: DevOptions, lifecycle: Lifecycle): Promise<void> {
  const say = (text: string) => void (options.json ? process.stderr : process.stdout).write(`${text}\n`);
  await assertPortFree(options.port);
  const directory = await devDirectory(options.dbDir);
  say(`Starting Postgres with its data in ${directory}.`);
  const server = lifecycle.use(
    "Postgres",
    await startEmbeddedPostgres({ dataDir: join(directory, "postgres"), persistent: true }),
  );
  const databaseUrl = server.url();
  const environment = {
    DATABASE_URL: databaseUrl,
    CARILLON_SECRET_KEY: await keptSecretKey(join(directory, "secret-key")),
    CARILLON_ALLOW_LOOPBACK: "true",
    LOG_LEVEL: options.verbose ? "info" : "warn",
  };
  const config = readConfig({ ...environment, HOST: host, PORT: String(options.port), CARILLON_NODE_NAME: "api" });
  const db = lifecycle.use(
    "database",
    openDatabase({ url: databaseUrl, applicationName: "carillon dev", max: 2, statementTimeoutMs: 60_000 }),
  );
  await assertEmptyOrMarked(db.pool, "development");
  await migrate(databaseUrl);
  await markDeployment(db.pool, "development");
  const clock = await liveBy(db.pool, options);
  say(clockLine(clock));

  const receiver = lifecycle.use(
    "receiver",
    await spawnWebhookReceiver({ clock }, { print: options.json ? "stderr" : "stdout" }),
  );
  await prepare(db, receiver.url, config.secretKey);
  await Promise.all(
    ["worker-1", "worker-2"].map(async (name) =>
      lifecycle.use(
        name,
        await spawnNode({ verb: "worker", env: { ...environment, PORT: "0", CARILLON_NODE_NAME: name } }),
      ),
    ),
  );
  const api = await startApiNode(
    { config, lifecycle, logger: createLogger(config.logLevel, "api") },
    { openOnLoopback: true },
  );

  const urls = { api: api.url, database: databaseUrl, receiver: receiver.url };
  if (options.json) process.stdout.write(`${JSON.stringify({ ...urls, curl: subscribeLine(api.url, clock) })}\n`);
  else say(welcome(urls, clock));
  await untilAborted(lifecycle.stopping);
}

/** Asked before anything else is started, which takes seconds; the API itself listens only when all is there. */
async function assertPortFree(port: number): Promise<void> {
  const server = createServer();
  try {
    await once(server.listen(port, host), "listening");
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "EADDRINUSE")) throw error;
    throw new CarillonError("bad_configuration", `Port ${port} is taken: name another by --port, or 0 for any.`);
  }
  await new Promise((resolve) => server.close(resolve));
}

/** The key stays with the data that it seals. */
async function keptSecretKey(path: string): Promise<string> {
  try {
    return (await readFile(path, "utf8")).trim();
  } catch {
    const key = randomBytes(32).toString("base64");
    await writeFile(path, `${key}\n`, { mode: 0o600 });
    await chmod(path, 0o600);
    return key;
  }
}

/** What the first subscription needs. The receiver has another port at each start. */
async function prepare(db: Database, receiverUrl: string, secretKey: Uint8Array | null): Promise<void> {
  await orKeep(createTopic(db, topicName, { title: "It is time", body: "This is the moment." }));
  const destination = { name: destinationName, url: receiverUrl, batchSize: 1 };
  await orKeep(createDestination(db, destination, secretKey));
  await patchDestination(db, destinationName, { url: receiverUrl }, secretKey);
  await savePlaces(db, placesOfTheWorld(), (index) => `/places/${index}`);
}

async function orKeep(made: Promise<unknown>): Promise<void> {
  try {
    await made;
  } catch (error) {
    if (!(error instanceof CarillonError) || error.code !== "name_taken") throw error;
  }
}

function welcome(urls: { api: string; database: string; receiver: string }, clock: ClockReading): string {
  return `
Carillon is ready.
  API       ${urls.api}   (no key needed from this machine)
  database  ${urls.database}
  receiver  ${urls.receiver}   (prints below what it gets)

Subscribe somebody to a moment half a minute from now:

  ${subscribeLine(urls.api, clock)}

or to the evening prayer of each day in Makkah:

  ${curl(urls.api, { userId: "bob", topic: topicName, timetable: { place: "sa-makkah", slot: "maghrib" }, endpoints: [{ destination: destinationName }] })}

Ctrl-C ends it all; the data stays.
`;
}

function subscribeLine(api: string, clock: ClockReading): string {
  // Postgres runs on this machine, by its clock
  const atMs = Math.ceil(clockAt(clock, Date.now() + exampleAheadMs) / 1000) * 1000;
  const at = new Date(atMs).toISOString().replace(".000Z", "Z");
  return curl(api, { userId: "alice", topic: topicName, at, endpoints: [{ destination: destinationName }] });
}

function curl(api: string, body: unknown): string {
  return `curl -s ${api}/v1/subscriptions -H 'content-type: application/json' -d '${JSON.stringify(body)}'`;
}

function portNumber(text: string): number {
  const port = Number(text);
  if (!Number.isInteger(port) || port < 0 || port > 65_535) {
    throw new InvalidArgumentError("It must be a whole number from 0 to 65535.");
  }
  return port;
}
