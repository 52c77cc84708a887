import { describe, expect, it } from "vitest";
import { type DemoReport, demoFaults, demoReport, type Kill, type Recorded } from "../../src/cli/demo-report.ts";
import type { ReceivedReminder } from "../../src/fakes/receiver-log.ts";

const dueAtMs = 1_800_000_000_000;
const nothing: Recorded = { inDoubt: 0, ledgerImbalance: 0, rescuedGroups: new Set() };
const window = 500;

/** What the receiver got of a user: so late, of this group, by that node. */
function receipt(user: string, lateMs: number, group = 0, node = "node-1"): ReceivedReminder {
  return {
    id: `d_${user}`,
    user,
    bucket: "7",
    group,
    node,
    attempt: 0,
    webhookId: `msg_${user}`,
    receivedAtMs: dueAtMs + lateMs,
    dueAtMs,
    replied: 200,
  };
}

async function* logOf(receipts: readonly ReceivedReminder[]) {
  yield* receipts;
}

function report(
  users: readonly string[],
  receipts: readonly ReceivedReminder[],
  recorded: Partial<Recorded> = {},
  kill: Kill | null = null,
): Promise<DemoReport> {
  return demoReport(new Set(users), logOf(receipts), { ...nothing, ...recorded }, kill);
}

describe("demoReport", () => {
  it("tells lateness by when moments came on real time, and speed while they lasted", async () => {
    // a minute of the clock is a real second
    const realTimeOf = (ms: number) => dueAtMs + (ms - dueAtMs) / 60;
    const later = { ...receipt("c", 0), dueAtMs: dueAtMs + 600_000, receivedAtMs: dueAtMs + 10_000 + 300 };
    const log = logOf([receipt("a", 50), receipt("b", 100), later]);
    const all = await demoReport(new Set(["a", "b", "c"]), log, nothing, null, realTimeOf);
    expect(all).toMatchObject({
      early: 0,
      first_lateness_ms: 50,
      p50_lateness_ms: 100,
      makespan_ms: 300,
      // three in 100 and 300 ms
      reminders_per_s: 8,
    });
  });

  it("counts users, groups and nodes, and how even they are", async () => {
    const users = ["a", "b", "c", "d"];
    const all = await report(users, [
      receipt("a", 10, 0, "node-1"),
      receipt("b", 20, 0, "node-1"),
      receipt("c", 30, 0, "node-1"),
      receipt("d", 500, 1, "node-2"),
    ]);
    expect(all).toMatchObject({
      users: 4,
      delivered: 4,
      lost: 0,
      duplicates: 0,
      early: 0,
      groups: 2,
      group_max_over_mean: 1.5,
      nodes: 2,
      node_max_over_mean: 1.5,
      killed: 0,
      resumed_after_ms: null,
      first_lateness_ms: 10,
      p50_lateness_ms: 30,
      p99_lateness_ms: 500,
      makespan_ms: 500,
      reminders_per_s: 8,
    });
    expect(demoFaults(all, window)).toEqual([]);
  });

  it("finds who was lost, who was rung twice and who too early, whatever Carillon says of itself", async () => {
    const found = await report(["a", "b", "c"], [receipt("a", 5), receipt("a", 9), receipt("b", -1)]);
    expect(found).toMatchObject({ delivered: 2, lost: 1, duplicates: 1, early: 1 });
    expect(demoFaults(found, window)).toEqual([
      "1 users were not reached",
      "1 reminders came early",
      "1 duplicates, but only 0 deliveries on record as in doubt",
    ]);
  });

  it("does not let a stranger stand in for a user that is missing", async () => {
    const found = await report(["a", "b"], [receipt("a", 5), receipt("stranger", 5)]);
    expect(found).toMatchObject({ delivered: 1, lost: 1, duplicates: 0 });
  });

  it("measures a repeat by its first receipt, and the run by its last", async () => {
    const found = await report(["a"], [receipt("a", 10), receipt("a", 4000)], { inDoubt: 1 });
    expect(found).toMatchObject({ p99_lateness_ms: 10, makespan_ms: 4000, duplicates: 1 });
  });

  it("sees work resumed when another node sends of a group that was taken back, after the kill", async () => {
    const kill = { node: "node-1", atMs: dueAtMs + 100 };
    const rescuedGroups = new Set(["7:0"]);
    const found = await report(
      ["a", "b", "c", "d"],
      [
        receipt("a", 50, 0, "node-2"), // before the kill
        receipt("b", 150, 0, "node-1"), // was under way
        receipt("c", 200, 1, "node-2"), // of a group that nobody had lost
        receipt("d", 9100, 0, "node-2"),
      ],
      { rescuedGroups },
      kill,
    );
    expect(found).toMatchObject({ killed: 1, rescued_groups: 1, resumed_after_ms: 9000 });
    expect(demoFaults(found, window)).toEqual([]);
  });

  it("gives numbers where nothing came at all", async () => {
    const found = await report(["a"], []);
    for (const value of Object.values(found)) expect(value).not.toBeNaN();
    expect(found).toMatchObject({ delivered: 0, lost: 1, reminders_per_s: 0 });
  });
});

describe("demoFaults", () => {
  const kill = { node: "node-1", atMs: dueAtMs + 1 };

  it("allows doubt after a kill alone, and no more of it than the window", async () => {
    const calm = await report(["a"], [receipt("a", 5)], { inDoubt: 1 });
    expect(demoFaults(calm, window)).toEqual(["1 deliveries in doubt without a fault"]);
    const rescued = { rescuedGroups: new Set(["7:0"]) };
    const killed = (inDoubt: number) => report(["a"], [receipt("a", 5, 0, "node-2")], { ...rescued, inDoubt }, kill);
    expect(demoFaults(await killed(window), window)).toEqual([]);
    expect(demoFaults(await killed(window + 1), window)).toEqual(["501 in doubt, more than the window of 500"]);
  });

  it("asks for a rescue after a kill", async () => {
    const found = await report(["a"], [receipt("a", 5)], {}, kill);
    expect(demoFaults(found, window)).toEqual(["the kill led to no rescue", "no rescued group was seen to go on"]);
  });

  it("does not accept a ledger that doesn't add up", async () => {
    const found = await report(["a"], [receipt("a", 5)], { ledgerImbalance: 2 });
    expect(demoFaults(found, window)).toEqual(["the ledger is off by 2"]);
  });
});
