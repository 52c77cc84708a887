import { describe, expect, it } from "vitest";
import { createWebhookChannel } from "../../src/channels/webhook.ts";
import { startWebhookReceiver } from "../../src/fakes/webhook-receiver.ts";
import { createDestination } from "../../src/store/destinations.ts";
import type { Receipt } from "../support/invariants.ts";
import { storyLimit } from "../support/nodes.ts";
import { beginStory, loseOwners, storyKey, userIds } from "../support/stories.ts";
import { until } from "../support/world.ts";

const retryAfterMs = 2000;

describe("deliveries that a 429 defers, through crashes of their owners", storyLimit, () => {
  it("come never before Retry-After, and none is lost", async () => {
    await using story = await beginStory();
    const log: Receipt[] = [];
    const lost = { first: false, again: false };
    await using receiver = await startWebhookReceiver({
      onReceived: (reminders) =>
        log.push(...reminders.map(({ replied, ...receipt }) => ({ ...receipt, refused: replied === 429 }))),
      faults: ({ attempt, reminders }) => {
        const user = reminders[0]?.user ?? "";
        if (user.startsWith("busy") && attempt === 0) {
          return { status: 429, headers: { "retry-after": String(retryAfterMs / 1000) } };
        }
        // under way when the first owner is lost, or the second
        if (user.startsWith("slow") && !lost.first) return { delayMs: 500 };
        if (user.startsWith("busy") && !lost.again) return { delayMs: 500 };
        return "accept";
      },
    });
    await createDestination(story.db, { name: "app", url: receiver.url, batchSize: 1 }, storyKey);
    await story.topic("live", { groupCount: 2 });
    const at = await story.instantIn(1500);
    const busy = userIds(40, "busy");
    const users = [...busy, ...userIds(20, "slow"), ...userIds(100)];
    const [saved] = await story.subscribe("live", at, users, [{ channel: "webhook", destination: "app" }]);
    const channel = () =>
      createWebhookChannel({ policy: { allowLoopback: true, allowPrivate: true }, connectionsPerHost: 64 });
    // what is slow is answered all the same, however busy the machine: a send that timed out would be in doubt
    const pace = { window: 200, leaseMs: 12_000, sendTimeoutMs: 10_000 };
    for (const name of ["one", "two"]) await story.startNode({ name, channels: [channel()], pace });
    const bucketId = await story.bucketOf(saved?.scheduleId ?? "");

    // a refusal that was received but not recorded would be in doubt, and its Retry-After be known to nobody
    await until(async () => {
      const put = await story.rows<{ refused: boolean }>(
        `select d.reason = 'answered 429' as refused
         from carillon.deferred d join carillon.users u using (user_number) where u.user_id like 'busy%'`,
      );
      const recorded = put.filter(({ refused }) => refused).length;
      const slow = log.filter(({ user }) => user.startsWith("slow"));
      return put.length === busy.length && recorded > 0 && slow.length > 0;
    }, "all refusals are recorded");
    let kills = await loseOwners(story.db, bucketId);
    lost.first = true;
    await until(
      () => log.some(({ user, attempt }) => user.startsWith("busy") && attempt > 0),
      "the retries have begun",
    );
    kills += await loseOwners(story.db, bucketId);
    lost.again = true;
    await story.whenClosed(bucketId);

    expect(kills).toBeGreaterThan(0);
    expect(await story.states(bucketId)).toEqual({ "delivered: accepted": users.length });
    // once it was asked to wait, its worker sent nobody there: so not all of the busy ones were refused
    const refused = busy.filter((user) => log.some((receipt) => receipt.user === user && receipt.refused));
    expect(refused.length).toBeGreaterThan(0);
    for (const user of refused) {
      const [refusal, ...others] = log.filter((receipt) => receipt.user === user);
      expect(refusal?.refused).toBe(true);
      expect(others.length).toBeGreaterThan(0);
      for (const { receivedAtMs } of others) {
        expect(receivedAtMs - (refusal?.receivedAtMs ?? Number.NaN)).toBeGreaterThanOrEqual(retryAfterMs);
      }
    }
    await story.check({
      receiverLog: log,
      window: 200,
      kills,
      expected: { bucketId, users: users.map((user) => ({ user, result: "delivered" })) },
    });
  });
});
