import { CalculationMethod, Coordinates, PrayerTimes } from "adhan";
import { describe, expect, it } from "vitest";
import { planSchedule } from "../../src/planner/plan.ts";
import { savePlaces } from "../../src/store/places.ts";
import { planBatch } from "../../src/store/plan.ts";
import { subscribe } from "../../src/store/subscribe.ts";
import type { PrayerSlot } from "../../src/timetable/prayer.ts";
import { storyLimit } from "../support/nodes.ts";
import { beginStory, type Story, storyPace } from "../support/stories.ts";

const cities = [
  { key: "jakarta", name: "Jakarta", latitude: -6.2, longitude: 106.8167, zone: "Asia/Jakarta" },
  { key: "mecca", name: "Mecca", latitude: 21.4225, longitude: 39.8262, zone: "Asia/Riyadh" },
  { key: "berlin", name: "Berlin", latitude: 52.52, longitude: 13.405, zone: "Europe/Berlin" },
  { key: "chicago", name: "Chicago", latitude: 41.85, longitude: -87.65, zone: "America/Chicago" },
];
const slots = ["fajr", "dhuhr", "asr", "maghrib", "isha"] as const;
const dayMs = 86_400_000;

describe("a subscription to a prayer time where the user is", storyLimit, () => {
  it("has its moment at the minute that adhan says, day after day", async () => {
    await using story = await beginStory();
    await subscribeEverywhere(story);
    // far ahead of any clock that runs this; clocks go back in Berlin on the 26th
    const nowMs = Date.parse("2031-10-25T00:00:00Z");
    await planAt(story, nowMs, 3 * dayMs);

    const found = await story.rows<{ key: string; slot: PrayerSlot; offset: number; due_at: Date }>(
      `select p.key, s.rule ->> 'slot' as slot, (s.rule -> 'offsetsMinutes' ->> 0)::int as offset, b.due_at
       from carillon.time_buckets b join carillon.schedules s using (schedule_id) join carillon.places p using (place_id)
       order by s.schedule_id, b.due_at`,
    );
    // a day of each city lies between two midnights: three days have three of each, or one more or less at their ends
    expect(found.length).toBeGreaterThanOrEqual(2 * 6 * cities.length);
    const planned = new Set(
      found.map(({ key, slot, offset, due_at }) => `${key} ${slot} ${offset} ${due_at.getTime()}`),
    );
    expect(planned.size).toBe(found.length);
    expect([...planned].toSorted()).toEqual(expectedMoments(nowMs, nowMs + 3 * dayMs).toSorted());
    await story.check({ receiverLog: null });
  });

  it("is planned the same by whoever plans, and again, and in smaller steps", async () => {
    await using story = await beginStory();
    await subscribeEverywhere(story);
    const nowMs = Date.parse("2031-03-28T18:00:00Z");
    for (let step = 0; step < 24; step += 1) await planAt(story, nowMs + step * 3 * 3_600_000, 4 * 3_600_000);
    const stepwise = await moments(story);
    await story.db.pool.query("delete from carillon.time_buckets");
    await planAt(story, nowMs, 73 * 3_600_000);
    expect(await moments(story)).toEqual(stepwise);
    expect(stepwise.length).toBeGreaterThan(2 * 6 * cities.length);
  });

  it("finds the place by coordinates, and promises its next time in the reply", async () => {
    await using story = await beginStory();
    await savePlaces(story.db, cities, String);
    await story.topic("prayer");
    const [saved] = await subscribe(
      story.db,
      [
        {
          userId: "near-mecca",
          topic: "prayer",
          when: { timetable: { where: { latitude: 21.5, longitude: 39.7 }, slot: "maghrib" } },
          endpoints: [{ channel: "memory" }],
          pointer: "",
        },
      ],
      { planHorizonMs: storyPace.horizonMs },
    );
    expect(saved?.place?.key).toBe("mecca");
    const nextMs = saved?.nextDueAt?.getTime() ?? 0;
    expect(expectedMoments(Date.now() - dayMs, Date.now() + 2 * dayMs)).toContain(`mecca maghrib 0 ${nextMs}`);
    expect(nextMs).toBeGreaterThan(Date.now());
  });
});

/** One user a city and slot, and one who wants to hear of maghrib ten minutes ahead. */
async function subscribeEverywhere(story: Story): Promise<void> {
  await savePlaces(story.db, cities, String);
  await story.topic("prayer", { catchUp: "all", expiresAfterMs: 604_800_000 });
  const wanted = cities.flatMap(({ key }) => [
    ...slots.map((slot) => ({ where: { key }, slot, offsetMinutes: 0 })),
    { where: { key }, slot: "maghrib", offsetMinutes: -10 },
  ]);
  await subscribe(
    story.db,
    wanted.map((timetable, index) => ({
      userId: `user-${index}`,
      topic: "prayer",
      when: { timetable },
      endpoints: [{ channel: "memory" }],
      pointer: "",
    })),
    { planHorizonMs: storyPace.horizonMs },
  );
}

/** Plans as a planner would whose clock showed `nowMs`, from there on. */
async function planAt(story: Story, nowMs: number, horizonMs: number): Promise<void> {
  await story.db.pool.query(
    "update carillon.schedules set next_due_at = carillon.clock(), planned_through = to_timestamp($1::float8 / 1000)",
    [nowMs],
  );
  await planBatch(story.db, { ...storyPace, batch: 1000 }, (schedules) =>
    schedules.map((schedule) => planSchedule(schedule, nowMs, horizonMs)),
  );
}

async function moments(story: Story): Promise<string[]> {
  const found = await story.rows<{ moment: string }>(
    "select schedule_id || ' ' || occurrence || ' ' || due_at as moment from carillon.time_buckets order by 1",
  );
  return found.map(({ moment }) => moment);
}

/** By adhan itself, on the solar days around, without our code in between. */
function expectedMoments(afterMs: number, throughMs: number): string[] {
  const expected = new Set<string>();
  for (const { key, latitude, longitude } of cities) {
    for (let atMs = afterMs - 2 * dayMs; atMs <= throughMs + 2 * dayMs; atMs += dayMs) {
      // adhan takes the day by the process' own calendar
      const date = new Date(atMs);
      const parameters = CalculationMethod.MuslimWorldLeague();
      parameters.highLatitudeRule = Math.abs(latitude) > 48 ? "seventhofthenight" : "middleofthenight";
      const times = new PrayerTimes(
        new Coordinates(latitude, longitude),
        new Date(date.getUTCFullYear(), date.getUTCMonth(), date.getUTCDate(), 12),
        parameters,
      );
      for (const slot of slots) {
        const slotMs = Math.floor(times[slot].getTime() / 60_000) * 60_000;
        for (const offset of slot === "maghrib" ? [0, -10] : [0]) {
          const dueAtMs = slotMs + offset * 60_000;
          if (dueAtMs > afterMs && dueAtMs <= throughMs) expected.add(`${key} ${slot} ${offset} ${dueAtMs}`);
        }
      }
    }
  }
  return [...expected];
}
