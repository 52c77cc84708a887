import { describe, expect, it } from "vitest";
import type { ProviderMessage } from "../../src/fakes/provider-server.ts";
import { inDoubtCount } from "../../src/store/invariants.ts";
import { storyLimit } from "../support/nodes.ts";
import { apnsSide, beginPushStory, fcmSide, webPushSide } from "../support/push-story.ts";

/**
 * What happens to a user's first message, by the user's number: each way not to say what has become of it, so seldom that
 * no circuit takes the provider for silent.
 */
function faultAtFirst<Failure extends object>(failure: Failure) {
  const seen = new Map<string, number>();
  return ({ address }: ProviderMessage) => {
    if (seen.has(address)) return "accept" as const;
    const number = seen.size;
    seen.set(address, number);
    if (number % 12 === 3) return failure;
    if (number % 24 === 7) return "withhold" as const;
    return number % 60 === 20 ? ("reset_after_accept" as const) : ("accept" as const);
  };
}

const users = 120;
const sendTimeoutMs = 600;

const threeSides = () =>
  Promise.all([
    // it has been seen to answer so and to deliver all the same
    fcmSide({ faults: faultAtFirst({ answer: "UNAVAILABLE", accepts: true } as const) }),
    apnsSide({ faults: faultAtFirst({ answer: "InternalServerError", accepts: true } as const) }),
    webPushSide({ faults: faultAtFirst({ status: 502, accepts: true }) }),
  ]);

/** For each provider: how many messages a device got beyond the first, and how many have another id than the first. */
function repeatsOf(side: Awaited<ReturnType<typeof threeSides>>[number]) {
  const taken = side.log.filter(({ accepted }) => accepted).map(({ message }) => message);
  const addresses = new Set(taken.map(({ address }) => address));
  const ids = new Set(taken.map(({ address, id }) => `${address} ${id}`));
  return { repeats: taken.length - addresses.size, otherIds: ids.size - addresses.size };
}

describe.concurrent("a provider that takes messages and does not say so", storyLimit, () => {
  it("gets them again under the same id, at least once: no more often than in doubt, and nobody is left out", async () => {
    const sides = await threeSides();
    await using _stopped = { [Symbol.asyncDispose]: () => stopAll(sides) };
    await using play = await beginPushStory(sides, { users, mode: "at_least_once", pace: { sendTimeoutMs } });
    await play.whenClosed();
    const inDoubts = await inDoubtCount(play.story.db, [play.bucketId]);
    const found = sides.map(repeatsOf);
    expect(found.map(({ otherIds }) => otherIds)).toEqual([0, 0, 0]);
    for (const { repeats } of found) expect(repeats).toBeGreaterThan(10);
    expect(found.reduce((sum, { repeats }) => sum + repeats, 0)).toBeLessThanOrEqual(inDoubts);
    await play.check();
  });

  it("never gets one twice, at most once: what is in doubt has failed", async () => {
    const sides = await threeSides();
    await using _stopped = { [Symbol.asyncDispose]: () => stopAll(sides) };
    await using play = await beginPushStory(sides, {
      users,
      mode: "at_most_once",
      pace: { sendTimeoutMs, windowAtMostOnce: 100 },
    });
    await play.whenClosed();
    const states = await play.story.states(play.bucketId);
    expect(Object.keys(states)).toEqual(["delivered: accepted", "failed: in doubt"]);
    expect(states["failed: in doubt"]).toBeGreaterThan(30);
    expect(sides.map(repeatsOf)).toEqual(sides.map(() => ({ repeats: 0, otherIds: 0 })));
    const failed = await play.story.rows<{ user_id: string }>(
      `select u.user_id from carillon.chunk_members m join carillon.users u using (user_number)
       where m.bucket_id = $1 and m.code = 13`,
      [play.bucketId],
    );
    const inDoubt = new Set(failed.map(({ user_id }) => user_id));
    await play.check((user) => (inDoubt.has(user) ? "failed" : "delivered"));
  });
});

async function stopAll(sides: Awaited<ReturnType<typeof threeSides>>): Promise<void> {
  await Promise.all(sides.map((side) => side[Symbol.asyncDispose]()));
}
