import { describe, expect, it } from "vitest";
import { clockLine, instantOption, liveBy, speedOption } from "../../src/cli/clock-options.ts";
import type { PlaceReport } from "../../src/cli/place-report.ts";
import { markDeployment } from "../../src/store/deployment.ts";
import { createEmptyDatabase, createTestDatabase } from "../support/database.ts";
import { storyLimit } from "../support/nodes.ts";
import { carillon, typed } from "./carillon.ts";

describe("--now and --speed", () => {
  it.each([
    ["2027-03-28T00:30Z", "2027-03-28T00:30:00.000Z"],
    ["2027-03-28T00:30:15Z", "2027-03-28T00:30:15.000Z"],
    ["2027-03-28T02:30+01:00", "2027-03-28T01:30:00.000Z"],
    ["2027-03-28T02:30:15.75+01:00", "2027-03-28T01:30:15.000Z"],
  ])("takes the instant %s", (text, expected) => {
    expect(new Date(instantOption(text)).toISOString()).toBe(expected);
  });

  it.each(["tomorrow", "2027-03-28", "2027-03-28T00:30", "2027-02-30T00:30Z", "2027-03-28T24:30Z", "0"])(
    "refuses the instant %s",
    (text) => {
      expect(() => instantOption(text)).toThrow(/^It must be an instant such as 2027-03-28T00:30Z/);
    },
  );

  it.each([
    ["60", 60],
    ["0.5", 0.5],
    ["3600", 3600],
    ["0.000001", 0.000001],
  ])("takes the speed %s", (text, expected) => {
    expect(speedOption(text)).toBe(expected);
  });

  it.each(["0", "-1", "3600.5", "1e3", "fast", "", "Infinity"])("refuses the speed %j", (text) => {
    expect(() => speedOption(text)).toThrow("It must be a number from 0.000001 to 3600.");
  });

  it.each([
    [["dev", "--speed", "0"], /It must be a number from/],
    [["dev", "--now", "soon"], /It must be an instant/],
    [["demo", "--now", "2027-02-30T00:00Z"], /There is no such date/],
    [["demo", "--scenario", "new-year"], /Allowed choices are dst-night, ramadan-evening/],
    [["demo", "--scenario", "dst-night", "--now", "2027-03-28T00:30Z"], /cannot be used with option/],
    [["demo", "--scenario", "dst-night", "--kill"], /cannot be used with option/],
  ] as const)("a wrong command line is answered: %j", async (args, said) => {
    const { code, stderr } = await typed(args);
    expect(code).toBe(2);
    expect(stderr).toMatch(said);
  });

  it("are refused by a database that is not marked, whose clock stays as it was", async () => {
    await using test = await createTestDatabase();
    const options = { now: Date.parse("2027-03-28T00:30:00Z"), speed: 60 };
    await expect(liveBy(test.database.pool, options)).rejects.toMatchObject({ code: "not_a_development_database" });
    const demo = await typed(["demo", "--database-url", test.url, "--now", "2027-03-28T00:30Z", "--speed", "60"]);
    expect(demo).toMatchObject({ code: 1, stderr: expect.stringContaining("(not_a_demo_database)") });
    const { stdout } = await typed(["status"], { DATABASE_URL: test.url });
    expect(stdout).not.toContain("development clock");
    const json = JSON.parse((await typed(["status", "--json"], { DATABASE_URL: test.url })).stdout);
    expect(json.developmentClock).toBeNull();
  });

  it("are said by status, and gone where neither is given", async () => {
    await using test = await createTestDatabase();
    const { pool } = test.database;
    await markDeployment(pool, "development");
    const reading = await liveBy(pool, { now: Date.parse("2027-03-28T00:30:00Z"), speed: 60 });
    expect(clockLine(reading)).toMatch(
      /^A development clock: it shows 2027-03-28 00:3\d:\d\dZ, and goes 60 times as fast as real time\.$/,
    );
    const status = async () => (await typed(["status"], { DATABASE_URL: test.url })).stdout;
    expect(await status()).toMatch(
      /^Carillon at 2027-03-28 00:3\S+, by a development clock that goes 60 times as fast as real time\. Real time: 20/,
    );
    const json = JSON.parse((await typed(["status", "--json"], { DATABASE_URL: test.url })).stdout);
    expect(json).toMatchObject({
      clock: expect.stringMatching(/^2027-03-28T00:/),
      developmentClock: { speed: 60, realTime: expect.not.stringMatching(/^2027-03-28/) },
    });
    expect(clockLine(await liveBy(pool, { now: Date.parse("2020-01-01T00:00:00Z") }))).toMatch(
      /^A development clock: it shows 2020-01-01 00:00:\d\dZ, and goes as fast as real time\.$/,
    );
    expect(clockLine(await liveBy(pool, {}))).toBe("The clock is real time.");
    expect(await status()).not.toContain("development clock");
  });
});

describe("carillon demo", storyLimit, () => {
  it("lives at another time and pace, and says late in real milliseconds", async () => {
    await using test = await createEmptyDatabase();
    const args = ["--database-url", test.url, "--users", "50", "--now", "2027-03-28T00:30Z", "--speed", "60"];
    const { code, stdout, stderr } = await carillon(["demo", "--json", ...args]);
    expect({ code, stderr: code === 0 ? "" : stderr }).toEqual({ code: 0, stderr: "" });
    expect(stderr).toContain("A development clock: it shows 2027-03-28 00:3");
    expect(stderr).toMatch(/The moment: 2027-03-28T00:[34]/);
    const report = JSON.parse(stdout);
    expect(report).toMatchObject({ users: 50, delivered: 50, lost: 0, early: 0, duplicates: 0, ledger_imbalance: 0 });
    // on the clock itself it would be sixty times as much
    expect(report.first_lateness_ms).toBeLessThan(5000);
  });

  it("plays a night to its end: each place gets its own minute, and whoever wishes for none in a gap gets none", async () => {
    await using test = await createEmptyDatabase();
    // as fast as it can go: one window, in which all moments come within four seconds
    const args = ["--scenario", "dst-night", "--speed", "3600", "--users", "62", "--database-url", test.url];
    const { code, stdout, stderr } = await carillon(["demo", "--json", ...args]);
    expect({ code, stderr: code === 0 ? "" : stderr }).toEqual({ code: 0, stderr: "" });
    const report: { places: PlaceReport[] } = JSON.parse(stdout.trim().split("\n").at(-1) ?? "");
    expect(report).toMatchObject({ scenario: "dst-night", lost: 0, early: 0, duplicates: 0, ledger_imbalance: 0 });
    const lines = new Map(report.places.map((line) => [line.place, line]));
    expect(lines.get("Berlin")).toMatchObject({
      zone: "Europe/Berlin",
      expected_due_at: "2027-03-28T01:30:00Z",
      people: 2,
      received: 2,
    });
    expect(lines.get("Berlin (not in a gap)")).toMatchObject({ expected_due_at: null, received: 0 });
    expect(lines.get("Istanbul")).toMatchObject({ expected_due_at: "2027-03-27T23:30:00Z", received: 2 });
    expect(report.places.every(({ expected_due_at: due, received, people }) => received === (due ? people : 0))).toBe(
      true,
    );
  });
});
