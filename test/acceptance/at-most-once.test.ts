import { describe, expect, it } from "vitest";
import { createWebhookChannel } from "../../src/channels/webhook.ts";
import { startWebhookReceiver } from "../../src/fakes/webhook-receiver.ts";
import { createDestination } from "../../src/store/destinations.ts";
import type { Receipt } from "../support/invariants.ts";
import { storyLimit } from "../support/nodes.ts";
import { beginStory, loseOwners, StoryReceiver, storyKey, storyPace, userIds } from "../support/stories.ts";
import { until } from "../support/world.ts";

describe("at most once", storyLimit, () => {
  it("never sends again what was perhaps sent: a 5xx, a reset, a reply that never comes", async () => {
    await using story = await beginStory();
    const log: Receipt[] = [];
    await using receiver = await startWebhookReceiver({
      onReceived: (reminders) =>
        log.push(
          ...reminders.map(({ replied, ...receipt }) => ({
            ...receipt,
            refused: replied === 429 || replied === 400,
          })),
        ),
      faults: ({ attempt, reminders }) => {
        const user = reminders[0]?.user ?? "";
        if (user.startsWith("broken")) return { status: 503 };
        if (user.startsWith("reset")) return "reset_after_accept";
        if (user.startsWith("silent")) return "withhold";
        // certainly not taken, so it may come again
        if (user.startsWith("busy") && attempt === 0) return { status: 429, headers: { "retry-after": "1" } };
        return "accept";
      },
    });
    await createDestination(story.db, { name: "app", url: receiver.url, batchSize: 1 }, storyKey);
    await story.topic("once", { groupCount: 2, deliveryMode: "at_most_once" });
    const at = await story.instantIn(2000);
    const all = ["fine", "broken", "reset", "silent", "busy"].flatMap((kind) => userIds(12, kind));
    const [saved] = await story.subscribe("once", at, all, [{ channel: "webhook", destination: "app" }]);
    const channel = () =>
      createWebhookChannel({ policy: { allowLoopback: true, allowPrivate: true }, connectionsPerHost: 8 });
    for (const name of ["one", "two"]) await story.startNode({ name, channels: [channel()] });
    const bucketId = await story.bucketOf(saved?.scheduleId ?? "");
    await story.whenClosed(bucketId);

    expect(await story.states(bucketId)).toEqual({ "delivered: accepted": 24, "failed: in doubt": 36 });
    const taken = log.filter(({ refused }) => refused !== true).map(({ user }) => user);
    expect(new Set(taken).size).toBe(taken.length);
    await story.check({
      receiverLog: log,
      mode: "at_most_once",
      window: storyPace.windowAtMostOnce,
      otherFaults: true,
      expected: {
        bucketId,
        users: all.map((user) => ({ user, result: /^(fine|busy)/.test(user) ? "delivered" : "failed" })),
      },
    });
  });

  it("counts what a lost owner had under way as failed, in doubt, and goes on with the rest", async () => {
    await using story = await beginStory();
    let lost = false;
    const receiver = new StoryReceiver(() => (lost ? { kind: "accepted" } : new Promise(() => undefined)));
    await story.topic("once", { groupCount: 2, deliveryMode: "at_most_once" });
    const at = await story.instantIn(2000);
    const users = userIds(100);
    const [saved] = await story.subscribe("once", at, users);
    // sends that outlast the story's fault, so that nobody but the fault ends them
    for (const name of ["one", "two"]) await story.startNode({ receiver, name, pace: { sendTimeoutMs: 1500 } });
    const bucketId = await story.bucketOf(saved?.scheduleId ?? "");
    await until(
      async () => (await story.rows("select from carillon.groups where next_chunk > 0")).length === 2,
      "two began",
    );
    await until(() => receiver.log.length > 0, "sends are under way");
    const owners = await loseOwners(story.db, bucketId);
    lost = true;
    await story.whenClosed(bucketId);

    const states = await story.states(bucketId);
    const inDoubt = states["failed: in doubt"] ?? 0;
    expect(inDoubt).toBeGreaterThan(0);
    expect(inDoubt).toBeLessThanOrEqual(owners * storyPace.windowAtMostOnce);
    expect(states["delivered: accepted"]).toBe(100 - inDoubt);
    expect(new Set(receiver.users).size).toBe(receiver.log.length);
    await story.check({
      receiverLog: receiver.log,
      mode: "at_most_once",
      window: storyPace.windowAtMostOnce,
      kills: owners,
    });
  });
});
