import { describe, expect, it } from "vitest";
import { parkAfterTakeovers } from "../../src/store/outcome.ts";
import { storyLimit } from "../support/nodes.ts";
import { beginStory, loseOwners, type Story, StoryReceiver, userIds } from "../support/stories.ts";
import { until } from "../support/world.ts";

describe("a chunk that kills whoever sends it", storyLimit, () => {
  it("is parked after five owners, shown, and given its final state at the expiry; the others are reached", async () => {
    await using story = await beginStory();
    const receiver = new StoryReceiver(({ address }) =>
      address.startsWith("poison") ? new Promise(() => undefined) : { kind: "accepted" },
    );
    const poison = userIds(3, "poison");
    const others = userIds(90);
    await story.topic("live", { groupCount: 2 });
    const at = await story.instantIn(1500);
    const [saved] = await story.subscribe("live", at, [...others, ...poison]);
    // a send lasts as long as the story, so that it is the loss of the owner that ends it
    const pace = { leaseMs: 90_000, sendTimeoutMs: 60_000 };
    for (const name of ["one", "two"]) await story.startNode({ receiver, name, pace });
    const bucketId = await story.bucketOf(saved?.scheduleId ?? "");

    let kills = 0;
    for (let attempt = 0; attempt < parkAfterTakeovers; attempt += 1) {
      await until(
        async () => {
          // the wait between two tries grows to half a minute: time is made to pass
          await passTime(story, bucketId);
          const sent = receiver.log.filter(
            (receipt) => receipt.user.startsWith("poison") && receipt.attempt === attempt,
          );
          const { delivered } = await story.one<{ delivered: number }>(
            "select sum(delivered)::int as delivered from carillon.groups where bucket_id = $1",
            [bucketId],
          );
          return (
            sent.length === poison.length &&
            delivered === others.length &&
            (await openIntents(story, bucketId)) === poison.length
          );
        },
        `try ${attempt + 1} is under way, and all else is recorded`,
      );
      kills += await loseOwners(story.db, bucketId);
    }
    await until(
      async () =>
        (await story.rows("select from carillon.deferred where parked_at is not null")).length === poison.length,
      "it is parked",
    );
    await until(
      async () => (await story.rows("select from carillon.groups where claim_token is not null")).length === 0,
      "nobody holds it any more",
    );
    await passTime(story, bucketId);
    expect(receiver.users.filter((user) => user.startsWith("user")).toSorted()).toEqual(others.toSorted());
    const attention = await story.rows<{ subject: string }>(
      "select subject from carillon.attention where kind = 'parked deliveries' and bucket_id = $1",
      [bucketId],
    );
    expect(attention.reduce((sum, { subject }) => sum + Number(/deliveries: (\d+)/.exec(subject)?.[1]), 0)).toBe(3);
    expect(receiver.log.filter(({ user }) => user.startsWith("poison"))).toHaveLength(3 * parkAfterTakeovers);

    await story.db.pool.query("update carillon.time_buckets set expires_at = carillon.clock() where bucket_id = $1", [
      bucketId,
    ]);
    await passTime(story, bucketId);
    await story.whenClosed(bucketId);
    const states = await story.states(bucketId);
    expect(states["delivered: accepted"]).toBe(90);
    expect(Object.keys(states).filter((state) => state.startsWith("failed: in doubt"))).toHaveLength(1);
    expect(await story.rows("select from carillon.deferred")).toEqual([]);
    await story.check({
      receiverLog: receiver.log,
      kills,
      expected: {
        bucketId,
        users: [
          ...others.map((user) => ({ user, result: "delivered" as const })),
          ...poison.map((user) => ({ user, result: "failed" as const })),
        ],
      },
    });
  });
});

/** What waits for its next try is due now. */
async function passTime(story: Story, bucketId: string): Promise<void> {
  await story.db.pool.query(
    "update carillon.deferred set next_try_at = clock_timestamp() where bucket_id = $1 and next_try_at > clock_timestamp()",
    [bucketId],
  );
  await story.db.pool.query(
    `update carillon.groups g set not_before = clock_timestamp()
     where bucket_id = $1 and finished_at is null and claim_token is null and not_before > clock_timestamp()
       and exists (
         select from carillon.deferred d join carillon.time_buckets b using (bucket_id)
         where d.bucket_id = g.bucket_id and d.group_number = g.group_number
           and (d.parked_at is null or b.expires_at <= carillon.clock()))`,
    [bucketId],
  );
}

async function openIntents(story: Story, bucketId: string): Promise<number> {
  const { count } = await story.one<{ count: number }>(
    "select count(*)::int as count from carillon.chunk_members where bucket_id = $1 and code is null and not refused",
    [bucketId],
  );
  return count;
}
