import { describe, expect, it } from "vitest";
import { type NodeProcess, storyLimit } from "../support/nodes.ts";
import { buildWorld } from "../support/world.ts";

const rounds = 2;

describe("SIGTERM under load", storyLimit, () => {
  it("three nodes, restarted one after another, twice: nobody lost, nobody twice, nothing in doubt", async () => {
    const users = 1500;
    // until the last node has been restarted there is always something under way, however slow this machine is
    let replyAfterMs = 200;
    await using world = await buildWorld({ users, receiver: { faults: () => ({ delayMs: replyAfterMs }) } });
    const settings = { env: { CARILLON_CONNECTIONS_PER_HOST: "4" } };
    let running: NodeProcess[] = await Promise.all(["a0", "b0", "c0"].map((name) => world.startNode(name, settings)));
    const moment = await world.plan();
    await world.receiver.whenReceived(30);

    for (let round = 1; round <= rounds; round += 1) {
      const fresh: NodeProcess[] = [];
      for (const [position, node] of running.entries()) {
        node.kill("SIGTERM");
        expect(await node.exited, `${node.name} ends well`).toEqual({ code: 0, signal: null });
        fresh.push(await world.startNode(`${"abc"[position]}${round}`, settings));
      }
      running = fresh;
    }
    expect(world.receiver.received, "the load outlasted the restarts").toBeLessThan(users);
    replyAfterMs = 0;
    await world.closed(moment);

    expect(await world.check(moment, { kills: 0 })).toEqual({ delivered: users });
    expect(world.duplicates).toBe(0);
    expect(await world.inDoubt(moment)).toBe(0);
    const senders = new Set(world.log.map(({ node }) => node));
    expect(
      ["a0", "b0", "c0"].filter((name) => senders.has(name)),
      "all had work when they were stopped",
    ).toHaveLength(3);
    expect(senders.size).toBeGreaterThan(3);
  });
});
