import { describe, expect, it } from "vitest";
import { sleep } from "../../src/clock.ts";
import { cancelBucket } from "../../src/store/halt.ts";
import { storyLimit } from "../support/nodes.ts";
import { beginStory, createGate, type Story, StoryReceiver, userIds } from "../support/stories.ts";
import { until } from "../support/world.ts";

describe("cancel racing an intent", storyLimit, () => {
  it("begins no new send once the cancel has returned, and records what was sent", async () => {
    await using story = await beginStory();
    const steps = [1, 60, 120, 180, 240, 300].map((cancelAfter, index) => ({
      topic: `sale-${index}`,
      cancelAfter,
      received: 0,
      reached: Promise.withResolvers<void>(),
    }));
    const receiver = new StoryReceiver(async (_, { moment }) => {
      const step = steps.find(({ topic }) => topic === moment.topic);
      if (step !== undefined) {
        step.received += 1;
        if (step.received === step.cancelAfter) step.reached.resolve();
      }
      await sleep(40);
      return { kind: "accepted" };
    });
    const at = await story.instantIn(3000);
    const moments: { bucketId: string; scheduleId: string; reached: Promise<void> }[] = [];
    for (const { topic, reached } of steps) {
      await story.topic(topic, { groupCount: 4 });
      const [saved] = await story.subscribe(topic, at, userIds(400, topic));
      moments.push({ bucketId: "", scheduleId: saved?.scheduleId ?? "", reached: reached.promise });
    }
    for (const name of ["one", "two"]) await story.startNode({ receiver, name, pace: { window: 40 } });
    for (const moment of moments) moment.bucketId = await story.bucketOf(moment.scheduleId);

    await Promise.all(
      moments.map(async ({ bucketId, reached }) => {
        await reached;
        await cancelBucket(story.db, bucketId);
        const begun = await toBeSent(story, bucketId);
        await story.whenClosed(bucketId);
        // those with an intent: not one more since the cancel returned
        expect(await toBeSent(story, bucketId)).toEqual(begun);
        const received = receiver.log.filter(({ bucket }) => bucket === bucketId).map(({ user }) => user);
        expect(received.toSorted()).toEqual(begun);
        expect(begun.length).toBeLessThan(400);
        expect(await story.states(bucketId)).toEqual({
          "cancelled: cancelled": 400 - begun.length,
          "delivered: accepted": begun.length,
        });
      }),
    );
    await story.check({ receiverLog: receiver.log });
  });

  it("closes a moment that is cancelled while its groups are armed, without a row per user", async () => {
    await using story = await beginStory();
    const receiver = new StoryReceiver();
    await story.topic("sale", { groupCount: 2 });
    const at = await story.instantIn(3000);
    const [saved] = await story.subscribe("sale", at, userIds(50));
    await story.startNode({ receiver, pace: { leadMs: 2000 } });
    const bucketId = await story.bucketOf(saved?.scheduleId ?? "");
    await until(
      async () =>
        (await story.rows("select from carillon.groups where bucket_id = $1 and claim_token is not null", [bucketId]))
          .length === 2,
      "both groups are armed",
    );
    await cancelBucket(story.db, bucketId);
    await story.whenClosed(bucketId);
    await until(
      async () =>
        (await story.rows("select where carillon.clock() > $1::timestamptz + interval '500 ms'", [at])).length > 0,
      "the moment is past",
    );
    expect(receiver.log).toEqual([]);
    expect(await story.states(bucketId)).toEqual({});
    await story.check({
      receiverLog: receiver.log,
      expected: { bucketId, users: userIds(50).map((user) => ({ user, result: "nothing" })) },
    });
  });

  it("cancels what is waiting for its next try as well", async () => {
    await using story = await beginStory();
    const gate = createGate();
    const receiver = new StoryReceiver(async ({ address }) => {
      if (address.startsWith("later"))
        return { kind: "retry", reason: "slow down", status: 429, retryAfterMs: 3_600_000 };
      await gate.pass();
      return { kind: "accepted" };
    });
    await story.topic("sale", { groupCount: 2, expiresAfterMs: 7_200_000 });
    const at = await story.instantIn(2000);
    const [saved] = await story.subscribe("sale", at, [...userIds(10), ...userIds(10, "later")]);
    await story.startNode({ receiver, pace: { sendTimeoutMs: 1500 } });
    const bucketId = await story.bucketOf(saved?.scheduleId ?? "");
    await until(async () => (await story.rows("select from carillon.deferred")).length === 10, "ten are deferred");
    await cancelBucket(story.db, bucketId);
    gate.open();
    // long before the hour is over
    await story.whenClosed(bucketId);
    expect(await story.states(bucketId)).toEqual({ "cancelled: cancelled": 10, "delivered: accepted": 10 });
    await story.check({ receiverLog: receiver.log });
  });
});

/** Users of a bucket who have, or had, an intent to be sent to. */
async function toBeSent(story: Story, bucketId: string): Promise<string[]> {
  const found = await story.rows<{ user_id: string }>(
    `select distinct u.user_id from carillon.chunk_members m join carillon.users u using (user_number)
     where m.bucket_id = $1 and not m.refused`,
    [bucketId],
  );
  return found.map(({ user_id }) => user_id).toSorted();
}
