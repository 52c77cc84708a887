import { existsSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { mutants } from "../../scripts/mutants/list.ts";

const root = new URL("../../", import.meta.url);

describe("the list of mutants", () => {
  it("names places that are there, and tests that are", () => {
    const stale = mutants.flatMap(({ name, edits, tests }) => [
      ...edits
        .filter(({ file, find }) => !readFileSync(new URL(file, root), "utf8").includes(find))
        .map(({ file }) => `${name}: not found in ${file}`),
      ...tests.filter((test) => !existsSync(new URL(test, root))).map((test) => `${name}: no ${test}`),
    ]);
    expect(stale).toEqual([]);
  });
});
