import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Rule } from "../../src/reminder/rule.ts";
import { migrate } from "../../src/store/migrate.ts";
import { parseRule } from "../../src/timetable/rule-check.ts";
import { createEmptyDatabase, createTestDatabase, type TestDatabase } from "../support/database.ts";
import { rruleTexts } from "../timetable/rrule-oracle.ts";

let test: TestDatabase;
beforeAll(async () => {
  test = await createTestDatabase();
});
afterAll(() => test[Symbol.asyncDispose]());

async function canonical(rules: readonly unknown[]): Promise<Rule[]> {
  const { rows } = await test.database.pool.query<{ rule: Rule }>(
    "select carillon.canonical_rule(rule) as rule from unnest($1::jsonb[]) with ordinality as r (rule, n) order by n",
    [rules.map((rule) => JSON.stringify(rule))],
  );
  return rows.map(({ rule }) => rule);
}

const two = (max: number) => fc.integer({ min: 1, max }).map((value) => String(value).padStart(2, "0"));
const dates = fc.tuple(fc.integer({ min: 1971, max: 2050 }), two(12), two(28)).map((parts) => parts.join("-"));
const times = fc.tuple(two(23), two(59)).map((parts) => parts.join(":"));
const dateTimes = fc.tuple(dates, times, fc.constantFrom("", ":00", ":30")).map(([d, t, s]) => `${d}T${t}${s}`);
const bounds = fc.record(
  {
    offsetsMinutes: fc.array(fc.integer({ min: -1_440, max: 1_440 }), { minLength: 1, maxLength: 8 }),
    startsOn: fc.constant("2020-02-29"),
    endsOn: dates.filter((date) => date >= "2020-02-29"),
  },
  { requiredKeys: [] },
);
const zones = fc.record(
  {
    zone: fc.constantFrom("Europe/Berlin", "Asia/Kolkata", "UTC"),
    follows: fc.constant("user"),
    gap: fc.constantFrom("shift", "skip"),
    overlap: fc.constantFrom("first", "last", "both"),
  },
  { requiredKeys: ["zone"] },
);
const wall = fc
  .tuple(
    times,
    fc.option(fc.array(fc.integer({ min: 1, max: 7 }), { minLength: 1 }), { nil: undefined }),
    zones,
    bounds,
  )
  .map(([time, days, zone, bound]) => ({
    kind: "wall",
    time,
    ...(days === undefined ? {} : { days }),
    ...zone,
    ...bound,
  }));
const timetable = bounds.map((bound) => ({ kind: "timetable", placeId: 12, slot: "fajr", ...bound }));
// each with a moment of its own, so that none is refused for having none
const recurrence = fc
  .tuple(rruleTexts, fc.array(dateTimes, { maxLength: 5 }), zones, bounds)
  .map(([rrule, exdates, zone, bound]) => ({
    kind: "recurrence",
    start: "1970-01-01T09:30",
    rrule,
    rdates: ["2060-01-01T00:00"],
    exdates,
    ...zone,
    ...bound,
  }));

describe("the canonical form of a rule", () => {
  it("is the same in SQL and in TypeScript, and its own canonical form", { timeout: 60_000 }, async () => {
    const rules = fc.sample(fc.oneof(wall, timetable, recurrence), 1_500);
    const parsed = rules.map((rule) => parseRule(rule));
    expect(await canonical(rules)).toEqual(parsed);
    expect(await canonical(parsed)).toEqual(parsed);
    expect(parsed.map((rule) => parseRule(rule))).toEqual(parsed);
  });

  it("does not depend on the session's settings", async () => {
    const rule = { kind: "wall", time: "07:30", zone: "UTC", startsOn: "2026-03-04" };
    const client = await test.database.pool.connect();
    try {
      await client.query("begin; set local timezone to 'Pacific/Apia'; set local datestyle to 'SQL, DMY'");
      const { rows } = await client.query("select carillon.canonical_rule($1) as rule", [JSON.stringify(rule)]);
      expect(rows[0].rule).toEqual(parseRule(rule));
    } finally {
      await client.query("rollback");
      client.release();
    }
  });

  it("is what a schedule's rule must have", async () => {
    const insert = (rule: object) =>
      test.database.pool.query(
        `with topic as (insert into carillon.topics (name) values (gen_random_uuid()::text) returning topic_id)
         insert into carillon.schedules (topic_id, rule) select topic_id, $1 from topic`,
        [JSON.stringify(rule)],
      );
    const rule = { kind: "timetable", placeId: 1, slot: "fajr", offsetsMinutes: [-20, 0] };
    await insert(rule);
    await expect(insert({ ...rule, offsetsMinutes: [0, -20] })).rejects.toThrow("schedules_rule_check");
    await expect(insert({ ...rule, offsetsMinutes: undefined, offsetMinutes: 0 })).rejects.toThrow(
      "schedules_rule_check",
    );
  });
});

describe("rules that were stored before there were several offsets", () => {
  it("are rewritten, and keep their schedules", async () => {
    await using old = await createEmptyDatabase();
    using before = directoryBefore("0008");
    await migrate(old.url, { directory: before.directory });
    const { pool } = old.database;
    await pool.query(`
      insert into carillon.topics (name) values ('t');
      insert into carillon.schedules (topic_id, rule) select 1, carillon.canonical_rule(rule::jsonb)
      from (values ('{"kind": "instant", "at": "2031-01-01T00:00:00Z"}'),
        ('{"kind": "timetable", "placeId": 1, "slot": "fajr", "offsetMinutes": -20}'),
        ('{"kind": "timetable", "placeId": 1, "slot": "fajr"}'),
        ('{"kind": "wall", "time": "07:30", "zone": "Europe/Berlin"}')) as r (rule)`);
    await migrate(old.url);
    const { rows } = await pool.query<{ rule: Rule }>("select rule from carillon.schedules order by schedule_id");
    expect(rows.map(({ rule }) => rule)).toEqual([
      { kind: "instant", at: "2031-01-01T00:00:00Z" },
      { kind: "timetable", placeId: 1, slot: "fajr", offsetsMinutes: [-20] },
      { kind: "timetable", placeId: 1, slot: "fajr", offsetsMinutes: [0] },
      parseRule({ kind: "wall", time: "07:30", zone: "Europe/Berlin" }),
    ]);
  });
});

/** The migrations up to one, without the views, which may want more. */
function directoryBefore(name: string) {
  const directory = mkdtempSync(join(tmpdir(), "carillon-migrate-"));
  const packaged = new URL("../../db/migrations/", import.meta.url);
  for (const file of readdirSync(packaged).filter((each) => each < name)) {
    cpSync(new URL(file, packaged), join(directory, "migrations", file));
  }
  mkdirSync(join(directory, "views"));
  return { directory, [Symbol.dispose]: () => rmSync(directory, { recursive: true }) };
}
