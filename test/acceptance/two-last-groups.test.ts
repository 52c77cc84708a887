import { randomUUID } from "node:crypto";
import { describe, expect, it } from "vitest";
import { type ClaimedGroup, claimGroup } from "../../src/store/claim.ts";
import { inTransaction } from "../../src/store/executor.ts";
import { registerNode } from "../../src/store/nodes.ts";
import { closeBucket, settleGroup } from "../../src/store/settle.ts";
import { storyLimit } from "../support/nodes.ts";
import { beginStory, createGate, StoryReceiver, userIds } from "../support/stories.ts";
import { until } from "../support/world.ts";

const never = 3_600_000;

describe("the last two groups of a moment", storyLimit, () => {
  it("settle together, and one of them closes the bucket without any sweep", async () => {
    await using story = await beginStory();
    const moments = 12;
    const gates = new Map(Array.from({ length: moments }, (_, index) => [`topic-${index}`, createGate()]));
    const waiting = new Map<string, number>();
    const receiver = new StoryReceiver(async (_, { moment }) => {
      waiting.set(moment.topic, (waiting.get(moment.topic) ?? 0) + 1);
      await gates.get(moment.topic)?.pass();
      return { kind: "accepted" };
    });
    const at = await story.instantIn(3000);
    const buckets = new Map<string, string>();
    for (const topic of gates.keys()) {
      await story.topic(topic, { groupCount: 2 });
      const [saved] = await story.subscribe(topic, at, userIds(10, topic));
      buckets.set(topic, saved?.scheduleId ?? "");
    }
    const pace = { sweepMs: never, sendTimeoutMs: 1500, slots: 6 };
    await Promise.all([story.startNode({ receiver, pace }), story.startNode({ receiver, pace })]);
    for (const [topic, scheduleId] of buckets) buckets.set(topic, await story.bucketOf(scheduleId));

    for (const [topic, gate] of gates) {
      // both groups hold their last send
      void until(() => waiting.get(topic) === 10, `both groups of ${topic} are being sent`).then(() => gate.open());
    }
    for (const bucketId of buckets.values()) await story.whenClosed(bucketId);
    expect(receiver.log).toHaveLength(10 * moments);
    // nothing was found by a sweep: there was none
    await story.check({ receiverLog: receiver.log });
  });

  it("are closed by whoever commits later, however the two interleave", async () => {
    await using story = await beginStory();
    const { db } = story;
    const nodeId = await registerNode(db.pool, { name: "n", role: "worker", pid: 1, version: "story", slots: 1 });

    async function twoSettled(): Promise<{ bucketId: string; groups: ClaimedGroup[] }> {
      const { bucket_id: bucketId } = await story.one<{ bucket_id: string }>(
        `with topic as (
           insert into carillon.topics (name) values (gen_random_uuid()::text) returning topic_id
         ), schedule as (
           insert into carillon.schedules (topic_id, rule)
           select topic_id, carillon.canonical_rule('{"kind": "instant", "at": "2026-01-01T00:00:00Z"}') from topic
           returning schedule_id, topic_id
         )
         insert into carillon.time_buckets (schedule_id, topic_id, occurrence, due_at, expires_at, cut_at)
         select schedule_id, topic_id, 'once', carillon.clock() - interval '1 second', carillon.clock() + interval '1 hour',
           clock_timestamp() from schedule
         returning bucket_id`,
      );
      await db.pool.query(
        `insert into carillon.groups (bucket_id, group_number, first_slot, last_slot, mark_slot, not_before, paged_at)
         select $1, n, n * 32768, n * 32768 + 32767, n * 32768, clock_timestamp(), clock_timestamp()
         from generate_series(0, 1) n`,
        [bucketId],
      );
      const groups = await Promise.all(
        [0, 1].map((group) =>
          claimGroup(db.pool, { nodeId, claimToken: randomUUID(), leaseMs: 60_000 }, bucketId, group),
        ),
      );
      return { bucketId, groups: groups.filter((group) => group !== null) };
    }

    // one has its end mark written but not committed while the other one commits and asks
    const first = await twoSettled();
    const [one, other] = first.groups;
    if (one === undefined || other === undefined) throw new Error("not claimed");
    const asked: boolean[] = [];
    await inTransaction(db, async (slow) => {
      expect(await settleGroup(slow, one)).toBe(true);
      expect(await settleGroup(db.pool, other)).toBe(true);
      asked.push(await closeBucket(db.pool, first.bucketId));
    });
    asked.push(await closeBucket(db.pool, first.bucketId));
    expect(asked).toEqual([false, true]);

    // both at once, many times: exactly one closes
    for (let round = 0; round < 20; round += 1) {
      const { bucketId, groups } = await twoSettled();
      const closed = await Promise.all(
        groups.map(async (group) => {
          await settleGroup(db.pool, group);
          return closeBucket(db.pool, bucketId);
        }),
      );
      expect(closed.filter(Boolean)).toHaveLength(1);
    }
    await story.check({ receiverLog: null });
  });
});
