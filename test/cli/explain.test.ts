import { CommanderError } from "commander";
import { describe, expect, it } from "vitest";
import { explain } from "../../src/cli/explain.ts";
import { CarillonError } from "../../src/errors.ts";

function coded(code: string, message: string): Error {
  return Object.assign(new Error(message), { code });
}

describe("explain", () => {
  it("leaves to commander what commander has said", () => {
    expect(explain(new CommanderError(0, "commander.help", "(outputHelp)"))).toEqual({ text: "", exitCode: 0 });
    expect(explain(new CommanderError(1, "commander.unknownCommand", "no"))).toEqual({ text: "", exitCode: 2 });
  });

  it("gives an error of the catalogue with its code", () => {
    const { text, exitCode } = explain(new CarillonError("bad_configuration", "PORT must be a number."));
    expect({ text, exitCode }).toEqual({ text: "PORT must be a number. (bad_configuration)", exitCode: 78 });
  });

  it("names each address of a host that was tried", () => {
    const refused = new AggregateError([
      coded("ECONNREFUSED", "connect ECONNREFUSED ::1:5432"),
      coded("ECONNREFUSED", "connect ECONNREFUSED 127.0.0.1:5432"),
    ]);
    const { text, exitCode } = explain(refused);
    expect(exitCode).toBe(69);
    expect(text).toContain("connect ECONNREFUSED ::1:5432; connect ECONNREFUSED 127.0.0.1:5432");
  });

  it.each([
    ["28P01", 'password authentication failed for user "carillon"', 78],
    ["3D000", 'database "carillon" does not exist', 78],
    ["57P03", "the database system is starting up", 69],
    ["53300", "sorry, too many clients already", 69],
    ["42P01", 'relation "carillon.topics" does not exist', 75],
  ])("tells SQLSTATE %s (%s) by exit code %i", (code, message, exitCode) => {
    const explained = explain(coded(code, message));
    expect(explained.exitCode).toBe(exitCode);
    expect(explained.text).not.toContain("    at ");
  });

  it("shows where a fault of our own comes from", () => {
    const { text, exitCode } = explain(new TypeError("undefined is not a function"));
    expect(exitCode).toBe(1);
    expect(text).toMatch(/^TypeError: undefined is not a function\n {4}at /);
    expect(explain("nonsense")).toEqual({ text: "nonsense", exitCode: 1 });
  });
});
