import { describe, expect, it } from "vitest";
import { readClocks } from "../../src/store/clock.ts";
import { cancelBucket, pauseSchedule, resumeSchedule } from "../../src/store/halt.ts";
import { changeUser } from "../../src/store/moving.ts";
import { savePreferences } from "../../src/store/preferences.ts";
import { addSuppressions } from "../../src/store/suppressions.ts";
import { formatLocal } from "../../src/timetable/civil-time.ts";
import { storyLimit } from "../support/nodes.ts";
import { beginStory, type Story, StoryReceiver, storyPace, userIds } from "../support/stories.ts";
import { until } from "../support/world.ts";

const minuteMs = 60_000;
/** Ten to eleven in Berlin, whose clocks go forward in that night, and morning in Tokyo. */
const evening = "2027-03-27T21:50:00Z";
const night = [{ topic: null, from: "22:00", to: "07:00" }];

describe.concurrent("quiet hours", storyLimit, () => {
  it("hold what is due in them until their end, through the night in which clocks go forward", async () => {
    await using story = await beginStory();
    const receiver = new StoryReceiver();
    const speed = 3600;
    const pace = { slots: 2, chunk: 25 };
    await story.topic("news", { expiresAfterMs: 12 * 60 * minuteMs, groupCount: 3 });
    await story.topic("flash", { expiresAfterMs: 60 * minuteMs });
    await story.topic("alarm", { expiresAfterMs: 60 * minuteMs, ignoresQuietHours: true });
    receiver.clock = await story.setPace(evening, 1);
    const at = await story.instantIn(20 * minuteMs);
    const users = userIds(60);
    const [asleep, elsewhere] = [
      users.filter((_, index) => index % 3 === 0),
      users.filter((_, index) => index % 12 === 1),
    ];
    const topics = ["news", "flash", "alarm"];
    const schedules = new Map<string, string>();
    for (const topic of topics) schedules.set(topic, (await story.subscribe(topic, at, users))[0]?.scheduleId ?? "");
    const settle = async (userId: string, zone: string) => {
      await changeUser(story.db, userId, { create: false, zone }, { planHorizonMs: storyPace.horizonMs });
      await savePreferences(story.db, userId, { preferences: [], quietHours: night });
    };
    for (const userId of asleep) await settle(userId, "Europe/Berlin");
    // there the hours of silence are over
    for (const userId of elsewhere) await settle(userId, "Asia/Tokyo");
    await addSuppressions(story.db, [{ userId: users[2] ?? "", reason: "legal", until: null }]);
    await savePreferences(story.db, users[5] ?? "", {
      preferences: [{ topic: "news", channel: null, allowed: false }],
      quietHours: [],
    });

    await Promise.all([story.startNode({ receiver, pace }), story.startNode({ receiver, pace })]);
    const buckets = new Map<string, string>();
    for (const topic of topics) buckets.set(topic, await story.bucketOf(schedules.get(topic) ?? ""));
    const news = buckets.get("news") ?? "";
    // ten minutes a second, and then an hour a second
    receiver.clock = await story.setPace(new Date((await readClocks(story.db.pool)).clockMs).toISOString(), 600);
    const ofNews = () => receiver.log.filter(({ bucket }) => bucket === news);
    await until(() => ofNews().length === 38, "everybody who is awake was sent to");
    await until(async () => {
      // and nobody is just giving their group back: what it reckons with then is the old clock
      const { held, claimed } = await story.one<{ held: number; claimed: number }>(
        `select (select count(*)::int from carillon.deferred where bucket_id = $1 and reason = 'quiet hours') as held,
           (select count(*)::int from carillon.groups where bucket_id = $1 and claim_token is not null) as claimed`,
        [news],
      );
      return held === asleep.length && claimed === 0;
    }, "the others are held");
    // a clock that is set anew does not leave them waiting for a time that has lost its meaning
    receiver.clock = await story.setPace(new Date((await readClocks(story.db.pool)).clockMs).toISOString(), speed);
    for (const bucketId of buckets.values()) await story.whenClosed(bucketId);

    expect(await story.states(news)).toEqual({
      "delivered: accepted": 58,
      "suppressed: opted out": 1,
      "suppressed: suppression list": 1,
    });
    expect(await story.states(buckets.get("flash") ?? "")).toEqual({
      "delivered: accepted": 39,
      "suppressed: quiet hours": asleep.length,
      "suppressed: suppression list": 1,
    });
    expect(await story.states(buckets.get("alarm") ?? "")).toEqual({
      "delivered: accepted": 59,
      "suppressed: suppression list": 1,
    });
    // seven in the morning of the day that has lost an hour
    const morningMs = Date.parse("2027-03-28T05:00:00Z");
    for (const { user, receivedAtMs } of ofNews()) {
      if (asleep.includes(user)) expect(receivedAtMs, user).toBeGreaterThanOrEqual(morningMs);
      else expect(receivedAtMs, user).toBeLessThan(morningMs);
    }
    expect(
      ofNews()
        .map(({ user }) => user)
        .toSorted(),
    ).toEqual(users.filter((user) => user !== users[2] && user !== users[5]).toSorted());
    await story.check({ receiverLog: receiver.log, travelMs: 500 * speed });
  });

  /** Users who are silent for some more seconds, held by a node; and one who is awake. */
  async function held(story: Story, receiver: StoryReceiver, seconds: number) {
    const zone = "Asia/Kathmandu";
    await story.topic("news");
    const at = await story.instantIn(1500);
    const asleep = userIds(5);
    const [saved] = await story.subscribe("news", at, [...asleep, "awake"]);
    const clock = (ms: number) => formatLocal(Date.parse(at) + ms, zone).slice(11, 19);
    for (const userId of asleep) {
      await changeUser(story.db, userId, { create: false, zone }, { planHorizonMs: storyPace.horizonMs });
      const quietHours = [{ topic: null, from: clock(-60_000), to: clock(seconds * 1000) }];
      await savePreferences(story.db, userId, { preferences: [], quietHours });
    }
    const node = await story.startNode({ receiver });
    const bucketId = await story.bucketOf(saved?.scheduleId ?? "");
    await until(async () => {
      const group = await story.rows(
        `select from carillon.groups g where g.bucket_id = $1 and g.claim_token is null and g.paged_at is not null
           and (select count(*) from carillon.deferred d where d.bucket_id = g.bucket_id) = $2`,
        [bucketId, asleep.length],
      );
      return group.length === 1;
    }, "they are held, and the group is given back");
    expect(receiver.users).toEqual(["awake"]);
    return { node, bucketId, asleep, scheduleId: saved?.scheduleId ?? "", endMs: Date.parse(at) + seconds * 1000 };
  }

  it("are outlasted by a pause, and by the node that held", async () => {
    await using story = await beginStory();
    const receiver = new StoryReceiver();
    const { node, bucketId, asleep, scheduleId, endMs } = await held(story, receiver, 6);
    await pauseSchedule(story.db, scheduleId);
    await node.stop();
    await story.startNode({ receiver });
    await resumeSchedule(story.db, scheduleId);
    await story.whenClosed(bucketId);
    expect(receiver.users.toSorted()).toEqual([...asleep, "awake"].toSorted());
    for (const { user, receivedAtMs } of receiver.log) {
      if (user !== "awake") expect(receivedAtMs).toBeGreaterThanOrEqual(endMs);
    }
    await story.check({ receiverLog: receiver.log });
  });

  it("do not keep a cancelled moment open", async () => {
    await using story = await beginStory();
    const receiver = new StoryReceiver();
    const { bucketId } = await held(story, receiver, 50);
    await cancelBucket(story.db, bucketId);
    await story.whenClosed(bucketId);
    expect(await story.states(bucketId)).toEqual({ "cancelled: cancelled": 5, "delivered: accepted": 1 });
    await story.check({ receiverLog: receiver.log });
  });
});
