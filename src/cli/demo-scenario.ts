import { sleep } from "../clock.ts";
import { readReceiverLog } from "../fakes/receiver-log.ts";
import type { Lifecycle } from "../lifecycle.ts";
import { inDoubtCount, ledgerImbalance } from "../store/invariants.ts";
import { bucketsThrough, rescuedGroups } from "../store/rehearsal.ts";
import { type DemoReport, demoFaults, demoReport } from "./demo-report.ts";
import { buildStage, type DemoStage } from "./demo-stage.ts";
import type { DemoUser } from "./demo-users.ts";
import { type PlaceReport, placeReports, type WatchedPlace } from "./place-report.ts";
import { placesOfTheWorld } from "./places-of-the-world.ts";
import { PlayedClock } from "./played-clock.ts";
import { progress, say } from "./say.ts";
import { type Scenario, type ScenarioPlace, type ScenarioWindow, windowsOf } from "./scenario.ts";
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
/** On the clock while people subscribe: before all that is to come. */
const beforehandMs = 12 * hourMs;
/** All below is real time. Nodes take a clock that was set on up with their next heartbeat, and then cut in time. */
const leadMs = 2000;
const approachMs = leadMs + 2000;
/** Whoever must get nothing could still get something. */
const settleMs = 500;
/** By then everybody is reached and every bucket closed, or something is wrong. */
const limitMs = 20_000;

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
  const windows = windowsOf(scenario, approachMs * speed);
  say(scenario.about);
  const stage = await buildStage(lifecycle, {
    databaseUrl: options.databaseUrl,
    clock: { now: (windows[0]?.firstMs ?? 0) - beforehandMs },
    leadMs,
  });
  const residents = residentsOf(scenario, stage, options.users);
  const scheduleIds = await subscribe(stage, scenario, residents, options.batch);

  const clock = new PlayedClock();
  const recorded = { inDoubt: 0, ledgerImbalance: 0, rescuedGroups: new Set<string>() };
  const known = new Set<string>();
  for (const window of windows) {
    clock.add(await stage.setClock({ now: window.firstMs - approachMs * speed, speed }));
    const expected = residents.filter((resident) => isExpectedBy(resident, window.lastMs)).length;
    await liveThrough(stage, window, expected, stopping);
    // asked before the clock is set on: who stood at a moment is judged by when it was
    const bucketIds = (await closedBuckets(stage, scheduleIds, window.lastMs, stopping)).filter((id) => !known.has(id));
    for (const id of bucketIds) known.add(id);
    recorded.inDoubt += await inDoubtCount(stage.db, bucketIds);
    recorded.ledgerImbalance += (await ledgerImbalance(stage.db, bucketIds)).total;
    for (const group of await rescuedGroups(stage.db, bucketIds)) recorded.rescuedGroups.add(group);
  }
  await stage.receiver.stop();

  const users = new Set(residents.flatMap((one) => (isExpectedBy(one, Number.POSITIVE_INFINITY) ? one.userId : [])));
  const report = await demoReport(users, readReceiverLog(stage.logFile), recorded, null, (dueAtMs) =>
    clock.realTimeOf(dueAtMs),
  );
  const log = await Array.fromAsync(readReceiverLog(stage.logFile));
  const { places, faults } = placeReports(watchedPlaces(residents), log, clock);
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
function residentsOf(scenario: Scenario, stage: DemoStage, users: number): Resident[] {
  const places = new Map(stage.places.map((place) => [place.key, place]));
  const people = Math.max(1, Math.round(users / scenario.places.length));
  return scenario.places.flatMap((wishes, index) => {
    const place = places.get(wishes.key);
    if (place === undefined) throw new Error(`there is no city ${wishes.key}`);
    return Array.from({ length: people }, (_, n) => ({
      // of this run: who was there in an earlier one has an endpoint at a receiver that is gone
      userId: `${wishes.key}-${index + 1}-${n + 1}-${stage.client.run}`,
      place,
      wishes,
    }));
  });
}

function isExpectedBy({ wishes: { expectedDueAtMs } }: Resident, throughMs: number): boolean {
  return expectedDueAtMs !== null && expectedDueAtMs <= throughMs;
}

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

async function liveThrough(
  { clock, receiver }: DemoStage,
  { lastMs }: ScenarioWindow,
  expected: number,
  stopping: AbortSignal,
): Promise<void> {
  await sleep(clock.realMsUntil(lastMs), stopping);
  const limit = AbortSignal.any([stopping, AbortSignal.timeout(limitMs)]);
  await receiver.whenReceived(expected, limit).catch(() => stopping.throwIfAborted());
  await sleep(settleMs, stopping);
  say(`Received ${receiver.received.toLocaleString("en")} of ${expected.toLocaleString("en")} so far.`);
}

async function closedBuckets(
  { db }: DemoStage,
  scheduleIds: readonly string[],
  throughMs: number,
  stopping: AbortSignal,
): Promise<readonly string[]> {
  const limit = AbortSignal.timeout(limitMs);
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
