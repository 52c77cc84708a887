import { describe, expect, it } from "vitest";
import { inDoubtCount } from "../../src/store/invariants.ts";
import { storyLimit } from "../support/nodes.ts";
import { type AnySide, apnsSide, beginPushStory, fcmSide, type PushStory } from "../support/push-story.ts";
import { until } from "../support/world.ts";

const people = 200;

/** Each got it once, and nothing was ever in doubt. */
async function expectOnceEach(play: PushStory, sides: readonly AnySide[]): Promise<void> {
  const taken = sides.flatMap(({ log, userOf }) =>
    log.filter(({ accepted }) => accepted).map(({ message }) => userOf(message.address)),
  );
  expect(await inDoubtCount(play.story.db, [play.bucketId])).toBe(0);
  expect(taken.toSorted()).toEqual(play.users.toSorted());
  await play.check();
}

/** of what was refused with 429 */
const refusalsOf = ({ log }: AnySide) => log.filter(({ accepted }) => !accepted).map(({ message }) => message);

describe.concurrent("a provider that answers 429 to all", storyLimit, () => {
  it("for so long, is asked by nobody sooner, and then everybody is served", async () => {
    const waitSeconds = 3;
    let stormy = true;
    await using fcm = await fcmSide({
      faults: () => (stormy ? { answer: "QUOTA_EXCEEDED", retryAfter: String(waitSeconds) } : "accept"),
    });
    await using play = await beginPushStory([fcm], { users: people });
    const deferred = () => play.story.one<{ count: number }>("select count(*)::int as count from carillon.deferred");
    await until(async () => (await deferred()).count === people, "all were put off");
    stormy = false;
    await play.whenClosed(true);
    const refused = refusalsOf(fcm);
    // what was under way when the first answers came, and not everybody
    expect(refused.length).toBeGreaterThanOrEqual(5);
    expect(refused.length).toBeLessThan(people);
    const refusedAtMs = new Map(refused.map(({ address, receivedAtMs }) => [address, receivedAtMs]));
    const lastAtMs = Math.max(...refusedAtMs.values());
    const later = fcm.log.map(({ message }) => message).filter(({ receivedAtMs }) => receivedAtMs > lastAtMs);
    const soonestAfterMs = Math.min(...later.map(({ receivedAtMs }) => receivedAtMs - lastAtMs));
    for (const { address, receivedAtMs } of later) {
      expect(receivedAtMs - (refusedAtMs.get(address) ?? 0)).toBeGreaterThanOrEqual(waitSeconds * 1000);
    }
    // of all to this project, and not of those alone that were refused
    expect(soonestAfterMs).toBeGreaterThan(waitSeconds * 1000 - 500);
    await expectOnceEach(play, [fcm]);
  });

  it("and does not say how long, is left alone for a minute, as FCM documents, and then everybody is served", async () => {
    let stormy = true;
    await using fcm = await fcmSide({ faults: () => (stormy ? { answer: "QUOTA_EXCEEDED" } : "accept") });
    await using play = await beginPushStory([fcm], { users: people });
    const putOff = () =>
      play.story.one<{ count: number; next_ms: number }>(
        `select count(*)::int as count, (extract(epoch from min(next_try_at)) * 1000)::float8 as next_ms
         from carillon.deferred where reason in ('QUOTA_EXCEEDED', 'not sent: the destination is asking to wait')`,
      );
    await until(async () => (await putOff()).count === people, "all were put off");
    const refused = refusalsOf(fcm);
    expect(refused.length).toBeLessThan(people);
    const firstAtMs = Math.min(...refused.map(({ receivedAtMs }) => receivedAtMs));
    // what was held because the others were refused is put off for what is left of the minute
    expect((await putOff()).next_ms).toBeGreaterThanOrEqual(firstAtMs + 60_000);
    stormy = false;
    await play.replaceNode();
    await play.whenClosed();
    await expectOnceEach(play, [fcm]);
  });
});

describe.concurrent("a provider whose connections come and go", storyLimit, () => {
  it("with GOAWAY while requests are under way, serves everybody once", async () => {
    let asked = 0;
    await using fcm = await fcmSide(
      {
        faults: () => {
          asked += 1;
          return asked % 40 === 0 ? { goaway: { debugData: "session_timed_out" } } : "accept";
        },
      },
      { sessionsMax: 2 },
    );
    await using play = await beginPushStory([fcm], { users: people });
    await play.whenClosed();
    expect(fcm.server.connections).toBeGreaterThan(3);
    const reasons = await play.story.rows<{ reason: string }>("select distinct reason from carillon.failures");
    expect(reasons).toContainEqual({ reason: "not sent: far side is going away: NO_ERROR" });
    // who says goodbye is there
    expect(reasons).not.toContainEqual({ reason: "not sent: the destination is silent" });
    await expectOnceEach(play, [fcm]);
  });

  it("and that has room for one request, and later for a hundred, is never given more", async () => {
    await using fcm = await fcmSide({ maxConcurrentStreams: 1, delayMs: 4 }, { sessionsMax: 2 });
    await using play = await beginPushStory([fcm], { users: people });
    await fcm.server.whenReceived(40);
    expect(fcm.server.underWayMost).toBeLessThanOrEqual(2);
    fcm.server.setMaxConcurrentStreams(100);
    await play.whenClosed();
    expect(fcm.server.underWayMost).toBeGreaterThan(8);
    expect([...fcm.server.answers.keys()].toSorted()).toEqual(["200", "200 token"]);
    await expectOnceEach(play, [fcm]);
  });
});

describe.concurrent("a credential that runs out while reminders go out", storyLimit, () => {
  const refusedTries = (play: PushStory) =>
    play.story.rows("select reason from carillon.failures where bucket_id = $1 and http_status is not null", [
      play.bucketId,
    ]);

  it("at FCM, is renewed, and what was refused is sent under the new one without a try being lost", async () => {
    await using fcm = await fcmSide();
    await using play = await beginPushStory([fcm], { users: people });
    await fcm.server.whenReceived(people / 4);
    fcm.server.revokeTokens();
    await play.whenClosed();
    expect(fcm.server.answers.get("401 UNAUTHENTICATED")).toBeGreaterThan(0);
    expect(fcm.server.tokensGiven).toBe(2);
    expect(await refusedTries(play)).toEqual([]);
    await expectOnceEach(play, [fcm]);
  });

  it("at Apple's, is signed anew, and what was refused is sent under the new one without a try being lost", async () => {
    // Apple takes a token for an hour, and a new one every 20 minutes: the first one here is half an hour old
    let aheadMs = -30 * 60_000;
    await using apns = await apnsSide({ tokenUpdateMinMs: 0 }, { nowMs: () => Date.now() + aheadMs });
    await using play = await beginPushStory([apns], { users: people });
    await apns.server.whenReceived(people / 4);
    aheadMs = 0;
    apns.server.expireTokens();
    await play.whenClosed();
    expect(apns.server.answers.get("403 ExpiredProviderToken")).toBeGreaterThan(0);
    expect(apns.server.providerTokens).toBe(2);
    expect(await refusedTries(play)).toEqual([]);
    await expectOnceEach(play, [apns]);
  });
});

describe.concurrent("a provider that has become a black hole", storyLimit, () => {
  it("holds up nobody at another one, and serves its own once it is back", async () => {
    await using fcm = await fcmSide();
    await using apns = await apnsSide({}, { connectTimeoutMs: 400 });
    await apns.server.setDoor("silent");
    await using play = await beginPushStory([fcm, apns], { users: people });
    await fcm.server.whenReceived(people);
    const why = "not sent: the destination is silent";
    await until(
      async () => (await play.story.rows("select from carillon.deferred where reason = $1", [why])).length > 0,
      "its circuit is open",
    );
    const recorded = () =>
      play.story.one<{ count: number }>(
        "select count(*)::int as count from carillon.chunk_members where bucket_id = $1 and code = 1",
        [play.bucketId],
      );
    await until(async () => (await recorded()).count === people, "all at the other one are recorded");
    expect(apns.log).toEqual([]);
    await apns.server.setDoor("open");
    await play.whenClosed();
    await expectOnceEach(play, [fcm, apns]);
  });
});
