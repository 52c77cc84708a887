import { describe, expect, it } from "vitest";
import { subscribe } from "../../src/store/subscribe.ts";
import { storyLimit } from "../support/nodes.ts";
import { beginStory, loseOwners, StoryReceiver, storyPace, userIds } from "../support/stories.ts";
import { until } from "../support/world.ts";

describe("many small moments at one instant", storyLimit, () => {
  it.each(["at_least_once", "at_most_once"] as const)(
    "are delivered together, through the loss of their owners and replies that ask for another try (%s)",
    async (deliveryMode) => {
      await using story = await beginStory();
      const moments = 80;
      const busy = new Set(userIds(20).map((_, index) => `m${index * 4}-3`));
      const held = Promise.withResolvers<void>();
      let holding = true;
      const receiver = new StoryReceiver(async ({ address, attempt }) => {
        if (busy.has(address) && attempt === 0)
          return { kind: "retry", reason: "busy", status: 429, retryAfterMs: 100 };
        if (holding && address.endsWith("-1")) await held.promise;
        return { kind: "accepted" };
      });
      // a topic each, so that each has a schedule and a time bucket of its own
      await Promise.all(Array.from({ length: moments }, (_, index) => story.topic(`place-${index}`, { deliveryMode })));
      const at = await story.instantIn(4000);
      const requests = Array.from({ length: moments }, (_, index) =>
        userIds(4, `m${index}`).map((userId) => ({
          userId,
          topic: `place-${index}`,
          when: { at },
          endpoints: [{ channel: "memory" }],
          pointer: "",
        })),
      );
      await subscribe(story.db, requests.flat(), { planHorizonMs: storyPace.horizonMs });
      for (const name of ["one", "two"]) await story.startNode({ receiver, name, pace: { window: 200 } });
      await until(() => receiver.log.length > moments, "sends are under way");
      // all owners are lost at once, each with some sends that are not answered
      let kills = 0;
      const { rows } = await story.db.pool.query<{ bucket_id: string }>(
        "select distinct bucket_id from carillon.groups where claim_token is not null and finished_at is null",
      );
      for (const { bucket_id: bucketId } of rows) kills += await loseOwners(story.db, bucketId);
      holding = false;
      held.resolve();
      await until(
        async () =>
          (await story.rows("select from carillon.time_buckets where closed_at is not null")).length === moments,
        "all are closed",
      );
      expect(kills).toBeGreaterThan(0);
      const ids = await story.rows<{ bucket_id: string }>("select bucket_id from carillon.time_buckets");
      expect(ids).toHaveLength(moments);
      const { delivered, failed } = await story.one<{ delivered: number; failed: number }>(
        "select sum(delivered)::int as delivered, sum(failed)::int as failed from carillon.groups",
      );
      expect(delivered + failed).toBe(moments * 4);
      if (deliveryMode === "at_least_once") expect(failed).toBe(0);
      expect(new Set(receiver.users).size).toBe(moments * 4);
      await story.check({ receiverLog: receiver.log, kills, mode: deliveryMode, window: 200 });
    },
  );
});
