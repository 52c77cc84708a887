import { describe, expect, it } from "vitest";
import { sleep } from "../../src/clock.ts";
import { storyLimit } from "../support/nodes.ts";
import { beginStory, StoryReceiver, userIds } from "../support/stories.ts";

describe("a reminder that expires in the middle of a group", storyLimit, () => {
  it("is not sent to the rest, who are recorded as expired", async () => {
    await using story = await beginStory();
    // at 20 a quarter of a second, two seconds are not enough for 400
    const receiver = new StoryReceiver(async () => {
      await sleep(250);
      return { kind: "accepted" };
    });
    await story.topic("live", { groupCount: 2, expiresAfterMs: 2000 });
    const at = await story.instantIn(2000);
    const [saved] = await story.subscribe("live", at, userIds(400));
    await story.startNode({ receiver, pace: { chunk: 10, window: 20 } });
    const bucketId = await story.bucketOf(saved?.scheduleId ?? "");
    await story.whenClosed(bucketId);

    const sent = receiver.log.length;
    expect(sent).toBeGreaterThan(0);
    expect(sent).toBeLessThan(400);
    expect(await story.states(bucketId)).toEqual({ "delivered: accepted": sent, "expired: expired": 400 - sent });
    const reached = new Set(receiver.users);
    await story.check({
      receiverLog: receiver.log,
      window: 20,
      // sends begin within the expiry
      travelMs: 0,
      expected: {
        bucketId,
        users: userIds(400).map((user) => ({ user, result: reached.has(user) ? "delivered" : "expired" })),
      },
    });
  });

  it("expires while it waits for its next try, and what is perhaps sent stays so on record", async () => {
    await using story = await beginStory();
    const receiver = new StoryReceiver(({ address }) => {
      if (address.startsWith("busy")) return { kind: "retry", reason: "busy", status: 429, retryAfterMs: 800 };
      if (address.startsWith("doubt")) return { kind: "in_doubt", reason: "no reply", status: 503, retryAfterMs: 800 };
      return { kind: "accepted" };
    });
    await story.topic("live", { groupCount: 2, expiresAfterMs: 2000 });
    const at = await story.instantIn(2000);
    const all = [...userIds(20), ...userIds(20, "busy"), ...userIds(20, "doubt")];
    const [saved] = await story.subscribe("live", at, all);
    await story.startNode({ receiver });
    const bucketId = await story.bucketOf(saved?.scheduleId ?? "");
    await story.whenClosed(bucketId);

    const states = await story.states(bucketId);
    expect(states["delivered: accepted"]).toBe(20);
    expect(states["expired: expired"]).toBe(20);
    const doubtful = Object.entries(states).filter(([state]) => state.startsWith("failed: in doubt"));
    expect(doubtful.reduce((sum, [, count]) => sum + count, 0)).toBe(20);
    expect(new Set(receiver.users).size).toBe(60);
    await story.check({ receiverLog: receiver.log, otherFaults: true });
  });
});
