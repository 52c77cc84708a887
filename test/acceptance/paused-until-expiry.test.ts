import { describe, expect, it } from "vitest";
import { pauseSchedule } from "../../src/store/halt.ts";
import { storyLimit } from "../support/nodes.ts";
import { beginStory, StoryReceiver, userIds } from "../support/stories.ts";
import { until } from "../support/world.ts";

const users = userIds(120);

describe("a reminder that is paused until it expires", storyLimit, () => {
  it("is recorded as suppressed, for those that were deferred before as well", async () => {
    await using story = await beginStory();
    const receiver = new StoryReceiver(({ address }) =>
      address.startsWith("later")
        ? { kind: "retry", reason: "slow down", status: 429, retryAfterMs: 1500 }
        : { kind: "accepted" },
    );
    await story.topic("live", { groupCount: 2, expiresAfterMs: 3000 });
    await story.topic("other", { groupCount: 2, expiresAfterMs: 3000 });
    const at = await story.instantIn(2000);
    const [saved] = await story.subscribe("live", at, users);
    const [begun] = await story.subscribe("other", at, [...userIds(10), ...userIds(10, "later")]);
    await story.startNode({ receiver });
    await pauseSchedule(story.db, saved?.scheduleId ?? "");
    const bucketId = await story.bucketOf(saved?.scheduleId ?? "");
    const begunBucketId = await story.bucketOf(begun?.scheduleId ?? "");
    await until(async () => (await story.rows("select from carillon.deferred")).length === 10, "ten are deferred");
    await pauseSchedule(story.db, begun?.scheduleId ?? "");
    await story.whenClosed(bucketId);
    await story.whenClosed(begunBucketId);
    expect(await story.states(bucketId)).toEqual({ "suppressed: paused": 120 });
    expect(await story.states(begunBucketId)).toEqual({ "delivered: accepted": 10, "suppressed: paused": 10 });
    await story.check({
      receiverLog: receiver.log,
      expected: { bucketId, users: users.map((user) => ({ user, result: "suppressed" })) },
    });
  });
});
