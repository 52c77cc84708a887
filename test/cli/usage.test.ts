import type { Command } from "commander";
import { describe, expect, inject, it } from "vitest";
import { createProgram } from "../../src/cli/program.ts";
import { urlOf } from "../support/server.ts";
import { carillon, typed } from "./carillon.ts";

const verbs = [
  "migrate",
  "api",
  "worker",
  "all",
  "dev",
  "demo",
  "import",
  "status",
  "sql",
  "doctor",
  "send-test",
  "preview",
  "explain",
  "plan",
  "places",
  "timetables",
  "keys",
  "version",
];
/** nobody listens on port 1 */
const nowhere = "postgres://carillon:secret@127.0.0.1:1/carillon";

function withAllBelow(command: Command): Command[] {
  return [command, ...command.commands.flatMap(withAllBelow)];
}

describe("carillon", () => {
  it("lists its verbs", async () => {
    const { code, stdout } = await typed(["--help"]);
    expect(code).toBe(0);
    const listed = [...stdout.matchAll(/^ {2}([a-z-]+) /gm)].map(([, verb]) => verb);
    expect(listed).toEqual([...verbs, "help"]);
  });

  it("gives an example with each verb that does something", () => {
    const leaves = withAllBelow(createProgram()).filter(({ commands }) => commands.length === 0);
    expect(leaves.length).toBeGreaterThanOrEqual(verbs.length);
    const without = leaves.filter((command) => {
      let help = "";
      command.configureOutput({
        writeOut: (text) => {
          help += text;
        },
      });
      command.outputHelp();
      return !/^Example:\n {2}\$ .*carillon /m.test(help);
    });
    expect(without.map((command) => command.name())).toEqual([]);
  });

  it.each([
    [["bogus"], /unknown command 'bogus'\n\(see carillon --help\)/],
    [["keys", "create"], /'--name <name>' not specified\n\(see carillon keys create --help\)/],
    [["keys", "revoke", "first"], /It must be a number; carillon keys list shows it/],
    [["dev", "--port", "80000"], /It must be a whole number from 0 to 65535/],
    [["demo", "--users", "none"], /It must be a whole number from 1 to 5000000/],
  ] as const)("answers a command line that is wrong with where to look: %j", async (args, said) => {
    const { code, stdout, stderr } = await typed(args);
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).toMatch(said);
  });

  it.each(["migrate", "api", "worker", "all", "status", "keys list"])(
    "%s says in one sentence each what is wrong with the configuration",
    async (verb) => {
      const bad = { DATABASE_URL: "mysql://x", PORT: "http", CARILLON_LEASE_MS: "1" };
      const { code, stdout, stderr } = await typed(verb.split(" "), bad);
      expect({ code, stdout }).toEqual({ code: 78, stdout: "" });
      expect(stderr.split("\n")).toHaveLength(3);
      for (const name of Object.keys(bad)) expect(stderr).toContain(name);
    },
  );

  it.each(["migrate", "api", "worker", "all", "status", "keys list", "sql next"])(
    "%s asks for the database where it has none, and tells one that is away from a mistake",
    async (verb) => {
      const without = await typed(verb.split(" "));
      expect(without.code).toBe(78);
      expect(without.stderr).toMatch(/^DATABASE_URL is not set: say where Postgres is/);
      const away = await typed(verb.split(" "), { DATABASE_URL: nowhere, PORT: "0", LOG_LEVEL: "silent" });
      expect(away.code).toBe(69);
      expect(away.stderr).toMatch(/^Postgres can't be reached .*ECONNREFUSED.* DATABASE_URL/);
    },
  );

  it("ends with that exit code and one line on stderr, and nothing on stdout", async () => {
    const [away, usage] = await Promise.all([carillon(["api"], { DATABASE_URL: nowhere }), carillon(["bogus"])]);
    expect(away).toEqual({ code: 69, stdout: "", stderr: expect.stringMatching(/^carillon: Postgres .*\n$/) });
    expect(usage).toEqual({ code: 2, stdout: "", stderr: expect.stringMatching(/^error: /) });
  });

  it("tells a database that does not exist, and one that was never migrated", async () => {
    const { serverUrl } = inject("postgres");
    const missing = await typed(["status"], { DATABASE_URL: urlOf(serverUrl, "no_such_database") });
    expect(missing).toMatchObject({ code: 78, stderr: expect.stringMatching(/"no_such_database" does not exist/) });
    const empty = { DATABASE_URL: urlOf(serverUrl, "template1"), PORT: "0", LOG_LEVEL: "silent" };
    const unready = await typed(["worker"], empty);
    expect(unready).toMatchObject({ code: 75, stderr: expect.stringMatching(/run carillon migrate/) });
  });

  it("tells its version to people and to programs", async () => {
    const people = await typed(["version"]);
    const programs = await typed(["version", "--json"]);
    expect(people.stdout).toMatch(/^carillon \d+\.\d+\.\d+ on Node \d+/);
    expect(JSON.parse(programs.stdout)).toEqual({ carillon: expect.any(String), node: process.versions.node });
  });
});
