import { describe, expect, it } from "vitest";
import { startWebhookReceiver } from "../../src/fakes/webhook-receiver.ts";
import { createDestination, generateSecret } from "../../src/store/destinations.ts";
import { setListener } from "../../src/store/event-listeners.ts";
import { type EventKind, eventKinds } from "../../src/store/events.ts";
import { type Answer, listenForEvents, type ToldEvent } from "../support/event-listener.ts";
import { startNode, storyLimit } from "../support/nodes.ts";
import { beginStory, type Story, StoryReceiver, storyKey, userIds } from "../support/stories.ts";
import { until } from "../support/world.ts";

const secret = generateSecret();

async function listen(story: Story, answer?: Answer, kinds: readonly EventKind[] = eventKinds) {
  const listening = await listenForEvents(secret, answer);
  const destination = { name: "ops", url: listening.url, batchSize: 1, secret };
  await createDestination(story.db, destination, storyKey);
  await setListener(story.db, "ops", kinds);
  return listening;
}

const outboxEmpty = (story: Story) =>
  until(async () => (await story.rows("select from carillon.events")).length === 0, "the outbox is empty");

const idsOf = (log: readonly ToldEvent[]) => log.map(({ id }) => id);

/** Of 30 users, three of whom have left. */
const dead = ["user-1", "user-2", "user-3"];
const leavers = () =>
  new StoryReceiver(({ address }) =>
    dead.includes(address) ? { kind: "gone", reason: "unregistered", status: 410 } : { kind: "accepted" },
  );

async function oneMoment(story: Story): Promise<string> {
  await story.topic("live");
  const [saved] = await story.subscribe("live", await story.instantIn(1500), userIds(30));
  return story.bucketOf(saved?.scheduleId ?? "");
}

describe.concurrent("whoever listens", storyLimit, () => {
  it("is told of each endpoint that is gone and of the end of the moment, each once though two nodes send", async () => {
    await using story = await beginStory();
    await using listening = await listen(story);
    const receiver = leavers();
    await story.startNode({ receiver });
    await story.startNode({ receiver });
    const bucket = await oneMoment(story);
    await story.whenClosed(bucket);
    await listening.when((log) => log.some(({ type }) => type === "bucket.closed"));
    await outboxEmpty(story);
    expect(new Set(idsOf(listening.log)).size).toBe(listening.log.length);
    const closed = listening.log.filter(({ type }) => type === "bucket.closed");
    expect(closed.map(({ data }) => data)).toMatchObject([
      { bucket, topic: "live", state: "done", counts: { delivered: 27, failed: 3 } },
    ]);
    const endpoints = listening.log.flatMap(({ data }) => (data.endpoints ?? []) as { user: string }[]);
    expect(endpoints.map(({ user }) => user).sort()).toEqual(dead);
  });

  it("is told again, with the same id, until it takes it", async () => {
    await using story = await beginStory();
    const refused = new Map<string, number>();
    await using listening = await listen(story, ({ id }) => {
      const times = refused.get(id) ?? 0;
      refused.set(id, times + 1);
      return times < 2 ? 500 : 200;
    });
    await story.startNode({ receiver: leavers() });
    await oneMoment(story);
    await listening.when((log) => log.some(({ type, status }) => type === "bucket.closed" && status === 200));
    await outboxEmpty(story);
    for (const same of Map.groupBy(listening.log, ({ id }) => id).values()) {
      expect(same.map(({ status, attempt }) => ({ status, attempt }))).toEqual([
        { status: 500, attempt: 0 },
        { status: 500, attempt: 1 },
        { status: 200, attempt: 2 },
      ]);
      expect(new Set(same.map(({ data }) => JSON.stringify(data))).size).toBe(1);
    }
  });

  it("is told although the node that was telling is killed", async () => {
    await using story = await beginStory();
    let silent = true;
    await using listening = await listen(story, () => (silent ? null : 200), ["bucket.closed"]);
    const start = { databaseUrl: story.url, secretKey: storyKey };
    await using victim = await startNode({ name: "victim", ...start });
    await using receiver = await startWebhookReceiver();
    const app = { channel: "webhook", name: "app", url: receiver.url, batchSize: 1 } as const;
    await createDestination(story.db, app, storyKey);
    await story.topic("live");
    const endpoints = [{ channel: "webhook", destination: "app" }];
    const [saved] = await story.subscribe("live", await story.instantIn(1500), userIds(5), endpoints);
    await listening.when(({ length }) => length === 1);
    victim.kill("SIGKILL");
    await victim.exited;
    silent = false;
    await using _ = await startNode({ name: "heir", ...start });
    await listening.when(({ length }) => length === 2);
    await outboxEmpty(story);
    expect(new Set(idsOf(listening.log)).size).toBe(1);
    expect(listening.log.map(({ status }) => status)).toEqual([null, 200]);
    expect(listening.log[1]?.data).toMatchObject({ schedule: saved?.scheduleId, counts: { delivered: 5 } });
  });

  it("and says nothing holds up no other", async () => {
    await using story = await beginStory();
    await using listening = await listen(story);
    await using silent = await listenForEvents(secret, () => null);
    await createDestination(story.db, { name: "silent", url: silent.url, batchSize: 1, secret }, storyKey);
    await setListener(story.db, "silent", eventKinds);
    await story.startNode({ receiver: leavers(), pace: { sendTimeoutMs: 1500 } });
    await oneMoment(story);
    await silent.when(({ length }) => length > 0);
    await listening.when((log) => log.some(({ type }) => type === "bucket.closed"));
    expect(new Set(silent.log.map(({ status }) => status))).toEqual(new Set([null]));
  });
});
