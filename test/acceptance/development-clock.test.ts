import { describe, expect, it } from "vitest";
import { monotonicMs } from "../../src/clock.ts";
import { readClocks } from "../../src/store/clock.ts";
import { subscribe } from "../../src/store/subscribe.ts";
import { storyLimit } from "../support/nodes.ts";
import { beginStory, type Story, StoryReceiver, storyPace, userIds } from "../support/stories.ts";
import { until } from "../support/world.ts";

const evening = "2027-03-27T19:00:00Z";
const minuteMs = 60_000;

/** What Postgres shows on carillon.clock() now, epoch milliseconds. */
const shown = async (story: Story) => (await readClocks(story.db.pool)).clockMs;

describe.concurrent("a clock that goes sixty times as fast", storyLimit, () => {
  it("brings a moment ten minutes ahead in ten seconds, armed in time and never early", async () => {
    await using story = await beginStory();
    const seenAtMs: number[] = [];
    const receiver = new StoryReceiver(async () => {
      seenAtMs.push(await shown(story));
      return { kind: "accepted" };
    });
    receiver.clock = await story.setPace(evening, 60);
    await story.startNode({ receiver });
    await story.topic("news", { expiresAfterMs: 10 * minuteMs });
    const users = userIds(40);
    const beganAtMs = monotonicMs();
    const at = await story.instantIn(10 * minuteMs);
    const [saved] = await story.subscribe("news", at, users);
    expect(saved?.nextDueAt).toEqual(new Date(at));
    const bucketId = await story.bucketOf(saved?.scheduleId ?? "");

    const armed = () =>
      story.rows<{ ahead_ms: number; lease_ms: number }>(
        `select (extract(epoch from b.due_at - carillon.clock()) * 1000)::float8 as ahead_ms,
           (extract(epoch from g.lease_until - clock_timestamp()) * 1000)::float8 as lease_ms
         from carillon.groups g join carillon.time_buckets b using (bucket_id)
         where g.bucket_id = $1 and g.claim_token is not null and b.due_at > carillon.clock()`,
        [bucketId],
      );
    const [group] = await until(async () => {
      const found = await armed();
      return found.length > 0 && found;
    }, "a group is armed");
    // the lead is 600 real milliseconds, which are 36 seconds; the lease has its two real seconds
    expect(group?.ahead_ms).toBeLessThanOrEqual(storyPace.leadMs * 60);
    expect(group?.lease_ms).toBeGreaterThan(storyPace.leaseMs / 2);
    expect(group?.lease_ms).toBeLessThanOrEqual(storyPace.leaseMs);

    await story.whenClosed(bucketId);
    const tookMs = monotonicMs() - beganAtMs;
    expect(tookMs).toBeGreaterThan(9000);
    expect(receiver.users.toSorted()).toEqual(users.toSorted());
    expect(Math.min(...seenAtMs)).toBeGreaterThanOrEqual(Date.parse(at));
    expect(await story.states(bucketId)).toEqual({ "delivered: accepted": 40 });
    await story.check({ receiverLog: receiver.log, travelMs: 500 * 60 });
  });

  it("leaves what a receiver asks for, and the lease that waits for it, in real time", async () => {
    await using story = await beginStory();
    const askedMs = 1500;
    const triesAtMs: number[] = [];
    const receiver = new StoryReceiver(() => {
      triesAtMs.push(monotonicMs());
      if (triesAtMs.length > 1) return { kind: "accepted" };
      return { kind: "retry", reason: "busy", retryAfterMs: askedMs };
    });
    receiver.clock = await story.setPace(evening, 60);
    await story.startNode({ receiver });
    await story.topic("news", { expiresAfterMs: 30 * minuteMs });
    const [saved] = await story.subscribe("news", await story.instantIn(2 * minuteMs), userIds(1));
    const bucketId = await story.bucketOf(saved?.scheduleId ?? "");
    await story.whenClosed(bucketId);
    const [first = 0, second = 0] = triesAtMs;
    expect(second - first).toBeGreaterThanOrEqual(askedMs);
    // a second and a half on the clock's own pace would have been over at once, and ninety seconds never
    expect(second - first).toBeLessThan(15_000);
    await story.check({ receiverLog: receiver.log, travelMs: 500 * 60 });
  });

  it("does not wait for a Retry-After beyond the expiry, which lives by it", async () => {
    await using story = await beginStory();
    const receiver = new StoryReceiver(() => ({ kind: "retry", reason: "busy", retryAfterMs: 20_000 }));
    receiver.clock = await story.setPace(evening, 60);
    await story.startNode({ receiver });
    // five real seconds
    await story.topic("news", { expiresAfterMs: 5 * minuteMs });
    const [saved] = await story.subscribe("news", await story.instantIn(2 * minuteMs), userIds(1));
    const bucketId = await story.bucketOf(saved?.scheduleId ?? "");
    await story.whenClosed(bucketId);
    expect(await story.states(bucketId)).toEqual({ "expired: expired": 1 });
    expect(receiver.log).toHaveLength(1);
  });

  it("lives through the night in which clocks go forward", async () => {
    await using story = await beginStory();
    const receiver = new StoryReceiver();
    receiver.clock = await story.setPace("2027-03-28T01:27:00Z", 60);
    await story.startNode({ receiver });
    await story.topic("night", { expiresAfterMs: 20 * minuteMs });
    const wanted = [
      // 02:30 does not exist in Berlin; in London it comes in the hour after the gap, in Lagos nothing changes
      ["berlin-shift", "Europe/Berlin", "shift"],
      ["berlin-skip", "Europe/Berlin", "skip"],
      ["london", "Europe/London", "shift"],
      ["lagos", "Africa/Lagos", "shift"],
      ["athens", "Europe/Athens", "shift"],
    ] as const;
    const saved = await subscribe(
      story.db,
      wanted.map(([userId, zone, gap]) => ({
        userId,
        topic: "night",
        when: { daily: { time: "02:30", zone, gap } },
        endpoints: [{ channel: "memory" }],
        pointer: "",
      })),
      { planHorizonMs: storyPace.horizonMs },
    );
    expect(saved.map(({ userId, nextDueAt }) => [userId, nextDueAt?.toISOString()])).toEqual([
      ["berlin-shift", "2027-03-28T01:30:00.000Z"],
      ["berlin-skip", "2027-03-29T00:30:00.000Z"],
      ["london", "2027-03-28T01:30:00.000Z"],
      ["lagos", "2027-03-28T01:30:00.000Z"],
      ["athens", "2027-03-28T23:30:00.000Z"],
    ]);
    await until(async () => (await shown(story)) > Date.parse("2027-03-28T01:36:00Z"), "the moment is past");
    expect(receiver.users.toSorted()).toEqual(["berlin-shift", "lagos", "london"]);
    for (const { receivedAtMs, dueAtMs } of receiver.log) {
      expect(new Date(dueAtMs).toISOString()).toBe("2027-03-28T01:30:00.000Z");
      expect(receivedAtMs).toBeGreaterThanOrEqual(dueAtMs);
    }
    await story.check({ receiverLog: receiver.log, travelMs: 500 * 60 });
  });
});

describe.concurrent("a clock that is set anew while nodes run", storyLimit, () => {
  it("is taken up: what was an hour ahead comes at its new pace", async () => {
    await using story = await beginStory();
    const receiver = new StoryReceiver();
    await story.setPace(evening, 1);
    const pace = { leadMs: 2000 };
    await Promise.all([story.startNode({ receiver, pace }), story.startNode({ receiver, pace })]);
    await story.topic("news", { expiresAfterMs: 60 * minuteMs, groupCount: 4 });
    const at = await story.instantIn(50 * minuteMs);
    const [saved] = await story.subscribe("news", at, userIds(20));
    const bucketId = await story.bucketOf(saved?.scheduleId ?? "");
    // its cut waits for a time that is now too late
    receiver.clock = await story.setPace(new Date(await shown(story)).toISOString(), 600);
    await story.whenClosed(bucketId);
    expect(receiver.users.toSorted()).toEqual(userIds(20).toSorted());
    expect(await story.one("select rescues from carillon.groups where bucket_id = $1 limit 1", [bucketId])).toEqual({
      rescues: 0,
    });
    await story.check({ receiverLog: receiver.log, travelMs: 500 * 600 });
  });
});
