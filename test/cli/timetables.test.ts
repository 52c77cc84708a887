import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { planDue } from "../../src/planner/plan.ts";
import { savePlaces } from "../../src/store/places.ts";
import { createTopic } from "../../src/store/topics.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";
import { minuteIn, seedTable, tableWith } from "../support/tables.ts";
import { carillon, typed } from "./carillon.ts";

let test: TestDatabase;
let env: { DATABASE_URL: string };
const directory = mkdtempSync(join(tmpdir(), "carillon-timetables-"));
const file = (name: string, content: unknown) => {
  const path = join(directory, name);
  writeFileSync(path, typeof content === "string" ? content : JSON.stringify(content));
  return path;
};
const [from, to] = [minuteIn(20), minuteIn(27)];

beforeAll(async () => {
  test = await createTestDatabase();
  env = { DATABASE_URL: test.url };
  await createTopic(test.database, "live", {});
  await seedTable(test.database, { name: "city", topic: "live", dueAtMs: { opens: from }, places: 2, users: 3 });
  await planDue(test.database, { horizonMs: 3_600_000, leadMs: 1000 }, new AbortController().signal);
  const places = [
    { key: "no-tromso", name: "Tromsø", latitude: 69.65, longitude: 18.96, zone: "Europe/Oslo", country: "NO" },
    { key: "no-tromso-2", name: "another", latitude: 69.6, longitude: 18.9, zone: "Europe/Oslo" },
  ];
  await savePlaces(test.database, places.toReversed(), String);
});
afterAll(async () => {
  rmSync(directory, { recursive: true });
  await test[Symbol.asyncDispose]();
});

const dueAt = async () => {
  const { rows } = await test.database.pool.query<{ due_at: Date }>(
    "select distinct due_at from carillon.time_buckets",
  );
  return rows.map((row) => row.due_at.getTime());
};
const replan = () =>
  planDue(test.database, { horizonMs: 3_600_000, leadMs: 1000 }, new AbortController().signal).then(dueAt);

describe("carillon places", () => {
  it("lists places, by the beginning of their keys", async () => {
    const all = await carillon(["places"], env);
    expect(all).toMatchObject({ code: 0, stderr: "" });
    expect(all.stdout).toMatch(/city-1 .*UTC .*city/);
    const some = JSON.parse((await typed(["places", "no-", "--json"], env)).stdout);
    expect(some.places.map((place: { key: string }) => place.key)).toEqual(["no-tromso", "no-tromso-2"]);
    expect(some.more).toBe(false);
    expect(await typed(["places", "xx"], env)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("(not_found)"),
    });
  });

  it("shows one with its timetable, its zone, and the times of today and tomorrow or why there are none", async () => {
    const { stdout } = await typed(["places", "no-tromso", "--json"], env);
    const place = JSON.parse(stdout);
    expect(place).toMatchObject({ key: "no-tromso", zone: "Europe/Oslo", timetable: "prayer", country: "NO" });
    expect(place.days.map((day: { version: number }) => day.version)).toEqual([1, 1]);
    expect(place.days[0].times.map((time: { slot: string }) => time.slot)).toContain("dhuhr");
    for (const { at, local, none } of place.days[0].times) expect(at === null).toBe(local === null && none !== null);
    const clock = new Intl.DateTimeFormat("en-GB", { timeZone: "Europe/Oslo", timeStyle: "short" });
    const dhuhr = place.days[0].times.find((time: { slot: string }) => time.slot === "dhuhr");
    expect(dhuhr.local).toBe(clock.format(new Date(dhuhr.at)));
    const people = await typed(["places", "city-0"], env);
    expect(people.stdout).toMatch(/zone UTC, timetable city\n/);
    expect(people.stdout).toMatch(/opens .*(\d\d:\d\d|none: )/);
  });
});

describe("carillon timetables", () => {
  it("lists them, and one's versions", async () => {
    const all = await typed(["timetables"], env);
    expect(all.stdout).toMatch(/city\W+table\W+1\W+since ever/);
    const one = await typed(["timetables", "prayer"], env);
    expect(one.stdout).toMatch(/^prayer, kind prayer\n/);
    expect(JSON.parse((await typed(["timetables", "city", "--json"], env)).stdout)).toMatchObject({
      kind: "table",
      versions: [{ version: 1, effectiveFrom: null, holdsToday: true, parameters: { slots: ["opens"] } }],
    });
    expect(await typed(["timetables", "none"], env)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("(not_found)"),
    });
  });

  it("corrects one from a file, after a dry run that changes nothing", async () => {
    const corrected = file("city.json", tableWith({ opens: to }));
    const dry = await typed(["timetables", "set", "city", "--file", corrected, "--dry-run"], env);
    expect(dry).toMatchObject({ code: 0, stderr: "" });
    expect(dry.stdout).toMatch(/^Version 1 of city is corrected; it holds since ever. Dry run: nothing was changed.\n/);
    expect(dry.stdout).toMatch(/live\W+city-0\W+opens\W+\S+\W+moves\W.*\W3\W/);
    expect(await replan()).toEqual([from]);
    const done = await typed(["timetables", "set", "city", "--file", corrected, "--note", "as posted", "--json"], env);
    expect(JSON.parse(done.stdout)).toMatchObject({
      name: "city",
      version: 1,
      created: false,
      dryRun: false,
      diff: { moments: [{ change: "moves" }, { change: "moves" }] },
    });
    expect(await replan()).toEqual([to]);
  });

  it("takes an uploaded table as CSV, from a date on", async () => {
    const csv = file("2031.csv", "date,opens\n2031-01-01,09:00\n2031-01-02,\n2031-01-03,10:30\n");
    const made = await carillon(["timetables", "set", "city", "--file", csv, "--from", "2031-01-01"], env);
    expect(made.stdout).toBe(
      "Version 2 of city is made; it holds from 2031-01-01 on.\nNo moment within the planner's horizon changes.\n",
    );
    const again = await typed(["timetables", "set", "city", "--file", csv, "--from", "2031-01-01"], env);
    expect(again.stdout).toMatch(/^Version 2 of city is corrected/);
    expect((await typed(["timetables", "city"], env)).stdout).toMatch(/2\W+2031-01-01/);
  });

  it.each([
    ["prayer", file("table.csv", "date,a\n2031-01-01,09:00\n"), [], "(invalid_request)", 1],
    ["city", file("bad.json", "{"), [], "(malformed_json)", 1],
    ["city", file("hole.csv", "date,a\n2031-01-01,09:00\n2031-01-03,09:00\n"), [], "Line 3", 1],
    ["city", join(directory, "none.json"), [], "can't be read", 1],
    ["none", file("some.json", {}), [], "(not_found)", 1],
    ["city", file("other.json", {}), ["--from", "2031-02-30"], "date of the calendar", 2],
  ])("says what is wrong with a correction of %s by %s", async (name, path, more, said, code) => {
    const before = (await typed(["timetables", "--json"], env)).stdout;
    const wrong = await typed(["timetables", "set", name, "--file", path, ...more], env);
    expect(wrong).toMatchObject({ code, stdout: "", stderr: expect.stringContaining(said) });
    expect((await typed(["timetables", "--json"], env)).stdout).toBe(before);
  });
});
