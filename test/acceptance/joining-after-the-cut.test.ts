import { describe, expect, it } from "vitest";
import { storyLimit } from "../support/nodes.ts";
import { beginStory, StoryReceiver, userIds } from "../support/stories.ts";
import { until } from "../support/world.ts";

describe("joining a moment that is cut already", storyLimit, () => {
  it("a moment that three people want is one group, whoever else joins after the cut", async () => {
    await using story = await beginStory();
    const receiver = new StoryReceiver();
    await story.topic("livestream");
    const at = await story.instantIn(3500);
    const [first] = await story.subscribe("livestream", at, userIds(3));
    await story.startNode({ receiver, pace: { leadMs: 2500 } });
    const bucketId = await story.bucketOf(first?.scheduleId ?? "");
    await story.whenCut(bucketId);
    await story.subscribe("livestream", at, userIds(900, "late"));
    const joined = await story.rows<{ user_id: string }>(
      `select u.user_id from carillon.subscriptions s join carillon.users u using (user_number)
       where s.subscribed_at <= $1::timestamptz - interval '1 second'`,
      [at],
    );
    await story.whenClosed(bucketId);
    expect((await story.rows("select from carillon.groups")).length).toBe(1);
    await until(() => receiver.log.length >= joined.length, "all are reached");
    await story.check({
      receiverLog: receiver.log,
      expected: { bucketId, users: joined.map(({ user_id }) => ({ user: user_id, result: "delivered" })) },
    });
  });
});
