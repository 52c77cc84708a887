import { randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Command } from "commander";
import { startApiNode } from "../app.ts";
import { sleep } from "../clock.ts";
import { readConfig } from "../config.ts";
import { CarillonError } from "../errors.ts";
import { readReceiverLog } from "../fakes/receiver-log.ts";
import { type SpawnedReceiver, spawnWebhookReceiver } from "../fakes/spawned-receiver.ts";
import { type Lifecycle, runUntilSignal } from "../lifecycle.ts";
import { createLogger } from "../logger.ts";
import { type Database, openDatabase } from "../store/database.ts";
import { assertEmptyOrMarked, markDeployment } from "../store/deployment.ts";
import { inDoubtCount, ledgerImbalance, openIntents } from "../store/invariants.ts";
import { migrate } from "../store/migrate.ts";
import { savePlaces } from "../store/places.ts";
import { bucketOf, nodesOf, rescuedGroups } from "../store/rehearsal.ts";
import { prayerTimes } from "../timetable/prayer.ts";
import { type ChildNode, spawnNode } from "./child-node.ts";
import { DemoClient } from "./demo-client.ts";
import { type DemoReport, demoFaults, demoReport, type Kill } from "./demo-report.ts";
import { demoUsers } from "./demo-users.ts";
import { startEmbeddedPostgres } from "./embedded-postgres.ts";
import { type PlaceOfTheWorld, placesOfTheWorld } from "./places-of-the-world.ts";
import { tableOf } from "./table.ts";
import { wholeNumber } from "./whole-number.ts";

interface DemoOptions {
  readonly users: number;
  readonly batch: number;
  readonly kill?: true;
  readonly json?: true;
  readonly databaseUrl?: string;
}

/** The demo's nodes plan and poll more often than a production's, so that it is over sooner; leases are the real ones. */
const demoLeadMs = 4000;
const nodeEnvironment = { CARILLON_LEAD_MS: String(demoLeadMs), CARILLON_POLL_MS: "500", LOG_LEVEL: "warn" };
const receiverDelayMs = 20;
const nodeNames = ["node-1", "node-2"] as const;

export function demoCommand(): Command {
  return new Command("demo")
    .description("the main job on this machine: real cities, one moment, two nodes, one receiver, and a report")
    .option("--users <n>", "how many users", wholeNumber(1, 5_000_000), 20_000)
    .option("--batch <n>", "reminders a request", wholeNumber(1, 500), 1)
    .option("--kill", "kill one node with SIGKILL in the middle of it")
    .option("--json", "print the report as one JSON object")
    .option("--database-url <url>", "use this database, which must be empty or from an earlier demo")
    .addHelpText("after", "\nExample:\n  $ carillon demo --users 200000 --batch 500 --json")
    .action(async (options: DemoOptions) => {
      const logger = createLogger("warn", "demo");
      let faults: readonly string[] = ["the run was interrupted"];
      const code = await runUntilSignal(
        async (lifecycle) => {
          const { report, window } = await runDemo(options, lifecycle);
          faults = demoFaults(report, window);
          process.stdout.write(options.json ? `${JSON.stringify(report)}\n` : humanReport(report));
        },
        { log: logger },
      );
      for (const fault of faults) say(`NOT GOOD: ${fault}`);
      process.exitCode = code === 0 && faults.length > 0 ? 1 : code;
    });
}

async function runDemo(options: DemoOptions, lifecycle: Lifecycle): Promise<{ report: DemoReport; window: number }> {
  const { stopping } = lifecycle;
  const databaseUrl = options.databaseUrl ?? (await startDatabase(lifecycle));
  const secretKey = randomBytes(32).toString("base64");
  const environment = {
    ...nodeEnvironment,
    DATABASE_URL: databaseUrl,
    CARILLON_SECRET_KEY: secretKey,
    CARILLON_ALLOW_LOOPBACK: "true",
  };
  const config = readConfig({ ...environment, PORT: "0", CARILLON_NODE_NAME: "api" });
  const logger = createLogger(config.logLevel, "demo");
  const db = lifecycle.use(
    "database",
    openDatabase({ url: databaseUrl, applicationName: "carillon demo", max: 4, statementTimeoutMs: 60_000 }),
  );
  await assertEmptyOrMarked(db.pool, "demo");
  await migrate(databaseUrl);
  await markDeployment(db.pool, "demo");

  const places = placesOfTheWorld();
  await importPlaces(db, places);
  sayPrayerTimes(places);
  const users = demoUsers(options.users, places);

  const logDirectory = await mkdtemp(join(tmpdir(), "carillon-demo-"));
  lifecycle.onStop("receiver's log", () => rm(logDirectory, { recursive: true, force: true }));
  const logFile = join(logDirectory, "received.ndjson");
  const receiver = lifecycle.use("receiver", await spawnWebhookReceiver({ logFile, delayMs: receiverDelayMs }));
  const nodes = await Promise.all(
    nodeNames.map(async (name) =>
      lifecycle.use(
        name,
        await spawnNode({ verb: "worker", env: { ...environment, PORT: "0", CARILLON_NODE_NAME: name } }),
      ),
    ),
  );
  say(`Started ${nodes.length} nodes and a receiver that answers after ${receiverDelayMs} ms.`);

  const api = await startApiNode({ config, lifecycle, logger }, { openOnLoopback: true });
  const run = randomBytes(3).toString("hex");
  const client = new DemoClient(api.url, run, stopping);
  await client.prepare(receiver.url, options.batch);
  const registeredInMs = await client.register(users, progress("Registered"));
  // just far enough ahead that the last is committed before the cut; subscribing takes about as long as registering,
  // and three times that leaves room for a busy machine
  const dueAtMs = Math.ceil((Date.now() + 4000 + registeredInMs * 3 + demoLeadMs) / 1000) * 1000;
  say(`The moment: ${new Date(dueAtMs).toISOString()}.`);
  const scheduleId = await client.subscribe(users, dueAtMs, progress("Subscribed"));
  const sparedMs = dueAtMs - demoLeadMs - Date.now();
  if (sparedMs < 0) {
    throw new CarillonError(
      "past_instant",
      `Subscribing took ${-sparedMs} ms too long for the moment that was chosen; this machine is busy, try again.`,
    );
  }

  const kill = await watch(receiver, nodes, db, users.length, dueAtMs, options.kill === true, stopping);
  const bucketId = await closed(db, scheduleId, stopping);
  await receiver.stop();
  const imbalance = await ledgerImbalance(db, [bucketId]);
  const report = await demoReport(
    new Set(users.map((user) => user.userId)),
    readReceiverLog(logFile),
    {
      inDoubt: await inDoubtCount(db, [bucketId]),
      ledgerImbalance: imbalance.total,
      rescuedGroups: new Set(await rescuedGroups(db, bucketId)),
    },
    kill,
  );
  return { report, window: config.worker.window };
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

async function importPlaces(db: Database, places: readonly PlaceOfTheWorld[]): Promise<void> {
  await savePlaces(db, places, (index) => `/places/${index}`);
  say(`Imported ${places.length} cities of the world as places.`);
}

function sayPrayerTimes(places: readonly PlaceOfTheWorld[]): void {
  const rows = ["Makkah", "Istanbul", "Jakarta", "London"].flatMap((name) => {
    const place = places
      .filter((candidate) => candidate.name === name)
      .sort((one, other) => other.population - one.population)[0];
    if (place === undefined) return [];
    const today = new Intl.DateTimeFormat("en-CA", { timeZone: place.zone }).format(Date.now());
    const [year = 0, month = 0, day = 0] = today.split("-").map(Number);
    const times = prayerTimes(
      {
        ...place,
        timetable: {
          kind: "prayer",
          method: "MuslimWorldLeague",
          madhab: "shafi",
          highLatitudeRule: null,
          adjustments: {},
        },
      },
      { year, month, day },
    );
    const clock = new Intl.DateTimeFormat("en-GB", { timeZone: place.zone, hour: "2-digit", minute: "2-digit" });
    return [[name, ...Object.values(times).map((ms) => clock.format(ms))]];
  });
  process.stderr.write(tableOf(["today's times", "fajr", "sunrise", "dhuhr", "asr", "maghrib", "isha"], rows));
}

/** Waits until the receiver has everybody, and on the way there, if that is wanted, kills a node. */
async function watch(
  receiver: SpawnedReceiver,
  nodes: readonly ChildNode[],
  db: Database,
  expected: number,
  dueAtMs: number,
  wantsKill: boolean,
  stopping: AbortSignal,
): Promise<Kill | null> {
  const show = progress("Received");
  const done = new AbortController();
  const everybody = receiver.whenReceived(expected, stopping);
  const killing = wantsKill
    ? receiver.whenReceived(Math.ceil(expected / 5), stopping).then(() => killNode(nodes, db, stopping))
    : Promise.resolve(null);
  const showing = (async () => {
    while (!done.signal.aborted) {
      const waitMs = dueAtMs - Date.now();
      if (waitMs > 0) say(`${Math.ceil(waitMs / 1000)} s to the moment.`);
      else show(receiver.received, expected);
      await sleep(Math.min(1000, waitMs > 0 ? waitMs : 1000), done.signal).catch(() => undefined);
    }
  })();
  try {
    const kill = await killing;
    // duplicates count too, so after a kill this may be before the last user is reached: the bucket's closing decides
    await everybody;
    return kill;
  } finally {
    done.abort();
    await showing;
  }
}

/** Kills a node that has sent, or is about to, what it has not recorded yet. It is stopped first, to make sure of that. */
async function killNode(nodes: readonly ChildNode[], db: Database, stopping: AbortSignal): Promise<Kill> {
  for (let turn = 0; ; turn += 1) {
    stopping.throwIfAborted();
    const index = turn % nodes.length;
    const victim = nodes[index];
    const name = nodeNames[index];
    if (victim === undefined || name === undefined) throw new Error("there is no node to kill");
    const numbers = await nodesOf(db, victim.pid);
    victim.kill("SIGSTOP");
    const holds = (await openIntents(db)).some(({ nodeId }) => numbers.includes(nodeId));
    if (!holds) {
      victim.kill("SIGCONT");
      continue;
    }
    const atMs = Date.now();
    victim.kill("SIGKILL");
    say(`Killed ${name} (SIGKILL).`);
    return { node: name, atMs };
  }
}

async function closed(db: Database, scheduleId: string, stopping: AbortSignal): Promise<string> {
  for (;;) {
    const bucket = await bucketOf(db, scheduleId);
    if (bucket?.closed === true) return bucket.bucketId;
    await sleep(100, stopping);
  }
}

function humanReport(report: DemoReport): string {
  return tableOf(
    ["what the receiver saw", ""],
    Object.entries(report).map(([key, value]) => [key.replaceAll("_", " "), value ?? "-"]),
  );
}

function progress(verb: string): (done: number, of: number) => void {
  let saidAtMs = 0;
  return (done, of) => {
    const nowMs = performance.now();
    if (done < of && nowMs - saidAtMs < 1000) return;
    saidAtMs = nowMs;
    say(`${verb} ${done.toLocaleString("en")} of ${of.toLocaleString("en")}.`);
  };
}

function say(line: string): void {
  process.stderr.write(`${line}\n`);
}
