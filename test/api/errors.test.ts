import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { CarillonError, errorCatalogue, ManyErrors, throwAny } from "../../src/errors.ts";

const documented = readFileSync(new URL("../../docs/errors.md", import.meta.url), "utf8");

describe("docs/errors.md", () => {
  it("lists every code with its status and title, what to do about it, and no other code", () => {
    const rows = [...documented.matchAll(/^\| `(\w+)` \| (\d+) \| (.+?) \| (.*) \|$/gm)];
    const listed = rows.map(([, code, status, title]) => [code, { status: Number(status), title }]);
    expect(Object.fromEntries(listed)).toEqual(errorCatalogue);
    expect(listed).toHaveLength(Object.keys(errorCatalogue).length);
    for (const [, code, , , advice] of rows) expect(advice?.length, code).toBeGreaterThan(10);
  });
});

describe("throwAny", () => {
  const first = new CarillonError("unknown_topic", "No topic.", { pointer: "/topic" });
  const second = new CarillonError("past_instant", "Past.", { pointer: "/at" });

  it("throws nothing, the one error, or all together under the first's code", () => {
    expect(() => throwAny([])).not.toThrow();
    expect(() => throwAny([first])).toThrow(first);
    try {
      throwAny([first, second]);
      expect.unreachable();
    } catch (error) {
      expect(error).toBeInstanceOf(ManyErrors);
      expect(error).toMatchObject({ code: "unknown_topic", pointer: "/topic", status: 422, errors: [first, second] });
    }
  });
});
