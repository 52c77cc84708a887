import { describe, expect, it } from "vitest";
import type { Delivery, Outcome } from "../../src/channels/channel.ts";
import { storyLimit } from "../support/nodes.ts";
import { beginStory, createGate, loseOwners, type Story, StoryReceiver, userIds } from "../support/stories.ts";
import { until } from "../support/world.ts";

/** Each user is reached at two more endpoints of the memory channel, behind the one that subscribing made. */
async function addEndpoints(story: Story): Promise<void> {
  await story.rows(
    `insert into carillon.endpoints (hash_slot, user_number, ordinal, channel, address)
     select hash_slot, user_number, n, 'memory', user_id || '#' || n from carillon.users, generate_series(2, 3) n`,
  );
}

/** All have their intent, some are under way, and of what else was sent all is recorded. */
const onlyUnderWay = (story: Story, bucketId: string, users: number, kinds: readonly string[]) =>
  until(
    async () => {
      const row = await story.one<{ deliveries: number; open: number; ours: number }>(
        `select count(*)::int as deliveries, (count(*) filter (where reason is null))::int as open,
         (count(*) filter (where reason is null and split_part(user_id, '-', 1) = any ($2)))::int as ours
       from carillon.deliveries where bucket_id = $1`,
        [bucketId, kinds],
      );
      return row.deliveries === users * 3 && row.open > 0 && row.open === row.ours;
    },
    `only ${kinds.join(" and ")} are under way`,
  );

const ordinalOf = ({ address }: Pick<Delivery, "address">) => Number(address.split("#")[1] ?? 1);
const accepted: Outcome = { kind: "accepted" };
const busy: Outcome = { kind: "retry", reason: "busy", retryAfterMs: 100 };

describe.concurrent("a topic that is content with the first endpoint that accepts", storyLimit, () => {
  it("goes on to the next one only after a certain failure, through crashes of its owners", async () => {
    await using story = await beginStory();
    const [slow, late] = [createGate(), createGate()];
    const tries = new Map<string, number>();
    const receiver = new StoryReceiver(async (delivery) => {
      const ordinal = ordinalOf(delivery);
      const kind = delivery.address.split("-", 1)[0] ?? "";
      tries.set(delivery.address, (tries.get(delivery.address) ?? 0) + 1);
      const again = (tries.get(delivery.address) ?? 0) > 1;
      if ((kind === "gone" || kind === "late") && ordinal === 1) return { kind: "gone", reason: "no more" };
      if (kind === "dead") return { kind: "rejected", reason: "no" };
      if (kind === "busy" && !again) return busy;
      // once in doubt, and then gone: nobody knows whether they were reminded
      if (kind === "doubt")
        return again ? { kind: "gone", reason: "no more" } : { kind: "in_doubt", reason: "no reply" };
      // under way when their owner is lost: the first one, or the one whose turn has come
      if (kind === "slow") await slow.pass();
      if (kind === "late") await late.pass();
      return accepted;
    });
    await story.topic("live", { groupCount: 2, reach: "first" });
    const at = await story.instantIn(1500);
    const kinds = ["plain", "gone", "dead", "busy", "doubt", "slow", "late"];
    const users = kinds.flatMap((kind) => userIds(6, kind));
    const [saved] = await story.subscribe("live", at, users);
    await addEndpoints(story);
    const pace = { sendTimeoutMs: 10_000, leaseMs: 12_000, chunk: 200, window: 500 };
    for (const name of ["one", "two"]) await story.startNode({ name, receiver, pace });
    const bucketId = await story.bucketOf(saved?.scheduleId ?? "");
    await onlyUnderWay(story, bucketId, users.length, ["slow", "late"]);
    let kills = await loseOwners(story.db, bucketId);
    slow.open();
    await onlyUnderWay(story, bucketId, users.length, ["late"]);
    kills += await loseOwners(story.db, bucketId);
    late.open();
    await story.whenClosed(bucketId);

    expect(kills).toBeGreaterThan(1);
    const said = await story.rows<{ kind: string; reasons: string[] }>(
      `select distinct split_part(user_id, '-', 1) as kind, reasons
       from (
         select user_id, array_agg(state || ': ' || reason order by ordinal) as reasons
         from carillon.deliveries where bucket_id = $1 group by user_id
       ) u order by kind`,
      [bucketId],
    );
    const spared = "suppressed: not needed";
    const first = ["delivered: accepted", spared, spared];
    expect(said).toEqual([
      { kind: "busy", reasons: first },
      { kind: "dead", reasons: ["failed: rejected", "failed: rejected", "failed: rejected"] },
      { kind: "doubt", reasons: ["failed: gone", spared, spared] },
      { kind: "gone", reasons: ["failed: gone", "delivered: accepted", spared] },
      { kind: "late", reasons: ["failed: gone", "delivered: accepted", spared] },
      { kind: "plain", reasons: first },
      { kind: "slow", reasons: first },
    ]);
    await expectOneEndpointEach(story, receiver);
    await story.check({ receiverLog: receiver.log, window: 500, kills, otherFaults: true });
  });

  it("sent at most once, tries no other after an in-doubt, lost owners included", async () => {
    await using story = await beginStory();
    const slow = createGate();
    const receiver = new StoryReceiver(async (delivery) => {
      const kind = delivery.address.split("-", 1)[0] ?? "";
      if (kind === "doubt") return { kind: "in_doubt", reason: "no reply" };
      if (kind === "slow") await slow.pass();
      if (kind === "gone" && ordinalOf(delivery) < 3) return { kind: "gone", reason: "no more" };
      return accepted;
    });
    await story.topic("once", { groupCount: 2, deliveryMode: "at_most_once", reach: "first" });
    const at = await story.instantIn(1500);
    const users = ["doubt", "slow", "gone"].flatMap((kind) => userIds(4, kind));
    const [saved] = await story.subscribe("once", at, users);
    await addEndpoints(story);
    const pace = { sendTimeoutMs: 10_000, leaseMs: 12_000, chunk: 200, window: 500, windowAtMostOnce: 500 };
    for (const name of ["one", "two"]) await story.startNode({ name, receiver, pace });
    const bucketId = await story.bucketOf(saved?.scheduleId ?? "");
    await onlyUnderWay(story, bucketId, users.length, ["slow"]);
    const kills = await loseOwners(story.db, bucketId);
    slow.open();
    await story.whenClosed(bucketId);

    expect(kills).toBeGreaterThan(0);
    expect(await story.states(bucketId)).toEqual({
      "delivered: accepted": 4,
      "failed: gone": 8,
      "failed: in doubt": 8,
      "suppressed: not needed": 16,
    });
    for (const user of users.filter((each) => each.startsWith("doubt"))) {
      expect(receiver.log.filter((receipt) => receipt.user === user)).toHaveLength(1);
    }
    await expectOneEndpointEach(story, receiver);
    await story.check({ receiverLog: receiver.log, mode: "at_most_once", window: 500, kills, otherFaults: true });
  });
});

/** By the receiving side's own log: nobody was given a reminder at two endpoints, or perhaps. */
async function expectOneEndpointEach(story: Story, receiver: StoryReceiver): Promise<void> {
  const given = receiver.log.filter(({ refused }) => refused !== true);
  const ids = Map.groupBy(given, ({ user }) => user);
  expect([...ids].filter(([, receipts]) => new Set(receipts.map(({ id }) => id)).size > 1)).toEqual([]);
  expect(await story.rows("select from carillon.deferred")).toEqual([]);
}
