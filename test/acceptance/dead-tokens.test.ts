import { describe, expect, it } from "vitest";
import type { ProviderMessage } from "../../src/fakes/provider-server.ts";
import { storyLimit } from "../support/nodes.ts";
import { type AnySide, apnsSide, beginPushStory, fcmSide, type PushStory } from "../support/push-story.ts";
import { until } from "../support/world.ts";

/** of each provider; STORY_TOKENS=50000 makes a long run of 100,000 */
const tokens = Number(process.env.STORY_TOKENS ?? 1000);
/** From the subscribing of the first to the moment: on a busy machine too. */
const aheadMs = 3_000 + tokens * 3;
const deadEvery = 20;

const numberOf = (userId: string) => Number(userId.split("-").at(-1));
const isDead = (userId: string) => numberOf(userId) % deadEvery === 0;

interface PrunedEndpoint {
  readonly user_id: string;
  readonly gone_reason: string;
  readonly standing: number;
}

const pruned = (play: PushStory) =>
  play.story.rows<PrunedEndpoint>(
    `select u.user_id, e.gone_reason, count(*) filter (where e.gone_at is null)::int as standing
     from carillon.endpoints e join carillon.users u using (user_number)
     where e.gone_at is not null group by 1, 2 order by 1, 2`,
  );

/** How often each user's token was asked about. */
function asksOf(side: AnySide): ReadonlyMap<string, number> {
  const asks = new Map<string, number>();
  for (const { message } of side.log) {
    const user = side.userOf(message.address);
    asks.set(user, (asks.get(user) ?? 0) + 1);
  }
  return asks;
}

describe.concurrent("tokens that are dead", { timeout: storyLimit.timeout + tokens * 20 }, () => {
  it("are pruned, each once and with its reason, and none of the living", async () => {
    const sidesByName = new Map<string, AnySide>();
    const userOf = ({ channel, address }: ProviderMessage) => sidesByName.get(channel)?.userOf(address) ?? "";
    await using fcm = await fcmSide({
      faults: (message) => (isDead(userOf(message)) ? { answer: "UNREGISTERED" } : "accept"),
    });
    await using apns = await apnsSide({
      faults: (message) => {
        const user = userOf(message);
        if (!isDead(user)) return "accept";
        return { answer: numberOf(user) % (2 * deadEvery) === 0 ? "Unregistered" : "BadDeviceToken" };
      },
    });
    sidesByName.set("fcm", fcm).set("apns", apns);
    await using play = await beginPushStory([fcm, apns], { users: tokens, aheadMs });
    await play.whenClosed();
    const dead = play.users.filter(isDead);
    const reasonOf = (user: string) => {
      if (user.startsWith("fcm")) return "UNREGISTERED";
      return numberOf(user) % (2 * deadEvery) === 0 ? "Unregistered" : "BadDeviceToken";
    };
    expect(await pruned(play)).toEqual(
      dead.toSorted().map((user) => ({ user_id: user, gone_reason: reasonOf(user), standing: 0 })),
    );
    // asked twice is only who was asked before Apple had accepted anything
    const doubted = await play.story.rows<{ user_id: string }>(
      `select u.user_id from carillon.failures f join carillon.users u using (user_number)
       where f.bucket_id = $1 and f.code = 50 and f.http_status = 400`,
      [play.bucketId],
    );
    const twice = new Set(doubted.map(({ user_id }) => user_id));
    for (const side of [fcm, apns]) {
      for (const [user, asks] of asksOf(side)) expect([user, asks]).toEqual([user, twice.has(user) ? 2 : 1]);
    }
    await play.check((user) => (isDead(user) ? "failed" : "delivered"));
  });

  it("are not told from living ones by a destination with the wrong environment, and it prunes nobody", async () => {
    let wrong = true;
    await using apns = await apnsSide({ faults: () => (wrong ? { answer: "BadDeviceToken" } : "accept") });
    await using play = await beginPushStory([apns], { users: 100 });
    const attention = () =>
      play.story.rows<{ subject: string; why: string }>(
        "select subject, why from carillon.attention where kind = 'destination refuses'",
      );
    await until(async () => (await attention()).length > 0, "it is in attention");
    expect(await attention()).toEqual([
      { subject: "apns", why: expect.stringMatching(/^BadDeviceToken.*environment/) },
    ]);
    wrong = false;
    await play.replaceNode();
    await play.whenClosed();
    expect(await pruned(play)).toEqual([]);
    await play.check();
  });
});
