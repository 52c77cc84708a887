import { Command, InvalidArgumentError, Option } from "commander";
import { CarillonError } from "../errors.ts";
import { readReceiverLog } from "../fakes/receiver-log.ts";
import { type Lifecycle, runUntilSignal } from "../lifecycle.ts";
import { createLogger } from "../logger.ts";
import { inDoubtCount, ledgerImbalance } from "../store/invariants.ts";
import { rescuedGroups } from "../store/rehearsal.ts";
import { prayerTimes } from "../timetable/prayer.ts";
import type { ChannelsReport } from "./channels-report.ts";
import { type ClockOptions, instantOption, speedOption } from "./clock-options.ts";
import { type DemoChannel, demoChannels, runChannels } from "./demo-channels.ts";
import { whenClosed } from "./demo-closing.ts";
import { type DemoReport, demoFaults, demoReport } from "./demo-report.ts";
import { placesTable, runScenario, type ScenarioName, scenarioNames } from "./demo-scenario.ts";
import { buildStage, demoLeadMs } from "./demo-stage.ts";
import { demoUsers } from "./demo-users.ts";
import { watch } from "./demo-watch.ts";
import type { PlaceOfTheWorld } from "./places-of-the-world.ts";
import { progress, say } from "./say.ts";
import { tableOf } from "./table.ts";
import { wholeNumber } from "./whole-number.ts";

interface DemoOptions extends ClockOptions {
  readonly users?: number;
  readonly batch: number;
  readonly kill?: true;
  readonly scenario?: ScenarioName;
  readonly channels?: readonly DemoChannel[];
  readonly json?: true;
  readonly databaseUrl?: string;
}

const usersOfTheDemo = 20_000;
const usersOfAScenario = 2_000;
/** A topic's own default, and as long by real time where the clock goes faster. */
const expiresAfterMs = 600_000;
const expiresAfterMostMs = 604_800_000;

export function demoCommand(): Command {
  return new Command("demo")
    .description("the main job on this machine: real cities, one moment, two nodes, one receiver, and a report")
    .option(
      "--users <n>",
      `how many users (default: ${usersOfTheDemo}, of a scenario ${usersOfAScenario})`,
      wholeNumber(1, 5_000_000),
    )
    .option("--batch <n>", "reminders a request", wholeNumber(1, 500), 1)
    .option("--kill", "kill one node with SIGKILL in the middle of it")
    .addOption(
      new Option("--scenario <name>", "many moments instead of one, quicker than they were")
        .choices(scenarioNames)
        .conflicts(["kill", "now"]),
    )
    .addOption(
      new Option("--channels <names>", `users over several channels, of ${demoChannels.join(", ")}`)
        .argParser(channelList)
        .conflicts(["scenario", "kill", "now", "speed"]),
    )
    .option("--now <instant>", "live at another time, such as 2027-03-28T00:30Z", instantOption)
    .option("--speed <n>", "so many times as fast as real time", speedOption)
    .option("--json", "print the report as one JSON object")
    .option("--database-url <url>", "use this database, which must be empty or from an earlier demo")
    .addHelpText(
      "after",
      "\nExample:\n  $ carillon demo --users 200000 --batch 500 --json\n  $ carillon demo --scenario dst-night\n  $ carillon demo --channels fcm,apns,web-push,webhook",
    )
    .action(async (options: DemoOptions) => {
      const logger = createLogger("warn", "demo");
      let faults: readonly string[] = ["the run was interrupted"];
      const code = await runUntilSignal(
        async (lifecycle) => {
          faults = await play(options, lifecycle);
        },
        { log: logger },
      );
      for (const fault of faults) say(`NOT GOOD: ${fault}`);
      process.exitCode = code === 0 && faults.length > 0 ? 1 : code;
    });
}

/** Runs what was asked for and prints its report. @returns what must not be in it, in words */
async function play(options: DemoOptions, lifecycle: Lifecycle): Promise<readonly string[]> {
  const print = (report: object, text: string) =>
    void process.stdout.write(options.json ? `${JSON.stringify(report)}\n` : text);
  if (options.channels !== undefined) {
    const { users = usersOfTheDemo, batch, databaseUrl = null, channels } = options;
    const { report, faults } = await runChannels({ channels, users, batch, databaseUrl }, lifecycle);
    const { channels: each, ...figures } = report;
    print(report, `${channelsTable(each)}${humanReport(figures)}`);
    return faults;
  }
  if (options.scenario === undefined) {
    const { report, faults } = await runDemo(options, lifecycle);
    print(report, humanReport(report));
    return faults;
  }
  const { report, faults } = await runScenario(
    {
      name: options.scenario,
      users: options.users ?? usersOfAScenario,
      batch: options.batch,
      speed: options.speed ?? null,
      databaseUrl: options.databaseUrl ?? null,
    },
    lifecycle,
  );
  const { places: _, ...figures } = report;
  print(report, `${placesTable(report)}${humanReport(figures)}`);
  return faults;
}

async function runDemo(
  options: DemoOptions,
  lifecycle: Lifecycle,
): Promise<{ report: DemoReport; faults: readonly string[] }> {
  const { stopping } = lifecycle;
  const stage = await buildStage(lifecycle, { databaseUrl: options.databaseUrl ?? null, clock: options });
  const { client, clock, db, receiver } = stage;
  sayPrayerTimes(stage.places, clock.nowMs());
  const users = demoUsers(options.users ?? usersOfTheDemo, stage.places);
  await client.prepare(receiver.url, options.batch, {
    title: "We are live",
    body: "The stream has begun.",
    expiresAfterMs: Math.round(Math.min(expiresAfterMostMs, expiresAfterMs * Math.max(1, options.speed ?? 1))),
  });
  const registeredInMs = await client.register(users, progress("Registered"));
  // just far enough ahead that the last is committed before the cut; subscribing takes about as long as registering,
  // and three times that leaves room for a busy machine
  const dueAtMs = Math.ceil(clock.shownIn(4000 + registeredInMs * 3 + demoLeadMs) / 1000) * 1000;
  const at = new Date(dueAtMs).toISOString();
  say(`The moment: ${at}.`);
  const [scheduleId = ""] = await client.subscribe(users, () => ({ at }), progress("Subscribed"));
  const sparedMs = clock.realMsUntil(dueAtMs) - demoLeadMs;
  if (sparedMs < 0) {
    throw new CarillonError(
      "past_instant",
      `Subscribing took ${Math.ceil(-sparedMs)} ms too long for the moment that was chosen; this machine is busy, try again.`,
    );
  }

  const kill = await watch(stage, users.length, dueAtMs, options.kill === true, stopping);
  const bucketIds = [await whenClosed(db, scheduleId, stopping)];
  await receiver.stop();
  const imbalance = await ledgerImbalance(db, bucketIds);
  const report = await demoReport(
    new Set(users.map((user) => user.userId)),
    readReceiverLog(stage.logFile),
    {
      inDoubt: await inDoubtCount(db, bucketIds),
      ledgerImbalance: imbalance.total,
      rescuedGroups: new Set(await rescuedGroups(db, bucketIds)),
    },
    kill,
    (dueAtMs) => clock.realTimeOf(dueAtMs),
  );
  return { report, faults: demoFaults(report, stage.window) };
}

function sayPrayerTimes(places: readonly PlaceOfTheWorld[], nowMs: number): void {
  const rows = ["Makkah", "Istanbul", "Jakarta", "London"].flatMap((name) => {
    const place = places
      .filter((candidate) => candidate.name === name)
      .sort((one, other) => other.population - one.population)[0];
    if (place === undefined) return [];
    const today = new Intl.DateTimeFormat("en-CA", { timeZone: place.zone }).format(nowMs);
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

/** "fcm,apns", each once */
function channelList(text: string): readonly DemoChannel[] {
  const names = [...new Set(text.split(","))];
  return names.map((name) => {
    const channel = demoChannels.find((known) => known === name);
    if (channel === undefined) throw new InvalidArgumentError(`Channels are ${demoChannels.join(", ")}.`);
    return channel;
  });
}

function channelsTable(channels: ChannelsReport["channels"]): string {
  const [first = {}] = Object.values(channels);
  return tableOf(
    ["channel", ...Object.keys(first).map((name) => name.replaceAll("_", " "))],
    Object.entries(channels).map(([name, figures]) => [name, ...Object.values(figures)]),
  );
}

function humanReport(report: object): string {
  return tableOf(
    ["what the receiver saw", ""],
    Object.entries(report).map(([key, value]) => [key.replaceAll("_", " "), value ?? "-"]),
  );
}
