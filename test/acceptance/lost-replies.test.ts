import { describe, expect, it } from "vitest";
import { startLossyProxy } from "../support/lossy-proxy.ts";
import { storyLimit } from "../support/nodes.ts";
import { beginStory, loseOwners, StoryReceiver, storyPace, userIds } from "../support/stories.ts";
import { until } from "../support/world.ts";

describe("statements that are committed and whose replies are lost", storyLimit, () => {
  it.each([
    [["claim_next_due", "close_bucket"]],
    [["claim_these", "release_group", "settle_group"]],
    [["intend", "record_outcomes", "record_outcomes_and_exceptions", "intend_deferred"]],
  ])("%s: they are looked up, and nothing is sent twice or lost", async (names) => {
    await using story = await beginStory();
    // one chunk of ten in a few has somebody who is to be tried again
    const busy = new Set(userIds(8));
    const receiver = new StoryReceiver(({ address, attempt }) =>
      busy.has(address) && attempt === 0
        ? { kind: "retry", reason: "busy", status: 429, retryAfterMs: 200 }
        : { kind: "accepted" },
    );
    // the first reply, and then every third
    await using proxy = await startLossyProxy(story.url, names, (_, before) => before % 3 === 0);
    await story.topic("live", { groupCount: 2 });
    const at = await story.instantIn(2000);
    const users = userIds(240);
    const [saved] = await story.subscribe("live", at, users);
    // due groups are claimed by the one statement, those held ahead of their moment by the other
    const pace = { chunk: 10, leadMs: names.includes("claim_these") ? 1500 : 200 };
    await story.startNode({ receiver, url: proxy.url, pace });
    proxy.begin();
    const bucketId = await story.bucketOf(saved?.scheduleId ?? "");
    await story.whenClosed(bucketId);

    expect([...proxy.lost.keys()].toSorted()).toEqual(names.toSorted());
    expect(await story.states(bucketId)).toEqual({ "delivered: accepted": 240 });
    const taken = receiver.log.filter(({ refused }) => refused !== true).map(({ user }) => user);
    expect(taken.toSorted()).toEqual(users.toSorted());
    // nothing was in doubt: neither the owners nor the receiver were lost
    await story.check({
      receiverLog: receiver.log,
      expected: { bucketId, users: users.map((user) => ({ user, result: "delivered" })) },
    });
  });

  it("counts what a lost owner left in doubt once, though the reply to that is lost too", async () => {
    await using story = await beginStory();
    let lost = false;
    const receiver = new StoryReceiver(() => (lost ? { kind: "accepted" } : new Promise(() => undefined)));
    await using proxy = await startLossyProxy(
      story.url,
      ["record_outcomes_others_stand_by_for"],
      (_, before) => before < 2,
    );
    await story.topic("once", { groupCount: 2, deliveryMode: "at_most_once" });
    const at = await story.instantIn(1500);
    const [saved] = await story.subscribe("once", at, userIds(60));
    const owner = await story.startNode({ receiver, name: "owner", pace: { sendTimeoutMs: 1500 } });
    const bucketId = await story.bucketOf(saved?.scheduleId ?? "");
    await until(() => receiver.log.length === storyPace.windowAtMostOnce, "the window is full");
    lost = true;
    // it takes nothing up any more, so that its heir does
    const stopped = owner.stop();
    const kills = await loseOwners(story.db, bucketId);
    proxy.begin();
    await story.startNode({ receiver, name: "heir", url: proxy.url });
    await stopped;
    await story.whenClosed(bucketId);

    expect(proxy.lost.size).toBeGreaterThan(0);
    expect(await story.states(bucketId)).toEqual({
      "delivered: accepted": 60 - storyPace.windowAtMostOnce,
      "failed: in doubt": storyPace.windowAtMostOnce,
    });
    await story.check({
      receiverLog: receiver.log,
      mode: "at_most_once",
      window: storyPace.windowAtMostOnce,
      kills,
    });
  });
});
