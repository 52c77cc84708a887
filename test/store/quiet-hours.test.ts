import { DateTime } from "luxon";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";

let test: TestDatabase;
beforeAll(async () => {
  test = await createTestDatabase();
});
afterAll(() => test[Symbol.asyncDispose]());

const minuteMs = 60_000;
const dayMinutes = 1440;
/** All that is asked here lies on whole steps, and so do the changes of clocks. */
const step = 5;

/**
 * What clocks in a zone show, step by step, and nothing else: no offsets are reckoned with. Local times are minutes from
 * the first day's midnight, as if each day had 1,440 of them.
 */
class ShownTimes {
  readonly #firstMs: number;
  readonly #shown: number[] = [];
  readonly #lastAt = new Map<number, number>();

  constructor(zone: string, firstDay: string, days: number) {
    const midnightMs = Date.parse(`${firstDay}T00:00:00Z`);
    this.#firstMs = midnightMs - dayMinutes * minuteMs;
    for (let minute = 0; minute < (days + 4) * dayMinutes; minute += step) {
      const shown = DateTime.fromMillis(this.#firstMs + minute * minuteMs, { zone });
      const local =
        (Date.UTC(shown.year, shown.month - 1, shown.day, shown.hour, shown.minute) - midnightMs) / minuteMs;
      this.#shown.push(local);
      this.#lastAt.set(local, minute);
    }
  }

  /** The last instant at which clocks show this; where they never do, as long after the last time before it as it says. */
  instantOf(local: number): number {
    const shownAt = this.#lastAt.get(local);
    if (shownAt !== undefined) return this.#firstMs + shownAt * minuteMs;
    const before = this.#shown.findLastIndex((shown, index) => shown < local && (this.#shown[index + 1] ?? 0) > local);
    return this.#firstMs + (before * step + local - (this.#shown[before] ?? 0)) * minuteMs;
  }

  /** The end of the quiet hours that an instant lies in; null: in none. */
  quietUntil(startsAt: number, endsAt: number, atMs: number, days: number): number | null {
    let until: number | null = null;
    for (let day = -1; day <= days; day += 1) {
      const starts = this.instantOf(day * dayMinutes + startsAt);
      const ends = this.instantOf((day + (endsAt <= startsAt ? 1 : 0)) * dayMinutes + endsAt);
      if (atMs >= starts && atMs < ends) until = Math.max(until ?? 0, ends);
    }
    return until;
  }
}

const timeOf = (minutes: number) =>
  `${String(Math.floor(minutes / 60)).padStart(2, "0")}:${String(minutes % 60).padStart(2, "0")}`;

describe.each([
  ["Europe/Berlin", "2027-03-28", "2027-10-31"],
  // half an hour
  ["Australia/Lord_Howe", "2027-10-03", "2027-04-04"],
  // at midnight
  ["America/Santiago", "2027-09-05", "2027-04-04"],
])("quiet hours in %s", (zone, forward, back) => {
  it.each([
    ["forward", forward],
    ["back", back],
  ])("end when clocks there show it, in the night in which they go %s", async (_, night) => {
    const firstDay = new Date(Date.parse(`${night}T00:00:00Z`) - dayMinutes * minuteMs).toISOString().slice(0, 10);
    const days = 3;
    const shown = new ShownTimes(zone, firstDay, days);
    const spans = [
      [22 * 60, 7 * 60],
      [22 * 60, 2 * 60 + 15],
      [2 * 60 + 15, 7 * 60],
      [60 + 45, 2 * 60],
      [2 * 60, 3 * 60],
      [2 * 60 + 30, 2 * 60 + 45],
      [3 * 60, 60],
      [0, 6 * 60],
      [23 * 60 + 30, 30],
      [23 * 60 + 15, 0],
      [12 * 60, 13 * 60 + 30],
      [2 * 60 + 10, 2 * 60 + 5],
    ] as const;
    const cases = spans.flatMap(([startsAt, endsAt]) =>
      // each step of the day before, the night and the day after
      Array.from({ length: (days * dayMinutes) / step }, (__, index) => {
        const atMs = Date.parse(`${firstDay}T00:00:00Z`) + index * step * minuteMs;
        return { startsAt, endsAt, atMs, until: shown.quietUntil(startsAt, endsAt, atMs, days) };
      }),
    );
    const { rows } = await test.database.pool.query<{ until_ms: number | null }>(
      `select (extract(epoch from carillon.quiet_until(starts_at, ends_at, $1, to_timestamp(at_ms / 1000))) * 1000)::float8
         as until_ms
       from unnest($2::time[], $3::time[], $4::float8[]) with ordinality as c (starts_at, ends_at, at_ms, nth)
       order by nth`,
      [
        zone,
        cases.map(({ startsAt }) => timeOf(startsAt)),
        cases.map(({ endsAt }) => timeOf(endsAt)),
        cases.map(({ atMs }) => atMs),
      ],
    );
    const told = (untilMs: number | null) => (untilMs === null ? null : new Date(untilMs).toISOString());
    const wrong = cases.flatMap(({ startsAt, endsAt, atMs, until }, index) => {
      const answered = rows[index]?.until_ms ?? null;
      if (answered === until) return [];
      const at = new Date(atMs).toISOString();
      return [{ span: `${timeOf(startsAt)}-${timeOf(endsAt)}`, at, until: told(until), answered: told(answered) }];
    });
    expect(wrong).toEqual([]);
    expect(cases.filter(({ until }) => until !== null).length).toBeGreaterThan(1000);
  });
});

it("knows the zones that Postgres does, and raises no error about others", async () => {
  const { rows } = await test.database.pool.query<{ zone: string; known: string | null }>(
    `select zone, carillon.known_zone(zone) as known
     from unnest(array['Europe/Berlin', 'Mars/Base', '', 'Europe/Berlin; drop', repeat('x', 300)]) as zone`,
  );
  expect(rows.map(({ zone, known }) => known === zone)).toEqual([true, false, false, false, false]);
});
