import { describe, expect, it } from "vitest";
import { bestOf, type Compared, median, type Row, ratiosOf, rowOf, targetsOf } from "../../scripts/bench/report.ts";
import type { Entry, Run } from "../../scripts/bench/run.ts";

const entry: Entry = { label: "one", name: "carillon", window: 2000, concurrency: 0, logsUsers: true };

function run(runMs: number, ledgerBytes: number | null = 0): Run {
  return {
    enqueueMs: 100,
    runMs,
    firstLatenessMs: 1,
    enqueue: { walBytes: 500, nodeCpuMs: 0, postgresCpuMs: 0 },
    run: { walBytes: 1000, nodeCpuMs: 2, postgresCpuMs: 4 },
    ledgerBytes,
  };
}

function rowAt(remindersPerS: number, walBytesPerReminder = 8): Row {
  return {
    ...rowOf(entry, [run(100)], 100),
    remindersPerS,
    remindersPerSWithEnqueue: remindersPerS / 2,
    walBytesPerReminder,
  };
}

function compared(carillon: Row | undefined, graphile: Row | undefined, graphileLogging?: Row): Compared {
  return { carillon, graphile, graphileLogging, cron: undefined };
}

describe("medians", () => {
  it("takes the middle one, or the mean of the two in the middle", () => {
    expect(median([9, 1, 5])).toBe(5);
    expect(median([10, 9, 1, 2])).toBe(5.5);
  });
});

describe("a row", () => {
  it("is per reminder and per second, with enqueueing beside", () => {
    const row = rowOf(entry, [run(100, 800), run(400, 800), run(200, 800)], 100);
    expect(row.remindersPerS).toBe(500);
    expect(row.remindersPerSWithEnqueue).toBeCloseTo(333.3, 1);
    expect(row.walBytesPerReminder).toBe(10);
    expect(row.walBytesPerReminderWithEnqueue).toBe(15);
    expect(row.nodeCpuUsPerReminder).toBe(20);
    expect(row.postgresCpuUsPerReminder).toBe(40);
    expect(row.ledgerBytesPerReminder).toBe(8);
  });

  it("has no ledger where none is kept", () => {
    expect(rowOf(entry, [run(100, null)], 100).ledgerBytesPerReminder).toBeNull();
  });
});

describe("the targets", () => {
  it("are met or missed by the best setting of graphile-worker", () => {
    const best = bestOf([rowAt(20), rowAt(25), rowAt(10)]);
    expect(best?.remindersPerS).toBe(25);
    const met = targetsOf(rowAt(200), ratiosOf(compared(rowAt(200), rowAt(1), best)));
    expect(met.map((target) => target.met)).toEqual([true, true]);
    const missed = targetsOf(rowAt(199, 31), ratiosOf(compared(rowAt(199, 31), rowAt(1), best)));
    expect(missed.map((target) => target.met)).toEqual([false, false]);
  });

  it("are held against what records each user, enqueueing counted; the other ratios stand beside", () => {
    const slowToEnqueue = { ...rowAt(10), remindersPerSWithEnqueue: 4 };
    const ratios = ratiosOf(compared(rowAt(100), rowAt(20), slowToEnqueue));
    expect(ratios).toMatchObject({ toGraphileWorker: 5, toGraphileLogging: 10, toGraphileLoggingWithEnqueue: 12.5 });
    expect(targetsOf(rowAt(100), ratios)[0]).toMatchObject({ measured: 12.5, met: true });
  });

  it("say nothing about a contender that did not run", () => {
    expect(targetsOf(undefined, ratiosOf(compared(undefined, rowAt(1), rowAt(1))))).toEqual([]);
    expect(targetsOf(rowAt(1), ratiosOf(compared(rowAt(1), rowAt(1), undefined)))).toHaveLength(1);
  });
});
