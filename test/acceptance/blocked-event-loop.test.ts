import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { storyLimit, windows } from "../support/nodes.ts";
import { buildWorld } from "../support/world.ts";

const blockingNode = fileURLToPath(new URL("../support/blocking-node.ts", import.meta.url));
const repliesBefore = 20;

describe("event loop blocked", storyLimit, () => {
  it("the watchdog ends the process, and its groups are rescued", async () => {
    const users = 600;
    await using world = await buildWorld({ users, receiver: { delayMs: 10 } });
    const blocked = await world.startNode("blocked", {
      program: { module: blockingNode, args: [String(repliesBefore)] },
    });
    const moment = await world.plan();
    await blocked.logged(/the event loop stands still/);
    expect(await blocked.exited).toEqual({ code: null, signal: "SIGKILL" });
    await world.startNode("heir");
    await world.closed(moment);

    expect(await world.check(moment, { kills: 1 })).toEqual({ delivered: users });
    const inDoubt = await world.inDoubt(moment);
    // what was replied when the loop blocked was never recorded
    expect(inDoubt).toBeGreaterThan(0);
    expect(inDoubt).toBeLessThanOrEqual(windows.at_least_once);
    expect(world.duplicates).toBeGreaterThan(0);
    expect(world.duplicates).toBeLessThanOrEqual(inDoubt);
    expect(world.log.filter(({ node }) => node === "blocked").length).toBeGreaterThanOrEqual(repliesBefore);
  });
});
