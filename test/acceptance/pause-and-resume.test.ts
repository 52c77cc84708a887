import { describe, expect, it } from "vitest";
import { sleep } from "../../src/clock.ts";
import { pauseSchedule, pauseTopic, resumeSchedule, resumeTopic } from "../../src/store/halt.ts";
import { storyLimit } from "../support/nodes.ts";
import { beginStory, type Story, StoryReceiver, userIds } from "../support/stories.ts";
import { until } from "../support/world.ts";

const users = userIds(120);

describe.concurrent("pausing and resuming around the moment", storyLimit, () => {
  it.each(["before it is cut", "when it is cut", "in the middle of it"] as const)(
    "a topic paused %s sends nothing until it is resumed, and then everything",
    async (when) => {
      await using story = await beginStory();
      const started = Promise.withResolvers<void>();
      const receiver = new StoryReceiver(async () => {
        started.resolve();
        await sleep(30);
        return { kind: "accepted" };
      });
      const topicId = await story.topic("live", { groupCount: 2 });
      const at = await story.instantIn(2000);
      const [saved] = await story.subscribe("live", at, users);
      const pace = { chunk: 10, window: 20, leadMs: 900 };
      for (const name of ["one", "two"]) await story.startNode({ receiver, name, pace });
      const bucketId = await story.bucketOf(saved?.scheduleId ?? "");
      if (when === "when it is cut") await story.whenCut(bucketId);
      if (when === "in the middle of it") await started.promise;
      await pauseTopic(story.db, topicId);
      const begun = await intended(story, bucketId);

      await until(async () => (await groups(story, bucketId)).every(({ claimed }) => !claimed), "nobody holds it");
      await pastBy(story, at, 600);
      expect(await intended(story, bucketId)).toBe(begun);
      expect(receiver.log.length).toBe(begun);
      if (when === "in the middle of it") expect(begun).toBeGreaterThan(0);
      else expect(begun).toBe(0);
      // it waits, and nobody claims it over and over meanwhile
      const epochs = (await groups(story, bucketId)).map(({ epoch }) => epoch);
      await pastBy(story, at, 1200);
      expect((await groups(story, bucketId)).map(({ epoch }) => epoch)).toEqual(epochs);
      expect(Math.max(...epochs)).toBeLessThan(10);

      await resumeTopic(story.db, topicId);
      await story.whenClosed(bucketId);
      expect(receiver.users.toSorted()).toEqual(users.toSorted());
      await story.check({
        receiverLog: receiver.log,
        window: 20,
        expected: { bucketId, users: users.map((user) => ({ user, result: "delivered" })) },
      });
    },
  );

  it("stays halted while the topic or the schedule is still paused", async () => {
    await using story = await beginStory();
    const receiver = new StoryReceiver();
    const topicId = await story.topic("live", { groupCount: 2 });
    const at = await story.instantIn(2000);
    const [saved] = await story.subscribe("live", at, users);
    const scheduleId = saved?.scheduleId ?? "";
    await story.startNode({ receiver });
    const bucketId = await story.bucketOf(scheduleId);
    await pauseSchedule(story.db, scheduleId);
    await story.whenCut(bucketId);
    await pauseTopic(story.db, topicId);
    await resumeSchedule(story.db, scheduleId);
    await pastBy(story, at, 500);
    expect(receiver.log).toEqual([]);
    await resumeTopic(story.db, topicId);
    await story.whenClosed(bucketId);
    expect(receiver.users.toSorted()).toEqual(users.toSorted());
    await story.check({ receiverLog: receiver.log });
  });
});

async function intended(story: Story, bucketId: string): Promise<number> {
  const { count } = await story.one<{ count: number }>(
    "select coalesce(sum(intended), 0)::int as count from carillon.groups where bucket_id = $1",
    [bucketId],
  );
  return count;
}

function groups(story: Story, bucketId: string): Promise<{ epoch: number; claimed: boolean }[]> {
  return story.rows(
    `select epoch, claim_token is not null as claimed from carillon.groups where bucket_id = $1 order by group_number`,
    [bucketId],
  );
}

async function pastBy(story: Story, at: string, milliseconds: number): Promise<void> {
  await until(
    async () =>
      (
        await story.rows("select where carillon.clock() > $1::timestamptz + $2::float8 * interval '1 millisecond'", [
          at,
          milliseconds,
        ])
      ).length > 0,
    `${milliseconds} ms after the moment`,
  );
}
