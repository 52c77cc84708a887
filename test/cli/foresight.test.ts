import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { pauseSchedule } from "../../src/store/halt.ts";
import { changeUser } from "../../src/store/moving.ts";
import { saveMute } from "../../src/store/mutes.ts";
import { savePlaces } from "../../src/store/places.ts";
import { savePreferences } from "../../src/store/preferences.ts";
import { subscribe } from "../../src/store/subscribe.ts";
import { createTopic } from "../../src/store/topics.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";
import { carillon, typed } from "./carillon.ts";

let test: TestDatabase;
let env: { DATABASE_URL: string };
let ids: string[];

/** The next year's summer time begins in Berlin some time in its March. */
const year = new Date().getUTCFullYear() + 1;

beforeAll(async () => {
  test = await createTestDatabase();
  env = { DATABASE_URL: test.url };
  const db = test.database;
  await createTopic(db, "live", {});
  await savePlaces(
    db,
    [{ key: "tromso", name: "Tromsø", country: "NO", latitude: 69.65, longitude: 18.96, zone: "Europe/Oslo" }],
    () => "",
  );
  const endpoints = [{ channel: "memory", address: "device-1" }];
  const saved = await subscribe(
    db,
    [
      {
        userId: "ada",
        topic: "live",
        when: { daily: { time: "02:30", zone: "Europe/Berlin" } },
        endpoints,
        pointer: "",
      },
      {
        userId: "ada",
        topic: "live",
        when: { timetable: { where: { key: "tromso" }, slot: "sunrise" } },
        endpoints,
        pointer: "",
      },
      {
        userId: "bob",
        topic: "live",
        when: { daily: { time: "02:30", zone: "Europe/Berlin" } },
        endpoints: [],
        pointer: "",
      },
      {
        userId: "cem",
        topic: "live",
        when: { daily: { time: "02:30", zone: "Europe/Berlin" } },
        endpoints,
        pointer: "",
      },
      {
        userId: "dan",
        topic: "live",
        when: { daily: { time: "02:30", zone: "Europe/Berlin" } },
        endpoints,
        pointer: "",
      },
    ],
    { planHorizonMs: 1000 },
  );
  ids = saved.map(({ scheduleId }) => scheduleId);
  await changeUser(db, "ada", { create: true, zone: "America/New_York", locale: null }, { planHorizonMs: 3_600_000 });
  await saveMute(db, "cem", { topic: null, until: null });
  await changeUser(db, "dan", { create: false, zone: "Asia/Kathmandu", locale: null }, { planHorizonMs: 3_600_000 });
  // 02:30 in Berlin's summer is 06:15 there
  await savePreferences(db, "dan", { preferences: [], quietHours: [{ topic: null, from: "23:00", to: "06:20" }] });
});

afterAll(() => test[Symbol.asyncDispose]());

/** begins colours and cursor movements, which must not come through a pipe */
const escapeCharacter = "\u001b";

describe("carillon preview", () => {
  it("shows people and programs the same: the moments, the odd night, and what gave them", async () => {
    const asked = ["preview", ids[0] ?? "", "--count", "40", "--from", `${year}-03-01T00:00:00Z`];
    const people = await carillon(asked, env);
    const programs = await typed([...asked, "--json"], env);
    expect(people).toMatchObject({ code: 0, stderr: "" });
    expect(people.stdout).toMatch(/Schedule \d+ \(live\): daily 02:30 Europe\/Berlin/);
    expect(people.stdout).toMatch(/02:30 does not exist on \d{4}-03-\d\d in Europe\/Berlin: moved to 03:30/);
    expect(people.stdout).not.toContain(escapeCharacter);
    const preview: { moments: { dueAt: string; notes: unknown[] }[]; tzdata: string } = JSON.parse(programs.stdout);
    expect(preview.tzdata).toBe(process.versions.tz);
    expect(preview.moments).toHaveLength(40);
    expect(preview.moments.filter(({ notes }) => notes.length > 0)).toHaveLength(1);
    for (const { dueAt } of preview.moments) expect(people.stdout).toContain(dueAt.slice(0, 19).replace("T", " "));
  });

  it("says when there is nothing, and why", async () => {
    const { stdout } = await typed(["preview", ids[1] ?? "", "--count", "2", "--from", `${year}-12-10T00:00:00Z`], env);
    expect(stdout).toMatch(/Without a moment:\n {2}\d{4}-12-10 to \d{4}-01-\d\d: no sunrise: the sun does not rise/);
    expect(stdout).toMatch(/sunrise of \d{4}-01-\d\d \(prayer, version 1\)/);
  });

  it.each([
    [["preview", "0"], 2],
    [["preview", "1", "--count", "0"], 2],
    [["preview", "1", "--from", "tomorrow"], 2],
    [["preview", "999"], 1],
  ])("refuses %j with %i", async (asked, code) => {
    const said = await typed(asked, env);
    expect(said).toMatchObject({ code, stdout: "" });
    expect(said.stderr).not.toBe("");
  });
});

describe("carillon explain", () => {
  const at = ["--at", `${year}-06-01T00:00:00Z`];

  it("says in a line a moment what comes and what does not", async () => {
    const ada = await typed(["explain", "ada", ...at], env);
    expect(ada.stdout).toMatch(
      /T20:30:00-04:00 .*daily 02:30 Europe\/Berlin .*yes, by memory to device-1 \(endpoint 1\)/,
    );
    expect(ada.stdout).toMatch(/no sunrise: the sun does not set .*\(live: sunrise at Tromsø\)/);
    expect((await typed(["explain", "bob", ...at], env)).stdout).toMatch(/no: no endpoint/);
    expect((await typed(["explain", "cem", ...at], env)).stdout).toMatch(/no: muted/);
    expect((await typed(["explain", "dan", ...at], env)).stdout).toMatch(
      /held until \d{4}-06-01T06:20:00\+05:45 by quiet hours, then by memory to device-1 \(endpoint 1\)/,
    );
    const { moments, absences } = JSON.parse((await typed(["explain", "ada", ...at, "--json"], env)).stdout);
    expect(moments).toMatchObject([{ verdict: "to be sent", topic: "live" }]);
    expect(absences).toMatchObject([{ code: "polar_day" }]);
  });

  it("says that there is no such user, and how to say a time", async () => {
    expect(await typed(["explain", "nobody"], env)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("unknown_user"),
    });
    expect(await typed(["explain", "ada", "--at", "noon"], env)).toMatchObject({ code: 2 });
  });
});

describe("carillon plan", () => {
  it("only rehearses, and wants to be told so", async () => {
    expect(await typed(["plan"], env)).toMatchObject({ code: 2, stderr: expect.stringContaining("--dry-run") });
    expect(await typed(["plan", "--dry-run", "--within", "soon"], env)).toMatchObject({ code: 2 });
    expect(await typed(["plan", "--dry-run", "--at", "2020-01-01T00:00:00Z"], env)).toMatchObject({ code: 1 });
  });

  it("shows moments, people and groups, and changes nothing", async () => {
    const asked = ["plan", "--dry-run", "--at", `${year}-06-01T00:00:00Z`, "--within", "2h"];
    await pauseSchedule(test.database, ids[0] ?? "");
    const people = await typed(asked, env);
    const { buckets } = JSON.parse((await typed([...asked, "--json"], env)).stdout);
    expect(buckets).toMatchObject([{ change: "new", population: 4, groups: 1, paused: true, topic: "live" }]);
    expect(people.stdout).toMatch(/daily 02:30 Europe\/Berlin .*new, paused .* 4 .* 1 /);
    expect(people.stdout).toMatch(/Moments: 1, people: 4, groups: 1\. Nothing was changed\.\n$/);
    const { rows } = await test.database.pool.query("select from carillon.time_buckets");
    expect(rows).toEqual([]);
  });
});
