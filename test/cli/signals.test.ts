import { describe, expect, it } from "vitest";
import { storyLimit } from "../support/nodes.ts";
import { buildWorld } from "../support/world.ts";

describe("a worker that is told to stop while a receiver keeps it waiting", () => {
  it("waits, and ends at once when it is told again", storyLimit, async () => {
    await using world = await buildWorld({ users: 4, groups: 2, receiver: { faults: () => "withhold" } });
    // far longer than this test may take, so that waiting for the receiver can't be what ends it
    const patient = { CARILLON_SEND_TIMEOUT_MS: "100000", CARILLON_DRAIN_MS: "110000", CARILLON_LEASE_MS: "120000" };
    await using node = await world.startNode("worker-1", { env: patient });
    await world.plan();
    await world.receiver.whenReceived(1);
    node.kill("SIGTERM");
    await node.logged(/worker stopping/);
    expect(node.ending).toBeNull();
    expect(await world.unsettledOf(node)).toBeGreaterThan(0);
    node.kill("SIGTERM");
    await node.logged(/ending at once/);
    expect(await node.exited).toEqual({ code: 143, signal: null });
  });

  it("ends by itself, with nothing in doubt, when the receiver answers in time", storyLimit, async () => {
    const { promise: asked, resolve: ask } = Promise.withResolvers<void>();
    await using world = await buildWorld({
      users: 4,
      groups: 2,
      receiver: { delayMs: 300, onReceived: () => ask() },
    });
    const node = await world.startNode("worker-1");
    const moment = await world.plan();
    await asked;
    node.kill("SIGTERM");
    expect(await node.exited).toEqual({ code: 0, signal: null });
    expect(await world.unsettledOf(node)).toBe(0);
    expect(await world.inDoubt(moment)).toBe(0);
  });
});
