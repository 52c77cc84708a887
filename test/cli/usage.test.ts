import type { Command } from "commander";
import { afterEach, describe, expect, inject, it, vi } from "vitest";
import { explain } from "../../src/cli/explain.ts";
import { createProgram } from "../../src/cli/program.ts";
import { urlOf } from "../support/server.ts";
import { carillon } from "./carillon.ts";

const verbs = ["migrate", "api", "worker", "all", "dev", "demo", "status", "sql", "keys", "version"];
/** nobody listens on port 1 */
const nowhere = "postgres://carillon:secret@127.0.0.1:1/carillon";

afterEach(() => void vi.unstubAllEnvs());

function withAllBelow(command: Command): Command[] {
  return [command, ...command.commands.flatMap(withAllBelow)];
}

function quiet(program: Command): { program: Command; said: () => string } {
  let text = "";
  const write = (some: string) => {
    text += some;
  };
  for (const command of withAllBelow(program)) command.configureOutput({ writeOut: write, writeErr: write });
  return { program, said: () => text };
}

/** Types a command that must fail before it starts anything, in this process. */
async function failing(args: readonly string[], env: Readonly<Record<string, string>> = {}) {
  for (const name of ["DATABASE_URL", "HOST", "PORT", "LOG_LEVEL"]) vi.stubEnv(name, env[name] ?? "");
  for (const [name, value] of Object.entries(env)) vi.stubEnv(name, value);
  const { program, said } = quiet(createProgram());
  const error = await program.parseAsync(args, { from: "user" }).then(
    () => expect.fail(`${args.join(" ")} did not fail`),
    (thrown: unknown) => thrown,
  );
  const { text, exitCode } = explain(error);
  return { exitCode, text: said() + text };
}

describe("carillon", () => {
  it("lists its verbs", async () => {
    const { code, stdout } = await carillon(["--help"]);
    expect(code).toBe(0);
    const listed = [...stdout.matchAll(/^ {2}([a-z]+) /gm)].map(([, verb]) => verb);
    expect(listed).toEqual([...verbs, "help"]);
  });

  it("gives an example with each verb that does something", () => {
    const leaves = withAllBelow(createProgram()).filter(({ commands }) => commands.length === 0);
    expect(leaves.length).toBeGreaterThanOrEqual(verbs.length);
    const without = leaves.filter((command) => {
      const { program, said } = quiet(command);
      program.outputHelp();
      return !/^Example:\n {2}\$ .*carillon /m.test(said());
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
    const { exitCode, text } = await failing(args);
    expect(exitCode).toBe(2);
    expect(text).toMatch(said);
  });

  it.each(["migrate", "api", "worker", "all", "status", "keys list"])(
    "%s says in one sentence each what is wrong with the configuration",
    async (verb) => {
      const bad = { DATABASE_URL: "mysql://x", PORT: "http", CARILLON_LEASE_MS: "1" };
      const { exitCode, text } = await failing(verb.split(" "), bad);
      expect(exitCode).toBe(78);
      expect(text.split("\n")).toHaveLength(3);
      for (const name of Object.keys(bad)) expect(text).toContain(name);
    },
  );

  it.each(["migrate", "api", "worker", "all", "status", "keys list", "sql next"])(
    "%s asks for the database where it has none, and tells one that is away from a mistake",
    async (verb) => {
      const without = await failing(verb.split(" "));
      expect(without.exitCode).toBe(78);
      expect(without.text).toMatch(/^DATABASE_URL is not set: say where Postgres is/);
      const away = await failing(verb.split(" "), { DATABASE_URL: nowhere, PORT: "0", LOG_LEVEL: "silent" });
      expect(away.exitCode).toBe(69);
      expect(away.text).toMatch(/^Postgres can't be reached .*ECONNREFUSED.* DATABASE_URL/);
    },
  );

  it("ends with that exit code and one line on stderr, and nothing on stdout", async () => {
    const [away, usage] = await Promise.all([carillon(["api"], { DATABASE_URL: nowhere }), carillon(["bogus"])]);
    expect(away).toEqual({ code: 69, stdout: "", stderr: expect.stringMatching(/^carillon: Postgres .*\n$/) });
    expect(usage).toEqual({ code: 2, stdout: "", stderr: expect.stringMatching(/^error: /) });
  });

  it("tells a database that does not exist, and one that was never migrated", async () => {
    const { serverUrl } = inject("postgres");
    const missing = await failing(["status"], { DATABASE_URL: urlOf(serverUrl, "no_such_database") });
    expect(missing).toEqual({ exitCode: 78, text: expect.stringMatching(/"no_such_database" does not exist/) });
    const empty = await failing(["worker"], {
      DATABASE_URL: urlOf(serverUrl, "template1"),
      PORT: "0",
      LOG_LEVEL: "silent",
    });
    expect(empty).toEqual({ exitCode: 75, text: expect.stringMatching(/run carillon migrate/) });
  });

  it("tells its version to people and to programs", async () => {
    const [people, programs] = await Promise.all([carillon(["version"]), carillon(["version", "--json"])]);
    expect(people.stdout).toMatch(/^carillon \d+\.\d+\.\d+ on Node \d+/);
    expect(JSON.parse(programs.stdout)).toEqual({ carillon: expect.any(String), node: process.versions.node });
  });
});
