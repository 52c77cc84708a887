import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { parseStat, usageBetween } from "../../scripts/bench/usage.ts";

describe("CPU time from /proc", () => {
  it("is read past a program's name that holds anything", () => {
    const stat = "4242 (a) b (c) S 77 1 1 0 -1 4194304 9 9 9 9 12 34 5 6 20 0 1 0 100 0 0";
    expect(parseStat(stat)).toEqual({ parent: 77, ownMs: 460, endedChildrenMs: 110 });
  });

  it.runIf(process.platform === "linux")("is that of this process, as it counts it itself", () => {
    const until = process.cpuUsage().user + 100_000;
    while (process.cpuUsage().user < until) Math.sqrt(2);
    const before = process.cpuUsage();
    const stat = parseStat(readFileSync(`/proc/${process.pid}/stat`, "utf8"));
    const after = process.cpuUsage();
    expect(stat.parent).toBe(process.ppid);
    // counted in ticks of 10 ms each, user and system apart
    expect(stat.ownMs).toBeGreaterThan((before.user + before.system) / 1000 - 25);
    expect(stat.ownMs).toBeLessThan((after.user + after.system) / 1000 + 25);
  });
});

describe("usage", () => {
  it("is a difference", () => {
    const before = { walBytes: 1, nodeCpuMs: 2, postgresCpuMs: 3 };
    expect(usageBetween(before, { walBytes: 11, nodeCpuMs: 22, postgresCpuMs: 33 })).toEqual({
      walBytes: 10,
      nodeCpuMs: 20,
      postgresCpuMs: 30,
    });
  });
});
