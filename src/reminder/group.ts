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

/**
 * How many groups a bucket is cut into: a preset count (two or more, the method's rule), or by population.
 * At least one: whoever subscribes after the cut must fall into a group.
 */
export function groupCount(population: number, preset: number | null, policy: CutPolicy): number {
  if (preset !== null) return preset;
  const bySize = Math.ceil(population / policy.groupTarget);
  const forAllNodes = Math.min(policy.groupsPerNode * policy.liveNodes, Math.floor(population / policy.groupFloor));
  return Math.min(hashSlots, Math.max(1, bySize, forAllNodes));
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
