import { describe, expect, it } from "vitest";
import type { FaultReply } from "../../src/fakes/webhook-receiver.ts";
import { storyLimit, windows } from "../support/nodes.ts";
import { buildWorld, killWithUnsettled } from "../support/world.ts";

describe.concurrent("kill -9 mid-group", storyLimit, () => {
  it("loses nobody under at-least-once, and repeats no more than it has on record as in doubt", async () => {
    const users = 1200;
    await using world = await buildWorld({ users, receiver: { delayMs: 10 } });
    const [victim] = await Promise.all([world.startNode("victim"), world.startNode("heir")]);
    const moment = await world.plan();
    await world.receiver.whenReceived(users * (0.1 + Math.random() * 0.5));
    const unsettled = await killWithUnsettled(world, victim);
    await world.closed(moment);

    expect(await world.check(moment, { kills: 1 })).toEqual({ delivered: users });
    const inDoubt = await world.inDoubt(moment);
    expect(inDoubt).toBe(unsettled);
    expect(unsettled).toBeGreaterThan(0);
    expect(unsettled).toBeLessThanOrEqual(windows.at_least_once);
    expect(world.duplicates).toBeLessThanOrEqual(inDoubt);
    expect(new Set(world.log.map(({ user }) => user)).size).toBe(users);
  });

  it("rings nobody twice under at-most-once, and has on record for whom it can't say", async () => {
    const users = 500;
    await using world = await buildWorld({ users, deliveryMode: "at_most_once", receiver: { delayMs: 10 } });
    const [victim] = await Promise.all([world.startNode("victim"), world.startNode("heir")]);
    const moment = await world.plan();
    await world.receiver.whenReceived(users * (0.1 + Math.random() * 0.5));
    const unsettled = await killWithUnsettled(world, victim);
    await world.closed(moment);

    expect(await world.check(moment, { kills: 1 })).toEqual({ delivered: users - unsettled, failed: unsettled });
    expect(unsettled).toBeGreaterThan(0);
    expect(unsettled).toBeLessThanOrEqual(windows.at_most_once);
    expect(world.duplicates).toBe(0);
  });

  it.each(["at_least_once", "at_most_once"] as const)(
    "after sending, before the reply: what was received and not recorded is in doubt (%s)",
    async (deliveryMode) => {
      const users = 200;
      let withholding = true;
      await using world = await buildWorld({
        users,
        deliveryMode,
        receiver: { faults: (): "withhold" | FaultReply => (withholding ? "withhold" : {}) },
      });
      const victim = await world.startNode("victim");
      const moment = await world.plan();
      await world.receiver.whenReceived(1);
      const unsettled = await killWithUnsettled(world, victim);
      const received = new Set(world.log.map(({ user }) => user)).size;
      withholding = false;
      await world.startNode("heir");
      await world.closed(moment);

      const sentAgain = deliveryMode === "at_least_once";
      expect(await world.check(moment, { kills: 1 })).toEqual(
        sentAgain ? { delivered: users } : { delivered: users - unsettled, failed: unsettled },
      );
      expect(await world.inDoubt(moment)).toBe(unsettled);
      expect(received).toBeGreaterThan(0);
      expect(world.duplicates).toBe(sentAgain ? received : 0);
    },
  );
});
