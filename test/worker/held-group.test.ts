import { describe, expect, it } from "vitest";
import { monotonicMs } from "../../src/clock.ts";
import { HeldGroup, LostGroup } from "../../src/worker/held-group.ts";
import { claimedGroup } from "./claimed-group.ts";

describe("HeldGroup", () => {
  let nowMs = 1000;
  const held = (leaseEndsAtMs: number) => new HeldGroup(claimedGroup(), leaseEndsAtMs, () => nowMs);

  it("outlives what ends before its lease does, on the monotonic clock", () => {
    nowMs = 1000;
    const group = held(3000);
    expect(group.outlives(1999)).toBe(true);
    expect(group.outlives(2000)).toBe(false);
    nowMs = 2500;
    expect(group.outlives(499)).toBe(true);
    expect(group.outlives(500)).toBe(false);
    nowMs = 3000;
    expect(group.outlives(0)).toBe(false);
  });

  it("is extended by a renewal, and never shortened by one whose reply came late", () => {
    nowMs = 1000;
    const group = held(3000);
    group.renew(5000);
    expect(group.outlives(3999)).toBe(true);
    group.renew(4000);
    expect(group.outlives(3999)).toBe(true);
  });

  it("outlives nothing once it is lost, whatever is renewed, and says why", () => {
    nowMs = 1000;
    const group = held(100_000);
    group.lose("another claim has it");
    group.renew(200_000);
    expect(group.outlives(1)).toBe(false);
    expect(group.lost.aborted).toBe(true);
    expect(group.lost.reason).toBeInstanceOf(LostGroup);
    expect(String(group.lost.reason)).toContain("another claim has it");
    group.lose("again");
    expect(String(group.lost.reason)).toContain("another claim has it");
  });

  it("is stuck when a step outlasts its deadline, which may move with the step's progress", () => {
    nowMs = 1000;
    const group = held(100_000);
    expect(group.stuck).toBe(false);
    group.step(1500);
    nowMs = 1500;
    expect(group.stuck).toBe(false);
    nowMs = 1501;
    expect(group.stuck).toBe(true);
    let progressMs = 1400;
    group.step(() => progressMs + 100);
    expect(group.stuck).toBe(true);
    progressMs = 1450;
    expect(group.stuck).toBe(false);
    group.step(Number.POSITIVE_INFINITY);
    nowMs = 1e12;
    expect(group.stuck).toBe(false);
  });

  it("does not heed the wall clock", () => {
    const wallClock = Date.now;
    const group = new HeldGroup(claimedGroup(), monotonicMs() + 60_000);
    try {
      // set back by a day, and on by a year
      Date.now = () => wallClock() - 86_400_000;
      expect(group.outlives(59_000)).toBe(true);
      Date.now = () => wallClock() + 365 * 86_400_000;
      expect(group.outlives(50_000)).toBe(true);
      expect(group.outlives(61_000)).toBe(false);
    } finally {
      Date.now = wallClock;
    }
  });
});
