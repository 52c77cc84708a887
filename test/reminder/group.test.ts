import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type CutWish, groupCount, groupRanges, hashSlots, releasedAfterMs } from "../../src/reminder/group.ts";

const policy = { groupTarget: 5000, groupsPerNode: 4, groupFloor: 500, liveNodes: 2 };

describe("groupRanges", () => {
  it("cover every slot once and are equally wide but for one slot", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: hashSlots }), (count) => {
        const ranges = groupRanges(count);
        expect(ranges).toHaveLength(count);
        let next = 0;
        let [narrowest, widest] = [hashSlots, 0];
        for (const { firstSlot, lastSlot } of ranges) {
          if (firstSlot !== next) return false;
          const width = lastSlot - firstSlot + 1;
          narrowest = Math.min(narrowest, width);
          widest = Math.max(widest, width);
          next = lastSlot + 1;
        }
        return next === hashSlots && narrowest >= 1 && widest - narrowest <= 1;
      }),
      { examples: [[1], [2], [3], [hashSlots - 1], [hashSlots]], numRuns: 40 },
    );
  });
});

const byPopulation: CutWish = { presetCount: null, spreadMs: 0 };

describe("releasedAfterMs", () => {
  it("releases the first at once, and the others evenly over the spread", () => {
    const wish = { presetCount: null, spreadMs: 60_000 };
    expect([0, 1, 2, 3].map((number) => releasedAfterMs(number, 4, wish))).toEqual([0, 15_000, 30_000, 45_000]);
    expect(releasedAfterMs(3, 4, byPopulation)).toBe(0);
  });
});

describe("groupCount", () => {
  it("has a group for each second of a spread, as long as there are people for it", () => {
    expect(groupCount(1000, { presetCount: null, spreadMs: 59_001 }, policy)).toBe(60);
    expect(groupCount(5, { presetCount: null, spreadMs: 60_000 }, policy)).toBe(5);
    expect(groupCount(1_000_000, { presetCount: null, spreadMs: 60_000 }, policy)).toBe(200);
  });

  it.each([
    ["nobody", 0, 1],
    ["one", 1, 1],
    ["fewer than the floor", 499, 1],
    ["not enough for every node", 1999, 3],
    ["enough for each node's four", 4000, 8],
    ["no more than parallelism needs", 39_000, 8],
    ["by size", 40_001, 9],
    ["many", 1_000_000, 200],
    ["no more than slots", 1_000_000_000, hashSlots],
  ])("%s: %i users make %i groups", (_, population, groups) => {
    expect(groupCount(population, byPopulation, policy)).toBe(groups);
  });

  it("grows with the live nodes", () => {
    expect(groupCount(30_000, byPopulation, { ...policy, liveNodes: 10 })).toBe(40);
  });

  it("is the preset where there is one, whatever the population", () => {
    for (const population of [0, 1, 1_000_000])
      expect(groupCount(population, { presetCount: 7, spreadMs: 60_000 }, policy)).toBe(7);
  });

  it("is at least one, and never leaves a group beyond the target or all nodes but one idle", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 50_000_000 }), fc.integer({ min: 1, max: 50 }), (population, liveNodes) => {
        const count = groupCount(population, byPopulation, { ...policy, liveNodes });
        const enough = Math.min(policy.groupsPerNode * liveNodes, Math.floor(population / policy.groupFloor));
        return count >= 1 && Math.floor(population / count) <= policy.groupTarget && count >= enough;
      }),
    );
  });
});
