import type { Database } from "../../src/store/database.ts";
import { savePlaces } from "../../src/store/places.ts";
import { subscribe } from "../../src/store/subscribe.ts";
import { createTimetable } from "../../src/store/timetables.ts";
import { addDays, datesThrough, formatDate, localDate } from "../../src/timetable/civil-time.ts";
import { parseTimetable } from "../../src/timetable/timetable.ts";

const minuteMs = 60_000;

/** The first whole minute at least so far ahead: an uploaded table has no seconds. */
export function minuteIn(minutes: number, nowMs: number = Date.now()): number {
  return (Math.ceil(nowMs / minuteMs) + minutes) * minuteMs;
}

/** Parameters of an uploaded table, for a place in UTC, that has each slot once, at this instant; the days around have none. */
export function tableWith(dueAtMs: Readonly<Record<string, number>>, slots: readonly string[] = Object.keys(dueAtMs)) {
  const nowMs = Date.now();
  const [first, last] = [addDays(localDate(nowMs, "UTC"), -3), addDays(localDate(nowMs, "UTC"), 4)];
  const days = Object.fromEntries(
    [...datesThrough(first, last)].map((date) => {
      const text = formatDate(date);
      const there = Object.entries(dueAtMs).filter(([, ms]) => new Date(ms).toISOString().startsWith(text));
      return [text, Object.fromEntries(there.map(([slot, ms]) => [slot, new Date(ms).toISOString().slice(11, 16)]))];
    }),
  );
  return { slots, days };
}

/** A timetable of kind table, places in UTC that have it, and a schedule at each for each slot with so many subscribers. */
export async function seedTable(
  db: Database,
  {
    name,
    topic,
    dueAtMs,
    places = 1,
    users = 1,
  }: {
    readonly name: string;
    readonly topic: string;
    readonly dueAtMs: Readonly<Record<string, number>>;
    readonly places?: number;
    readonly users?: number;
  },
): Promise<{ readonly keys: readonly string[]; readonly scheduleIds: readonly string[] }> {
  await createTimetable(db, name, parseTimetable("table", tableWith(dueAtMs)));
  const keys = Array.from({ length: places }, (_, index) => `${name}-${index}`);
  await savePlaces(
    db,
    keys.map((key, index) => ({ key, name: key, latitude: index / 1000, longitude: 0, zone: "UTC", timetable: name })),
    (index) => `/places/${index}`,
  );
  const saved = await subscribe(
    db,
    keys.flatMap((key) =>
      Object.keys(dueAtMs).flatMap((slot) =>
        Array.from({ length: users }, (_, index) => ({
          userId: `${key}-${index}`,
          topic,
          when: { timetable: { where: { key }, slot } },
          endpoints: [{ channel: "memory" }],
          pointer: "",
        })),
      ),
    ),
    { planHorizonMs: 3_600_000 },
  );
  return { keys, scheduleIds: [...new Set(saved.map(({ scheduleId }) => scheduleId))] };
}
