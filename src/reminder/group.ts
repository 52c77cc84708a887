/** A group is one range of hash slots of a time bucket; the ranges of a bucket cover all slots and are equally wide. */

export const hashSlots = 65_536;

export interface CutPolicy {
  /** members that a group should have, where the population decides */
  readonly groupTarget: number;
  /** groups per live node that there should be at least, so that all nodes have something to do ... */
  readonly groupsPerNode: number;
  /** ... as long as each group keeps so many members */
  readonly groupFloor: number;
  readonly liveNodes: number;
}

/** What a topic says of how its moments are cut. */
export interface CutWish {
  /** null: by population */
  readonly presetCount: number | null;
  /** the groups are released one after another over so long; 0: all at once */
  readonly spreadMs: number;
}

/**
 * How many groups a bucket is cut into: a preset count (two or more, the method's rule), or by population; where they are
 * spread, one for each second at least. At least one: whoever subscribes after the cut must fall into a group.
 */
export function groupCount(population: number, { presetCount, spreadMs }: CutWish, policy: CutPolicy): number {
  if (presetCount !== null) return presetCount;
  const bySize = Math.ceil(population / policy.groupTarget);
  const forAllNodes = Math.min(policy.groupsPerNode * policy.liveNodes, Math.floor(population / policy.groupFloor));
  const forEachSecond = Math.min(Math.ceil(spreadMs / 1000), population);
  return Math.min(hashSlots, Math.max(1, bySize, forAllNodes, forEachSecond));
}

/** How long after its moment a group is released: evenly over the spread, the first one at once. Milliseconds. */
export function releasedAfterMs(groupNumber: number, count: number, { spreadMs }: CutWish): number {
  return Math.floor((spreadMs * groupNumber) / count);
}

export interface SlotRange {
  readonly firstSlot: number;
  readonly lastSlot: number;
}

/** Cuts 0-65535 into `count` ranges whose widths differ by one slot at most. */
export function groupRanges(count: number): SlotRange[] {
  return Array.from({ length: count }, (_, index) => ({
    firstSlot: Math.floor((hashSlots * index) / count),
    lastSlot: Math.floor((hashSlots * (index + 1)) / count) - 1,
  }));
}
