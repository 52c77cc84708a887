import { describe, expect, it } from "vitest";
import { createWebhookChannel } from "../../src/channels/webhook.ts";
import {
  startWebhookReceiver,
  type WebhookReceiver,
  type WebhookReceiverOptions,
} from "../../src/fakes/webhook-receiver.ts";
import { createDestination } from "../../src/store/destinations.ts";
import type { SavedSubscription } from "../../src/store/subscribe.ts";
import { storyLimit } from "../support/nodes.ts";
import { beginStory, hurry, type Story, type StoryPace, storyKey, userIds } from "../support/stories.ts";
import { until } from "../support/world.ts";

const people = 300;
const window = 100;
const connectionsPerHost = 40;

/** Half of the users at a receiver that is well, half at one in trouble, all due at one instant. */
async function twoReceivers(story: Story, troubled: WebhookReceiverOptions, pace: Partial<StoryPace> = {}) {
  const receivers = { well: await startWebhookReceiver(), troubled: await startWebhookReceiver(troubled) };
  for (const [name, { url }] of Object.entries(receivers)) {
    await createDestination(story.db, { channel: "webhook", name, url, batchSize: 1 }, storyKey);
  }
  await story.topic("live");
  const at = await story.instantIn(3000);
  const saved: SavedSubscription[] = [];
  for (const destination of ["well", "troubled"]) {
    saved.push(
      ...(await story.subscribe("live", at, userIds(people, destination), [{ channel: "webhook", destination }])),
    );
  }
  const node = await story.startNode({
    channels: [createWebhookChannel({ policy: { allowLoopback: true, allowPrivate: true }, connectionsPerHost })],
    pace: { window, chunk: 50, ...pace },
  });
  const bucketId = await story.bucketOf(saved[0]?.scheduleId ?? "");
  return { ...receivers, node, bucketId, [Symbol.asyncDispose]: async () => void (await stopBoth(receivers)) };
}

const stopBoth = (receivers: Record<string, WebhookReceiver>) =>
  Promise.all(Object.values(receivers).map((receiver) => receiver.stop()));

describe.concurrent("one destination in trouble", storyLimit, () => {
  it("that swallows requests holds up nobody else, and gets its own once it answers", async () => {
    await using story = await beginStory();
    let silent = true;
    const swallowed: string[] = [];
    await using there = await twoReceivers(story, {
      faults: (request) => {
        if (!silent) return "accept";
        swallowed.push(...request.reminders.map(({ user }) => user));
        return "withhold";
      },
    });
    await there.well.whenReceived(people);
    // twenty without an answer were enough; what had begun until then is bounded by the connections
    expect(swallowed.length).toBeLessThanOrEqual(20 + 2 * connectionsPerHost);
    silent = false;
    await until(async () => {
      await hurry(story);
      return there.troubled.received >= people + swallowed.length;
    }, "the silent one has answered");
    await story.whenClosed(there.bucketId);
    expect(await story.states(there.bucketId)).toEqual({ "delivered: accepted": 2 * people });
  });

  it("that refuses its credential is asked a few times and not by everybody, is in attention, and loses nothing", async () => {
    await using story = await beginStory();
    let refusing = true;
    let refused = 0;
    const faults = () => {
      if (!refusing) return "accept" as const;
      refused += 1;
      return { status: 401 };
    };
    // what is refused is answered, however busy the machine: a send that timed out would be a try
    await using there = await twoReceivers(story, { faults }, { leaseMs: 12_000, sendTimeoutMs: 10_000 });
    await there.well.whenReceived(people);
    const attention = () =>
      story.rows("select subject, why from carillon.attention where kind = 'destination refuses'");
    await until(async () => (await attention()).length > 0, "it is in attention");
    expect(await attention()).toEqual([{ subject: "troubled", why: "answered 401" }]);
    expect(refused).toBeLessThanOrEqual(2 * connectionsPerHost);
    const [burned] = await story.rows("select from carillon.deferred where attempt > 1");
    expect(burned).toBeUndefined();
    refusing = false;
    // a node that has not been refused yet asks at once; beside it the other one would take groups only to hold them
    await there.node.stop();
    await story.startNode({
      channels: [createWebhookChannel({ policy: { allowLoopback: true, allowPrivate: true }, connectionsPerHost })],
    });
    await until(async () => {
      await hurry(story);
      const { open } = await story.one<{ open: boolean }>(
        "select closed_at is null as open from carillon.time_buckets where bucket_id = $1",
        [there.bucketId],
      );
      return !open;
    }, "everything is delivered");
    expect(await story.states(there.bucketId)).toEqual({ "delivered: accepted": 2 * people });
  });
});
