import { sleep } from "../clock.ts";
import { readReceiverLog } from "../fakes/receiver-log.ts";
import type { Lifecycle } from "../lifecycle.ts";
import { inDoubtCount, ledgerImbalance } from "../store/invariants.ts";
import { bucketsThrough, rescuedGroups } from "../store/rehearsal.ts";
import { type DemoReport, demoFaults, demoReport } from "./demo-report.ts";
import { buildStage, type DemoStage, demoLeadMs } from "./demo-stage.ts";
import type { DemoUser } from "./demo-users.ts";
import { type PlaceReport, placeReports, type WatchedPlace } from "./place-report.ts";
import { type PlaceOfTheWorld, placesOfTheWorld } from "./places-of-the-world.ts";
import { progress, say } from "./say.ts";
import { type Scenario, type ScenarioPlace, spanOf } from "./scenario.ts";
import { dstNight } from "./scenario-dst-night.ts";
import { ramadanEvening } from "./scenario-ramadan-evening.ts";
import { tableOf } from "./table.ts";

export const scenarioNames = ["dst-night", "ramadan-evening"] as const;
export type ScenarioName = (typeof scenarioNames)[number];

export interface ScenarioReport extends DemoReport {
  readonly scenario: string;
  readonly speed: number;
  readonly places: readonly PlaceReport[];
}

export interface ScenarioOptions {
  readonly name: ScenarioName;
  readonly users: number;
  readonly batch: number;
  /** instead of the scenario's own */
  readonly speed: number | null;
  readonly databaseUrl: string | null;
}

interface Resident extends DemoUser {
  readonly wishes: ScenarioPlace;
}

const hourMs = 3_600_000;
/** On the clock while people subscribe, in real time: before all that is to come. */
const beforehandMs = 12 * hourMs;
/** Real: from setting the clock to its pace until the first cut, and from the last moment until the last reminder. */
const spareMs = 2000;
const lastMs = 2000;
/** By then every bucket is closed, or something is wrong. */
const closeLimitMs = 20_000;

export function scenarioNamed(name: ScenarioName): Scenario {
  switch (name) {
    case "dst-night":
      return dstNight(placesOfTheWorld());
    case "ramadan-evening":
      return ramadanEvening();
  }
}

/** Plays a scenario to its end. @returns the report, and in words what must not be in it */
export async function runScenario(
  options: ScenarioOptions,
  lifecycle: Lifecycle,
): Promise<{ report: ScenarioReport; faults: readonly string[] }> {
  const { stopping } = lifecycle;
  const scenario = scenarioNamed(options.name);
  const speed = options.speed ?? scenario.speed;
  const span = spanOf(scenario);
  say(scenario.about);
  const stage = await buildStage(lifecycle, {
    databaseUrl: options.databaseUrl,
    clock: { now: span.firstMs - beforehandMs },
  });
  const residents = residentsOf(scenario, stage.places, options.users);
  const scheduleIds = await subscribe(stage, scenario, residents, options.batch);

  // no moment lies between, and everybody has subscribed by the clock's own account
  const clock = await stage.setClock({ now: span.firstMs - (demoLeadMs + spareMs) * speed, speed });
  const endsAtMs = span.lastMs + lastMs * speed;
  await liveThrough(stage, residents.filter(isExpected).length, endsAtMs, stopping);
  const bucketIds = await closedBuckets(stage, scheduleIds, endsAtMs, stopping);
  await stage.receiver.stop();

  const users = new Set(residents.filter(isExpected).map(({ userId }) => userId));
  const imbalance = await ledgerImbalance(stage.db, bucketIds);
  const recorded = {
    inDoubt: await inDoubtCount(stage.db, bucketIds),
    ledgerImbalance: imbalance.total,
    rescuedGroups: new Set(await rescuedGroups(stage.db, bucketIds)),
  };
  const report = await demoReport(users, readReceiverLog(stage.logFile), recorded, null, clock);
  const { places, faults } = placeReports(
    watchedPlaces(residents),
    await Array.fromAsync(readReceiverLog(stage.logFile)),
    clock,
  );
  return {
    report: { scenario: scenario.name, speed, ...report, places },
    faults: [...demoFaults(report, stage.window), ...faults],
  };
}

/** A line for people about each place. */
export function placesTable({ places }: ScenarioReport): string {
  return tableOf(
    ["place", "zone", "its own minute", "people", "received", "first at", "late by ms"],
    places.map((row) => [
      row.place,
      row.zone,
      row.expected_due_at ?? "none",
      row.people,
      row.received,
      row.first_received_at ?? "-",
      row.first_lateness_ms ?? "-",
    ]),
  );
}

/** The same number of people everywhere, at least one. */
function residentsOf(scenario: Scenario, world: readonly PlaceOfTheWorld[], users: number): Resident[] {
  const places = new Map(world.map((place) => [place.key, place]));
  const people = Math.max(1, Math.round(users / scenario.places.length));
  return scenario.places.flatMap((wishes, index) => {
    const place = places.get(wishes.key);
    if (place === undefined) throw new Error(`there is no city ${wishes.key}`);
    return Array.from({ length: people }, (_, n) => ({
      userId: `${wishes.key}-${index + 1}-${n + 1}`,
      place,
      wishes,
    }));
  });
}

const isExpected = ({ wishes }: Resident) => wishes.expectedDueAtMs !== null;

async function subscribe(
  { client, receiver }: DemoStage,
  scenario: Scenario,
  residents: readonly Resident[],
  batch: number,
): Promise<readonly string[]> {
  // none of them shall be lost to a busy machine, on which hours of the clock pass quickly
  await client.prepare(receiver.url, batch, { ...scenario.topic, expiresAfterMs: 24 * hourMs });
  if (scenario.timetable !== null) {
    const places = [...new Map(residents.map(({ place }) => [place.key, place])).values()];
    await client.timetable(places, scenario.timetable);
  }
  await client.register(residents, progress("Registered"));
  return client.subscribe(residents, ({ wishes }) => wishes.when, progress("Subscribed"));
}

/** To the end, even where everybody has been reached: whoever must get nothing could still get something. */
async function liveThrough(
  { clock, receiver }: DemoStage,
  expected: number,
  endsAtMs: number,
  stopping: AbortSignal,
): Promise<void> {
  const show = progress("Received");
  for (let leftMs = clock.realMsUntil(endsAtMs); leftMs > 0; leftMs = clock.realMsUntil(endsAtMs)) {
    show(receiver.received, expected);
    await sleep(Math.min(1000, leftMs), stopping);
  }
}

async function closedBuckets(
  { db }: DemoStage,
  scheduleIds: readonly string[],
  throughMs: number,
  stopping: AbortSignal,
): Promise<readonly string[]> {
  const limit = AbortSignal.timeout(closeLimitMs);
  for (;;) {
    const buckets = await bucketsThrough(db, scheduleIds, throughMs);
    if (buckets.every(({ closed }) => closed) || limit.aborted) return buckets.map(({ bucketId }) => bucketId);
    await sleep(100, stopping);
  }
}

function watchedPlaces(residents: readonly Resident[]): WatchedPlace[] {
  return [...Map.groupBy(residents, ({ wishes }) => wishes)].map(([wishes, people]) => {
    const [{ place } = { place: null }] = people;
    return {
      place: `${place?.name ?? wishes.key}${wishes.wish === undefined ? "" : ` (${wishes.wish})`}`,
      zone: place?.zone ?? "",
      people: new Set(people.map(({ userId }) => userId)),
      expectedDueAtMs: wishes.expectedDueAtMs,
    };
  });
}
