import { describe, expect, it } from "vitest";
import { contenderNames } from "../../scripts/bench/contender.ts";
import { readOptions } from "../../scripts/bench/options.ts";

describe("the bench's arguments", () => {
  it("have defaults", () => {
    expect(readOptions([])).toMatchObject({
      users: 50_000,
      rounds: 3,
      json: false,
      window: 3840,
      only: contenderNames,
    });
  });

  it("are read", () => {
    const args = ["--users", "1000", "--rounds", "5", "--json", "--only", "carillon", "--only", "cron-loop"];
    expect(readOptions(args)).toMatchObject({ users: 1000, rounds: 5, json: true, only: ["carillon", "cron-loop"] });
  });

  it.each([["--users", "0"], ["--users", "many"], ["--rounds", "1.5"], ["--only", "kafka"], ["--frobnicate"]])(
    "are refused with a sentence: %s %s",
    (...args) => {
      expect(() => readOptions(args.filter((arg) => arg !== undefined))).toThrow(
        expect.objectContaining({ code: "bad_configuration", message: expect.stringContaining(args[0] ?? "") }),
      );
    },
  );
});
