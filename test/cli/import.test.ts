import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { FaultReport } from "../../src/cli/import-faults.ts";
import { faultsText, type ImportSummary, progressText, summaryText } from "../../src/cli/import-report.ts";
import { geonamesLine } from "../import/geonames-line.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";
import { until } from "../support/world.ts";
import { carillon, startCarillon, typed } from "./carillon.ts";

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "carillon-test-import-"));
});
afterAll(() => rm(directory, { recursive: true, force: true }));

async function fileWith(name: string, text: string | Buffer | readonly string[]): Promise<string> {
  const path = join(directory, name);
  await writeFile(path, typeof text === "string" || Buffer.isBuffer(text) ? text : text.join("\n"));
  return path;
}

async function withDestination(test: TestDatabase): Promise<void> {
  await test.database.pool.query(
    `insert into carillon.destinations (name, url, sealed_secrets)
     values ('crm', 'https://receiver.example/', array['\\x00'::bytea])`,
  );
}

async function countIn(test: TestDatabase, table: string): Promise<number> {
  const { rows } = await test.database.pool.query<{ count: string }>(`select count(*) from carillon.${table}`);
  return Number(rows[0]?.count);
}

function lastObject<T>(text: string): T {
  const last: T = JSON.parse(text.trimEnd().split("\n").at(-1) ?? "");
  return last;
}

describe("carillon import", () => {
  it("says what became of the lines, to people and to programs, and which it left out", async () => {
    await using test = await createTestDatabase();
    const env = { DATABASE_URL: test.url };
    const file = await fileWith("users.csv", ["user_id,zone", "ada,UTC", "bob,Mars/Olympus", "", "eve,"]);
    const errors = join(directory, "errors.ndjson");

    const first = await typed(["import", "users", file, "--errors", errors, "--json"], env);
    expect(first.code).toBe(1);
    expect(lastObject(first.stdout)).toEqual({
      kind: "users",
      source: "users.csv",
      sha256: expect.stringMatching(/^[0-9a-f]{64}$/),
      importId: 1,
      lines: 5,
      linesDone: 5,
      inserted: 2,
      changed: 0,
      unchanged: 0,
      skipped: 1,
      bad: 1,
      zonesSuggested: 0,
      resumedBehind: 0,
      seconds: expect.any(Number),
      linesPerSecond: expect.any(Number),
      finished: true,
    });
    expect(first.stderr).toMatch(/^Imported users from users\.csv: 5 lines, in .*\n2 new, 0 changed, /);
    expect(first.stderr).toMatch(/Left out:\n {2}line 3, zone: .*Mars\/Olympus.* \(unknown_zone\)\n/);
    expect(JSON.parse(await readFile(errors, "utf8"))).toEqual({
      line: 3,
      code: "unknown_zone",
      reason: expect.stringContaining("Mars/Olympus"),
      column: "zone",
    });

    const second = await typed(["import", "users", file, "--allow-errors"], env);
    expect(second).toMatchObject({ code: 0, stdout: "" });
    expect(second.stderr).toContain("Nothing changed.");
  });

  it("reads standard input, lines of JSON, a dump of GeoNames and the cities that it brings", async () => {
    await using test = await createTestDatabase();
    const env = { DATABASE_URL: test.url };
    const piped = await carillon(["import", "users", "-", "--format", "ndjson", "--json"], env, '{"userId": "ada"}\n');
    expect(piped.code).toBe(0);
    expect(lastObject(piped.stdout)).toMatchObject({ source: "standard input", inserted: 1 });

    const json = await fileWith("timetables.jsonl", '{"name": "city", "kind": "prayer"}\n');
    expect(await typed(["import", "timetables", json], env)).toMatchObject({ code: 0 });

    const dump = await fileWith("XX.txt", [
      geonamesLine({}),
      geonamesLine({ id: "7", zone: "" }),
      geonamesLine({ class: "L" }),
    ]);
    const places = await typed(["import", "places", dump, "--geonames", "--json"], env);
    expect(lastObject(places.stdout)).toMatchObject({ inserted: 2, skipped: 1, zonesSuggested: 1, bad: 0 });
    expect(places.stderr).toMatch(/1 zones were not given and are suggested .* 2 of 100 cities/);

    const cities = await typed(["import", "places", "--city-timezones", "--json"], env);
    expect(lastObject<{ inserted: number }>(cities.stdout).inserted).toBeGreaterThan(7000);
    expect(await countIn(test, "imports")).toBe(4);
  });

  it("refuses a file as a whole, and has then written nothing", async () => {
    await using test = await createTestDatabase();
    const env = { DATABASE_URL: test.url };
    const latin1 = await fileWith("latin1.csv", Buffer.from("user_id\nok\nzoë\n", "latin1"));
    const utf16 = await fileWith("utf16.csv", Buffer.from("\ufeffuser_id\nok\n", "utf16le"));
    const header = await fileWith("header.csv", "user,zone\nada,UTC\n");
    const empty = await fileWith("empty.csv", "");
    for (const [file, code] of [
      [latin1, "wrong_encoding"],
      [utf16, "wrong_encoding"],
      [header, "unknown_columns"],
      [empty, "unknown_columns"],
      [join(directory, "none.csv"), "invalid_request"],
    ] as const) {
      const said = await typed(["import", "users", file], env);
      expect(said).toMatchObject({ code: 1, stdout: "", stderr: expect.stringContaining(`(${code})`) });
    }
    expect([await countIn(test, "users"), await countIn(test, "imports")]).toEqual([0, 0]);
  });

  it.each([
    [["users"], /missing required argument 'file'/],
    [["users", "x.txt"], /say with --format what x\.txt is/],
    [["users", "-"], /say with --format/],
    [["users", "x.csv", "--geonames"], /that is for places/],
    [["places", "x.csv", "--city-timezones"], /--city-timezones reads no file/],
    [["places", "x", "--geonames", "--format", "csv"], /exclude each other/],
    [["timetables", "x.csv"], /there is no CSV of timetables/],
    [["people", "x.csv"], /Allowed choices are places, users/],
    [["users", "x.csv", "--batch", "0"], /It must be a whole number from 1 to 100000/],
  ] as const)("answers a command line that is wrong: %j", async (args, said) => {
    const { code, stderr } = await typed(["import", ...args]);
    expect(code).toBe(2);
    expect(stderr).toMatch(said);
    expect(stderr).toContain("(see carillon import --help)");
  });

  it("killed in the middle of a batch, goes on behind the last one that was committed", {
    timeout: 120_000,
  }, async () => {
    await using test = await createTestDatabase();
    await withDestination(test);
    const env = { DATABASE_URL: test.url };
    const lines = Array.from({ length: 4999 }, (_, index) => `u${index},${index % 1000 === 500 ? "no" : "crm"}`);
    const file = await fileWith("killed.csv", ["user_id,destination", ...lines]);
    const errors = join(directory, "killed.ndjson");
    const command = ["import", "endpoints", file, "--batch", "1000", "--errors", errors, "--json"];

    // the fourth batch waits for this row, in the middle of what it does
    await test.database.pool.query("insert into carillon.users (user_id) values ('u3400')");
    const holder = await test.database.pool.connect();
    await holder.query("begin");
    await holder.query("select from carillon.users where user_id = 'u3400' for update");
    await using killed = startCarillon(command, env);
    await until(async () => (await waitingForLocks(test)) === 1, "the fourth batch waits");
    killed.kill("SIGKILL");
    expect(await killed.exited).toMatchObject({ signal: "SIGKILL" });
    await test.database.pool.query(
      `select pg_terminate_backend(pid) from pg_stat_activity
       where datname = current_database() and application_name = 'carillon import'`,
    );
    await holder.query("rollback");
    holder.release();
    await until(async () => (await sessions(test)) === 0, "the sessions of the killed process are over");

    const { rows } = await test.database.pool.query(
      "select lines_done::int, inserted::int, bad::int from carillon.imports",
    );
    expect(rows).toEqual([{ lines_done: 3000, inserted: 2996, bad: 3 }]);
    expect(await countIn(test, "endpoints")).toBe(2996);

    const rest = await carillon(command, env);
    expect(rest.stderr).toMatch(/^Going on behind line 3000 of the import of /);
    expect(lastObject(rest.stdout)).toMatchObject({
      resumedBehind: 3000,
      linesDone: 5000,
      inserted: 4994,
      unchanged: 0,
      bad: 5,
      finished: true,
    });
    // nothing lost, nothing twice
    expect([await countIn(test, "endpoints"), await countIn(test, "users"), await countIn(test, "imports")]).toEqual([
      4994, 4994, 1,
    ]);
    expect(await linesIn(errors)).toEqual([502, 1502, 2502, 3502, 4502]);
  });

  it("asked to stop, ends behind the batch that it is at", async () => {
    await using test = await createTestDatabase();
    const env = { DATABASE_URL: test.url };
    const file = await fileWith("stopped.csv", ["user_id,zone", ...Array.from({ length: 500 }, (_, i) => `u${i},UTC`)]);
    await test.database.pool.query("insert into carillon.users (user_id) values ('u150')");
    const holder = await test.database.pool.connect();
    await holder.query("begin");
    await holder.query("select from carillon.users where user_id = 'u150' for update");
    await using stopped = startCarillon(["import", "users", file, "--batch", "100"], env);
    await until(async () => (await waitingForLocks(test)) === 1, "the second batch waits");
    stopped.kill("SIGINT");
    await stopped.said("stderr", /^Stopping behind the lines/);
    await holder.query("commit");
    holder.release();
    await stopped.said("stderr", /Stopped behind line 200 of 501 of stopped\.csv; the same command goes on from there/);
    expect(await stopped.exited).toEqual({ code: 75, signal: null });
    expect(await countIn(test, "users")).toBe(199);
    const rest = await typed(["import", "users", file, "--restart", "--json"], env);
    expect(lastObject(rest.stdout)).toMatchObject({ resumedBehind: 0, inserted: 301, unchanged: 199 });
  });

  it("takes 100,000 endpoints, and says how far it is when that takes a while", { timeout: 120_000 }, async () => {
    await using test = await createTestDatabase();
    await withDestination(test);
    const env = { DATABASE_URL: test.url };
    const lines = Array.from({ length: 100_000 }, (_, index) => `user-${index % 60_000},crm,"address ${index}"`);
    const file = await fileWith("many.csv", ["user_id,destination,address", ...lines]);
    const { code, stdout, stderr } = await carillon(["import", "endpoints", file, "--json"], env);
    expect(code).toBe(0);
    const summary = lastObject<ImportSummary>(stdout);
    expect(summary).toMatchObject({ inserted: 100_000, bad: 0, lines: 100_001 });
    // a batch at the end may come after the last two seconds
    if (summary.seconds > 6) expect(stderr).toMatch(/^[\d,]+ of 100,001 lines, [\d,]+ lines\/s$/m);
    const { rows } = await test.database.pool.query(
      `select count(*)::int as endpoints, count(distinct user_number)::int as users, max(ordinal)::int as most,
              bool_and(u.hash_slot = e.hash_slot) as placed
       from carillon.endpoints e join carillon.users u using (user_number)`,
    );
    expect(rows).toEqual([{ endpoints: 100_000, users: 60_000, most: 2, placed: true }]);
  });
});

describe("what is said", () => {
  const summary: ImportSummary = {
    kind: "places",
    source: "p.csv",
    sha256: "",
    importId: 1,
    lines: 12_000,
    linesDone: 12_000,
    inserted: 0,
    changed: 0,
    unchanged: 11_000,
    skipped: 999,
    bad: 1,
    zonesSuggested: 0,
    resumedBehind: 0,
    seconds: 2,
    linesPerSecond: 6000,
    finished: true,
  };

  it("sums up", () => {
    expect(summaryText(summary)).toBe(
      "Imported places from p.csv: 12,000 lines, in 2.0 s (6,000 lines/s).\n" +
        "0 new, 0 changed, 11,000 there already, 999 passed over, 1 left out.\nNothing changed.\n",
    );
    expect(summaryText({ ...summary, resumedBehind: 9999 })).toMatch(/12,000 lines, from line 10,000 on, in/);
    const state = { ...summary, startedAt: new Date(0) };
    expect(progressText({ ...state, linesDone: 6000 }, 12_000, 3000)).toBe(
      "6,000 of 12,000 lines, 3,000 lines/s, 1 left out\n",
    );
  });

  it("keeps control characters of a file from the terminal", () => {
    const fault = { line: 7, code: "invalid_request", reason: "\u001b[2Jgone", pointer: "/name" };
    expect(faultsText([fault], 3, undefined)).toBe(
      "Left out:\n  line 7, /name:  [2Jgone (invalid_request)\n  and 2 more: --errors FILE writes all\n",
    );
  });
});

describe("the file of what was left out", () => {
  const fault = (line: number) => ({ line, code: "unknown_zone", reason: "no" });
  const state = {
    importId: 1,
    inserted: 0,
    changed: 0,
    unchanged: 0,
    skipped: 0,
    zonesSuggested: 0,
    startedAt: new Date(0),
  };

  it("begins anew with an import, and goes on with one that was cut off, without what comes again", async () => {
    const path = await fileWith("report.ndjson", '{"line": 1}\nof another import\n');
    {
      await using report = new FaultReport(path);
      expect(await report.begin({ ...state, linesDone: 0, bad: 0 })).toBe(0);
      await report.add([fault(3), fault(9)]);
      await report.add([fault(15)]);
      expect(report.shown.map(({ line }) => line)).toEqual([3, 9, 15]);
    }
    await writeFile(path, `${await readFile(path, "utf8")}{"line": 17, "co`);
    await using report = new FaultReport(path);
    expect(await report.begin({ ...state, linesDone: 10, bad: 2 })).toBe(0);
    await report.add([fault(15)]);
    expect(await linesIn(path)).toEqual([3, 9, 15]);
  });

  it("says what it lacks where an earlier run wrote elsewhere", async () => {
    await using report = new FaultReport(join(directory, "other.ndjson"));
    expect(await report.begin({ ...state, linesDone: 10, bad: 2 })).toBe(2);
  });
});

async function linesIn(path: string): Promise<number[]> {
  const text = await readFile(path, "utf8");
  return text
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line).line);
}

async function waitingForLocks(test: TestDatabase): Promise<number> {
  const { rowCount } = await test.database.pool.query(
    `select from pg_stat_activity
     where datname = current_database() and application_name = 'carillon import' and wait_event_type = 'Lock'`,
  );
  return rowCount ?? 0;
}

async function sessions(test: TestDatabase): Promise<number> {
  const { rowCount } = await test.database.pool.query(
    "select from pg_stat_activity where datname = current_database() and application_name = 'carillon import'",
  );
  return rowCount ?? 0;
}
