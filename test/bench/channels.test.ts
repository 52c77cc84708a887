import { describe, expect, it } from "vitest";
import { readOptions } from "../../scripts/bench/channels/options.ts";
import {
  ceilingsOf,
  type Measured,
  quotaLine,
  ratioOf,
  rowOf,
  targetsOf,
} from "../../scripts/bench/channels/report.ts";
import type { Entry } from "../../scripts/bench/channels/run.ts";

describe("the arguments of the bench of the channels", () => {
  it("have defaults", () => {
    expect(readOptions([])).toMatchObject({ users: 20_000, rounds: 5, json: false, only: ["fcm", "apns", "web-push"] });
  });

  it("are read", () => {
    const args = ["--users", "1000", "--rounds", "2", "--json", "--only", "apns", "--only", "fcm"];
    expect(readOptions(args)).toMatchObject({ users: 1_000, rounds: 2, json: true, only: ["apns", "fcm"] });
  });

  it.each([
    ["--users", "0"],
    ["--rounds", "1.5"],
    ["--only", "webhook"],
    ["--frobnicate", ""],
  ])("are refused with a sentence: %s %s", (name, value) => {
    expect(() => readOptions([name, value])).toThrow(
      expect.objectContaining({ code: "bad_configuration", message: expect.stringContaining(name) }),
    );
  });
});

/** 1,000 messages at these rates, one a round; the fake computes half of the time. */
function measured(kind: Entry["kind"], label: string, rates: readonly number[], fakeBusy = 0.5): Measured {
  return {
    entry: { label, channel: "fcm", kind, atOnce: 1 },
    runs: rates.map((rate) => {
      const elapsedMs = 1_000_000 / rate;
      return { accepted: 1_000, elapsedMs, cpuMs: elapsedMs, mainCpuMs: elapsedMs, fakeCpuMs: elapsedMs * fakeBusy };
    }),
  };
}

describe("the report of the bench of the channels", () => {
  const ours = measured("carillon", "ours", [8_000, 4_000, 9_000]);

  it("compares within a round, since the machine may be slower in another", () => {
    // by medians it would be 8,000 of 10,000
    const other = measured("bare", "bare", [10_000, 8_000, 18_000]);
    expect(ratioOf(ours, other)).toBe(0.5);
  });

  it("holds us against the others' best settings", () => {
    const targets = targetsOf([
      ours,
      measured("bare", "slow", [1_000, 1_000, 1_000]),
      measured("bare", "quick", [9_000, 4_000, 9_000]),
      measured("peer", "peer", [4_500, 4_500, 4_600]),
    ]);
    expect(targets).toMatchObject([
      { target: "at least 0.8 of quick", met: true },
      { target: "at least 2 x peer", met: false },
    ]);
  });

  it("says whether the fake, and not the sender, was what is measured", () => {
    const flood = rowOf(measured("flood", "flood", [20_000]));
    expect(ceilingsOf([rowOf(ours), flood])).toMatchObject([{ floodPerS: 20_000, cpuPerS: 40_000, reached: false }]);
    expect(ceilingsOf([rowOf(measured("carillon", "ours", [9_000], 0.97)), flood])).toMatchObject([
      { reached: true, busiest: { sender: "ours", fakeBusy: expect.closeTo(0.97) } },
    ]);
  });

  it("says whether FCM's quota would be used up", () => {
    expect(quotaLine([rowOf(ours)], 2)).toContain("not reached: 8000/s");
    expect(quotaLine([rowOf(measured("carillon", "ours", [12_000]))], 2)).toContain("is reached: 12000/s");
    expect(quotaLine([], 2)).toBeNull();
  });
});
