import { describe, expect, it } from "vitest";
import { createDestination, patchDestination } from "../../src/store/destinations.ts";
import { removeEndpoint } from "../../src/store/endpoints.ts";
import { saveMute } from "../../src/store/mutes.ts";
import { endSubscription } from "../../src/store/subscriptions.ts";
import { storyLimit } from "../support/nodes.ts";
import { beginStory, StoryReceiver, storyKey } from "../support/stories.ts";

const memory = { channel: "memory" };

describe("deciding whom not to send to", storyLimit, () => {
  it("records each refusal with its reason, and reaches every endpoint of everybody else once", async () => {
    await using story = await beginStory();
    const receiver = new StoryReceiver();
    await createDestination(story.db, { name: "off", url: "http://192.0.2.1/", batchSize: 1 }, storyKey);
    await patchDestination(story.db, "off", { disabled: true }, storyKey);
    await story.topic("live", { groupCount: 2 });
    await story.topic("other");
    const at = await story.instantIn(2000);
    const off = { channel: "webhook", destination: "off" };
    const plain = await story.subscribe("live", at, [
      "plain",
      "muted",
      "silent",
      "awake",
      "unmuted-topic",
      "left",
      "moved",
    ]);
    await story.subscribe("live", at, ["nowhere"], []);
    await story.subscribe("live", at, ["refused"], [off]);
    await story.subscribe("live", at, ["partly"], [off, memory]);
    await story.subscribe(
      "live",
      at,
      ["many"],
      [1, 2, 3].map((n) => ({ ...memory, address: `many#${n}` })),
    );

    const ahead = new Date(Date.now() + 3_600_000);
    await saveMute(story.db, "muted", { topic: "live", until: ahead });
    await saveMute(story.db, "silent", { topic: null, until: null });
    await saveMute(story.db, "awake", { topic: null, until: new Date(Date.now() - 1000) });
    await saveMute(story.db, "unmuted-topic", { topic: "other", until: ahead });
    await removeEndpoint(story.db, "moved", 1);
    await endSubscription(story.db, plain.find(({ userId }) => userId === "left")?.id ?? "");

    await Promise.all([story.startNode({ receiver }), story.startNode({ receiver })]);
    const bucketId = await story.bucketOf(plain[0]?.scheduleId ?? "");
    await story.whenClosed(bucketId);

    const found = await story.rows<{ user_id: string; ordinal: number; state: string }>(
      `select u.user_id, m.ordinal, o.state || ': ' || o.reason as state
       from carillon.chunk_members m join carillon.users u using (user_number)
       join carillon.outcome_codes o on o.code = m.code
       where m.bucket_id = $1 order by u.user_id, m.ordinal`,
      [bucketId],
    );
    expect(found.map(({ user_id, ordinal, state }) => `${user_id} ${ordinal}: ${state}`)).toEqual([
      "awake 1: delivered: accepted",
      "many 1: delivered: accepted",
      "many 2: delivered: accepted",
      "many 3: delivered: accepted",
      "moved 0: suppressed: no endpoint",
      "muted 1: suppressed: muted",
      "nowhere 0: suppressed: no endpoint",
      "partly 1: suppressed: destination disabled",
      "partly 2: delivered: accepted",
      "plain 1: delivered: accepted",
      "refused 1: suppressed: destination disabled",
      "silent 1: suppressed: muted",
      "unmuted-topic 1: delivered: accepted",
    ]);
    expect(receiver.users.toSorted()).toEqual(["awake", "many", "many", "many", "partly", "plain", "unmuted-topic"]);
    expect(new Set(receiver.log.map(({ id }) => id)).size).toBe(7);
    await story.check({
      receiverLog: receiver.log,
      expected: {
        bucketId,
        users: [
          ...["plain", "awake", "unmuted-topic", "partly", "many"].map((user) => ({
            user,
            result: "delivered" as const,
          })),
          ...["muted", "silent", "nowhere", "refused", "moved"].map((user) => ({
            user,
            result: "suppressed" as const,
          })),
          { user: "left", result: "nothing" },
        ],
      },
    });
  });

  it("asks again before each further try: who left or was muted meanwhile is not sent to", async () => {
    await using story = await beginStory();
    const refusedOnce = Promise.withResolvers<void>();
    const receiver = new StoryReceiver(({ attempt }) => {
      if (attempt > 0) return { kind: "accepted" };
      if (receiver.log.length === 4) refusedOnce.resolve();
      return { kind: "retry", reason: "busy", status: 429, retryAfterMs: 1500 };
    });
    await story.topic("live", { groupCount: 2 });
    const at = await story.instantIn(1500);
    const saved = await story.subscribe("live", at, ["stays", "leaves", "mutes", "moves"]);
    await story.startNode({ receiver });
    await refusedOnce.promise;
    await endSubscription(story.db, saved.find(({ userId }) => userId === "leaves")?.id ?? "");
    await saveMute(story.db, "mutes", { topic: "live", until: null });
    await removeEndpoint(story.db, "moves", 1);
    const bucketId = await story.bucketOf(saved[0]?.scheduleId ?? "");
    await story.whenClosed(bucketId);
    expect(await story.states(bucketId)).toEqual({
      "delivered: accepted": 1,
      "suppressed: ended": 1,
      "suppressed: muted": 1,
      "suppressed: no endpoint": 1,
    });
    expect(receiver.log.filter(({ attempt }) => attempt > 0).map(({ user }) => user)).toEqual(["stays"]);
    await story.check({ receiverLog: receiver.log });
  });

  it("takes an endpoint that is gone out of use, and sends to it no more", async () => {
    await using story = await beginStory();
    const receiver = new StoryReceiver(({ address }) =>
      address === "gone" ? { kind: "gone", reason: "unregistered", status: 410 } : { kind: "accepted" },
    );
    await story.topic("first", { groupCount: 2 });
    await story.topic("second", { groupCount: 2 });
    const at = await story.instantIn(1500);
    const later = new Date(Date.parse(at) + 1000).toISOString();
    const [first] = await story.subscribe("first", at, ["gone", "here"]);
    const [second] = await story.subscribe("second", later, ["gone", "here"]);
    await story.startNode({ receiver });
    const buckets = [await story.bucketOf(first?.scheduleId ?? ""), await story.bucketOf(second?.scheduleId ?? "")];
    for (const bucketId of buckets) await story.whenClosed(bucketId);
    expect(await story.states(buckets[0] ?? "")).toEqual({ "delivered: accepted": 1, "failed: gone": 1 });
    expect(await story.states(buckets[1] ?? "")).toEqual({ "delivered: accepted": 1, "suppressed: no endpoint": 1 });
    expect(receiver.users.toSorted()).toEqual(["gone", "here", "here"]);
    await story.check({ receiverLog: receiver.log });
  });
});
