import { describe, expect, it } from "vitest";
import type { FinalState } from "../../src/reminder/outcome-code.ts";
import { endSubscription } from "../../src/store/subscriptions.ts";
import { storyLimit } from "../support/nodes.ts";
import { beginStory, createGate, StoryReceiver, userIds } from "../support/stories.ts";
import { until } from "../support/world.ts";

describe("subscribing and leaving around the moment", storyLimit, () => {
  it("honours whatever was committed a second before, whoever else comes and goes while it is sent", async () => {
    await using story = await beginStory();
    const receiver = new StoryReceiver(async () => {
      // as a network would take, so that people come and go meanwhile
      await new Promise((resolve) => setTimeout(resolve, 20));
      return { kind: "accepted" };
    });
    await story.topic("flash-sale", { groupCount: 4 });
    const at = await story.instantIn(4000);
    const dueAtMs = Date.parse(at);
    const stay = userIds(300, "stay");
    const leave = userIds(100, "leave");
    const saved = await story.subscribe("flash-sale", at, [...stay, ...leave]);
    const idOf = new Map(saved.map((subscription) => [subscription.userId, subscription.id]));
    const scheduleId = saved[0]?.scheduleId ?? "";
    // no send times out and no lease ends, however busy the machine: each of them is sent to once
    const pace = { leaseMs: 12_000, sendTimeoutMs: 10_000 };
    await Promise.all([story.startNode({ receiver, pace }), story.startNode({ receiver, pace })]);
    await Promise.all(leave.map((user) => endSubscription(story.db, idOf.get(user) ?? "")));
    const { now_ms: leftAtMs } = await clock();
    expect(leftAtMs).toBeLessThan(dueAtMs - 1000);

    // from before the moment until all is sent: one comes after the other, every second one leaves again
    const bucketId = await story.bucketOf(scheduleId);
    const sure: { user: string; result: FinalState }[] = [];
    const turns = { coming: 0 };
    const sent = story.whenClosed(bucketId).then(() => true);
    let over = false;
    void sent.then(() => {
      over = true;
    });
    while (!over) {
      turns.coming += 1;
      const user = `turn-${turns.coming}`;
      const [subscription] = await story.subscribe("flash-sale", at, [user]).catch(() => []);
      // a past instant is refused: who is too late hears of it
      if (subscription === undefined) break;
      if (turns.coming % 2 === 0) await endSubscription(story.db, subscription.id);
      const { now_ms: nowMs } = await clock();
      if (nowMs < dueAtMs - 1000 && turns.coming % 2 === 1) sure.push({ user, result: "delivered" });
    }
    await sent;

    expect(sure.length).toBeGreaterThan(0);
    expect(new Set(receiver.users).size).toBe(receiver.users.length);
    await story.check({
      receiverLog: receiver.log,
      expected: {
        bucketId,
        users: [
          ...stay.map((user) => ({ user, result: "delivered" as const })),
          ...leave.map((user) => ({ user, result: "nothing" as const })),
          ...sure,
        ],
      },
    });

    function clock(): Promise<{ now_ms: number }> {
      return story.one("select (extract(epoch from carillon.clock()) * 1000)::float8 as now_ms");
    }
  });

  it("neither rings twice nor forgets where somebody stood who leaves and comes back mid-group", async () => {
    await using story = await beginStory();
    const gate = createGate();
    const receiver = new StoryReceiver(async () => {
      await gate.pass();
      return { kind: "accepted" };
    });
    await story.topic("livestream", { groupCount: 2 });
    const at = await story.instantIn(2500);
    const saved = await story.subscribe("livestream", at, userIds(80));
    const scheduleId = saved[0]?.scheduleId ?? "";
    // two groups of about 40, ten at a time: three chunks of each are still to come when the first ones wait
    await story.startNode({ receiver, pace: { chunk: 10, window: 20, sendTimeoutMs: 1500 } });
    const bucketId = await story.bucketOf(scheduleId);
    const order = await story.firingOrder(scheduleId);
    await gate.reached;
    await until(() => receiver.log.length === 20, "the window is full");

    const reached = new Set(receiver.users);
    const [last = "", ended = ""] = order.filter((user) => !reached.has(user)).toReversed();
    const [sentTo = ""] = reached;
    const idOf = (user: string) => saved.find((subscription) => subscription.userId === user)?.id ?? "";
    for (const user of [last, ended, sentTo]) await endSubscription(story.db, idOf(user));
    // the moment is over for new requests of it; coming back by SQL is what an import would do
    await story.db.pool.query(
      `update carillon.subscriptions s set ended_at = null, subscribed_at = carillon.clock()
       from carillon.users u where u.user_number = s.user_number and u.user_id = any ($1)`,
      [[last, sentTo]],
    );
    gate.open();
    await story.whenClosed(bucketId);

    expect(receiver.users.filter((user) => user === sentTo)).toHaveLength(1);
    expect(receiver.users).not.toContain(last);
    expect(receiver.users).not.toContain(ended);
    expect(await story.states(bucketId)).toEqual({ "delivered: accepted": 78, "suppressed: ended": 1 });
    const rest = order.filter((user) => ![last, ended].includes(user));
    await story.check({
      receiverLog: receiver.log,
      window: 20,
      expected: {
        bucketId,
        users: [
          ...rest.map((user) => ({ user, result: "delivered" as const })),
          { user: last, result: "nothing" },
          { user: ended, result: "suppressed" },
        ],
      },
    });
  });
});
