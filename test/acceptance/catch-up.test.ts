import { describe, expect, it } from "vitest";
import { subscribe } from "../../src/store/subscribe.ts";
import { endSubscription } from "../../src/store/subscriptions.ts";
import type { CatchUpPolicy, TopicSettings } from "../../src/store/topics.ts";
import { storyLimit } from "../support/nodes.ts";
import { beginStory, type Story, StoryReceiver, storyPace, userIds } from "../support/stories.ts";
import { until } from "../support/world.ts";

const dayMs = 86_400_000;
const weekMs = 7 * dayMs;
const users = userIds(30);

interface Bucket {
  readonly bucket_id: string;
  readonly closed_as: string | null;
  readonly delivered: number;
  readonly expired: number;
}

describe("after three days without anybody planning", storyLimit, () => {
  const skipped = { closed_as: "skipped", delivered: 0, expired: 0 };
  const sent = { closed_as: "done", delivered: 30, expired: 0 };
  const expired = { closed_as: "done", delivered: 0, expired: 30 };

  it.each<[CatchUpPolicy, number, object[]]>([
    ["skip", weekMs, [skipped, skipped, skipped]],
    ["latest", weekMs, [skipped, skipped, sent]],
    ["all", weekMs, [sent, sent, sent]],
    // better none than a late one
    ["latest", 600_000, [skipped, skipped, expired]],
    ["all", 30 * 3_600_000, [expired, sent, sent]],
  ])("%s, where reminders expire after %i ms", async (catchUp, expiresAfterMs, wanted) => {
    await using story = await beginStory();
    const receiver = new StoryReceiver();
    await missThreeDays(story, { catchUp, expiresAfterMs });
    await Promise.all([story.startNode({ receiver }), story.startNode({ receiver })]);
    await until(async () => {
      const found = await buckets(story);
      return found.length === 3 && found.every((bucket) => bucket.closed_as !== null);
    }, "every missed moment is over");

    const found = await buckets(story);
    expect(found.map(({ bucket_id, ...bucket }) => bucket)).toEqual(wanted);
    const fired = found.filter(({ delivered }) => delivered > 0).map(({ bucket_id }) => bucket_id);
    expect(receiver.log.map(({ bucket, user }) => `${bucket}/${user}`).toSorted()).toEqual(
      fired.flatMap((bucketId) => users.map((user) => `${bucketId}/${user}`)).toSorted(),
    );
    // what was missed is never planned a second time
    const { next_due_at: next } = await story.one<{ next_due_at: Date }>("select next_due_at from carillon.schedules");
    expect(next.getTime()).toBeGreaterThan(Date.now());
    await story.check({ receiverLog: receiver.log, travelMs: 1000 });
  });

  it("asks each missed moment who stood at it, not who stands now", async () => {
    await using story = await beginStory();
    const receiver = new StoryReceiver();
    const saved = await missThreeDays(story, { catchUp: "all", expiresAfterMs: weekMs });
    const [left, joined] = saved;
    await endSubscription(story.db, left?.id ?? "");
    await story.db.pool.query(
      `update carillon.subscriptions s set subscribed_at = carillon.clock() - interval '36 hours'
       from carillon.users u where u.user_number = s.user_number and u.user_id = $1`,
      [joined?.userId],
    );
    await story.startNode({ receiver });
    await until(async () => {
      const found = await buckets(story);
      return found.length === 3 && found.every((bucket) => bucket.closed_as !== null);
    }, "every missed moment is over");
    // left since: still owed a state, and not sent to; joined between: two moments of three
    expect(receiver.users).not.toContain(left?.userId);
    expect(receiver.users.filter((user) => user === joined?.userId).length).toBe(2);
    await story.check({ receiverLog: receiver.log });
  });
});

/** Thirty users are subscribed to a daily moment, two hours ago by now, and nobody has planned for three days. */
async function missThreeDays(story: Story, settings: TopicSettings) {
  await story.topic("daily", { groupCount: 2, ...settings });
  const time = new Date(Date.now() - 2 * 3_600_000).toISOString().slice(11, 19);
  const saved = await subscribe(
    story.db,
    users.map((userId) => ({
      userId,
      topic: "daily",
      when: { daily: { time, zone: "UTC" } },
      endpoints: [{ channel: "memory" }],
      pointer: "",
    })),
    { planHorizonMs: storyPace.horizonMs },
  );
  await story.db.pool.query(`
    update carillon.schedules set planned_through = carillon.clock() - interval '3 days', next_due_at = carillon.clock();
    update carillon.subscriptions set subscribed_at = carillon.clock() - interval '4 days';
    update carillon.endpoints set registered_at = carillon.clock() - interval '4 days'`);
  return saved;
}

function buckets(story: Story): Promise<Bucket[]> {
  return story.rows<Bucket>(
    `select b.bucket_id, b.closed_as, coalesce(sum(g.delivered), 0)::int as delivered,
       coalesce(sum(g.expired), 0)::int as expired
     from carillon.time_buckets b left join carillon.groups g using (bucket_id)
     group by b.bucket_id order by b.due_at`,
  );
}
