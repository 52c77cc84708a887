import { describe, expect, it } from "vitest";
import { catchUp, missedAt } from "../../src/timetable/catch-up.ts";

const occurrences = [1_000, 2_000, 3_000].map((dueAtMs) => ({ key: String(dueAtMs), dueAtMs }));
const [first, second, third] = occurrences;

describe("catch-up", () => {
  it("fires none, the latest or all of what was missed", () => {
    expect(catchUp("skip", occurrences)).toEqual({ fire: [], skip: occurrences });
    expect(catchUp("latest", occurrences)).toEqual({ fire: [third], skip: [first, second] });
    expect(catchUp("all", occurrences)).toEqual({ fire: occurrences, skip: [] });
  });

  it.each(["skip", "latest", "all"] as const)("%s has nothing to do when nothing was missed", (policy) => {
    expect(catchUp(policy, [])).toEqual({ fire: [], skip: [] });
  });
});

describe("missed", () => {
  it("is what lies behind by more than the tolerance", () => {
    expect(missedAt(occurrences, 3_000, 1_000)).toEqual({ missed: [first], current: [second, third] });
    expect(missedAt(occurrences, 3_000, 999)).toEqual({ missed: [first, second], current: [third] });
    expect(missedAt(occurrences, 3_000, 0)).toEqual({ missed: [first, second], current: [third] });
  });

  it("is never what is still ahead", () => {
    expect(missedAt(occurrences, 0, 0)).toEqual({ missed: [], current: occurrences });
  });
});
