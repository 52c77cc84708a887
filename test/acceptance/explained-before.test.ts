import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type ExplainedMoment, explainUser, type UserExplanation } from "../../src/planner/explain.ts";
import { createDestination, patchDestination } from "../../src/store/destinations.ts";
import { cancelBucket, pauseSchedule, pauseTopic } from "../../src/store/halt.ts";
import { changeUser } from "../../src/store/moving.ts";
import { saveMute } from "../../src/store/mutes.ts";
import { savePreferences } from "../../src/store/preferences.ts";
import { subscribe } from "../../src/store/subscribe.ts";
import type { When } from "../../src/store/subscription-request.ts";
import { endSubscription } from "../../src/store/subscriptions.ts";
import { addSuppressions } from "../../src/store/suppressions.ts";
import { formatLocal } from "../../src/timetable/civil-time.ts";
import { storyLimit } from "../support/nodes.ts";
import { beginStory, type Story, StoryReceiver, storyKey, storyPace } from "../support/stories.ts";

const tzdata = process.versions.tz ?? "";
const kathmandu = "Asia/Kathmandu";
/** From subscribing to the moment: room for twenty users to be explained on a busy machine. */
const aheadMs = 6000;

/** What may be so about a user, and all of it at once. */
const state = fc.record({
  topics: fc.uniqueArray(fc.constantFrom("live", "daily", "topic-paused", "schedule-paused", "cancelled"), {
    minLength: 1,
    maxLength: 4,
  }),
  endpoints: fc.constantFrom<readonly ("memory" | "off")[]>(
    ["memory"],
    ["memory", "memory"],
    [],
    ["off"],
    ["off", "memory"],
  ),
  muted: fc.constantFrom("no", "no", "no", "live for long", "all for good", "until before the moment", "no longer"),
  wish: fc.constantFrom("none", "none", "no live", "no memory", "but webhooks", "listed", "held", "asleep for long"),
  left: fc.constantFrom("no", "no", "no", "for good", "and came back"),
  late: fc.constantFrom(false, false, false, true),
});
type State = typeof state extends fc.Arbitrary<infer T> ? T : never;

const endpointsOf = (userId: string, { endpoints }: State) =>
  endpoints.map((channel, index) =>
    channel === "off"
      ? { channel: "webhook", destination: "off", address: `${userId}#${index}` }
      : { channel: "memory", address: `${userId}#${index}` },
  );

async function bring(story: Story, userId: string, of: State, at: string): Promise<void> {
  const daily: When = { daily: { time: formatLocal(Date.parse(at), kathmandu).slice(11, 19), zone: kathmandu } };
  const join = (topics: readonly string[]) =>
    subscribe(
      story.db,
      topics.map((topic) => ({
        userId,
        topic,
        when: topic === "daily" ? daily : { at },
        endpoints: endpointsOf(userId, of),
        pointer: "",
      })),
      { planHorizonMs: storyPace.horizonMs },
    );
  const saved = await join(of.topics);
  const [first] = saved;
  if (first === undefined) throw new Error("not subscribed");
  if (of.left !== "no") await endSubscription(story.db, first.id);
  if (of.left === "and came back") await join(of.topics.slice(0, 1));
  if (of.late) {
    await story.rows(
      `update carillon.subscriptions s set subscribed_at = $2::timestamptz + interval '1 ms'
       where (s.schedule_id || '-' || s.user_number) = $1`,
      [first.id, at],
    );
  }
  const atMs = Date.parse(at);
  const mutes = {
    no: null,
    "live for long": { topic: "live", until: new Date(atMs + 3_600_000) },
    "all for good": { topic: null, until: null },
    "until before the moment": { topic: null, until: new Date(atMs - 1000) },
    "no longer": { topic: null, until: new Date(atMs - 3_600_000) },
  } as const;
  const mute = mutes[of.muted];
  if (mute !== null) await saveMute(story.db, userId, mute);
  await wish(story, userId, of.wish, atMs);
}

async function wish(story: Story, userId: string, what: State["wish"], atMs: number): Promise<void> {
  const clock = (offsetMs: number) => formatLocal(atMs + offsetMs, kathmandu).slice(11, 19);
  const denied = (topic: string | null, channel: string | null) => ({ topic, channel, allowed: false });
  const quiet = (toMs: number) => ({
    preferences: [],
    quietHours: [{ topic: null, from: clock(-60_000), to: clock(toMs) }],
  });
  const wishes = {
    none: null,
    listed: null,
    "no live": { preferences: [denied("live", null)], quietHours: [] },
    "no memory": { preferences: [denied(null, "memory")], quietHours: [] },
    "but webhooks": {
      preferences: [denied(null, null), { ...denied(null, "webhook"), allowed: true }],
      quietHours: [],
    },
    held: quiet(3000),
    "asleep for long": quiet(3_600_000),
  } as const;
  if (what === "listed") await addSuppressions(story.db, [{ userId, reason: "legal", until: null }]);
  const wanted = wishes[what];
  if (wanted === null) return;
  await changeUser(story.db, userId, { create: false, zone: kathmandu }, { planHorizonMs: storyPace.horizonMs });
  await savePreferences(story.db, userId, wanted);
}

/** What the ledger must have of a moment, by what was said of it: "ordinal: state: reason". */
function promised({ verdict, whyNot, deliveries }: ExplainedMoment, endpoints: number): string[] {
  if (whyNot?.code === "topic_paused" || whyNot?.code === "schedule_paused") {
    const ordinals = endpoints === 0 ? [0] : Array.from({ length: endpoints }, (_, index) => index + 1);
    return ordinals.map((ordinal) => `${ordinal}: suppressed: paused`);
  }
  if (verdict === "not sent" && whyNot?.code !== "refused") return [];
  return deliveries.map(({ ordinal, state: said, reason }) =>
    said !== "not sent" ? `${ordinal}: delivered: accepted` : `${ordinal ?? 0}: suppressed: ${reason}`,
  );
}

function recorded({ verdict, deliveries }: ExplainedMoment): string[] {
  if (verdict !== "recorded") return [];
  return deliveries.map(({ ordinal, state: is, reason }) => `${ordinal ?? 0}: ${is}: ${reason}`);
}

describe("what is explained before", storyLimit, () => {
  it("is what then happens, for twenty users in all sorts of states", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(state, { minLength: 20, maxLength: 20 }), async (states) => {
        await using story = await beginStory();
        const receiver = new StoryReceiver();
        await createDestination(story.db, { name: "off", url: "http://192.0.2.1/", batchSize: 1 }, storyKey);
        await patchDestination(story.db, "off", { disabled: true }, storyKey);
        const topics = ["live", "daily", "topic-paused", "schedule-paused", "cancelled"];
        // a paused moment is recorded when it has expired
        const ids = new Map<string, number>();
        for (const topic of topics) {
          ids.set(
            topic,
            await story.topic(topic, { groupCount: 2, expiresAfterMs: topic.endsWith("paused") ? 2000 : 60_000 }),
          );
        }
        const at = await story.instantIn(aheadMs);
        const users = states.map((of, index) => ({ userId: `user-${index}`, of }));
        for (const { userId, of } of users) await bring(story, userId, of, at);

        await story.startNode({ receiver });
        const schedules = await story.rows<{ schedule_id: string; topic: string }>(
          "select schedule_id, name as topic from carillon.schedules join carillon.topics using (topic_id)",
        );
        const buckets = new Map<string, string>();
        for (const { schedule_id: scheduleId, topic } of schedules)
          buckets.set(topic, await story.bucketOf(scheduleId));
        for (const { schedule_id: scheduleId, topic } of schedules) {
          if (topic === "topic-paused") await pauseTopic(story.db, ids.get(topic) ?? 0);
          if (topic === "schedule-paused") await pauseSchedule(story.db, scheduleId);
          if (topic === "cancelled") await cancelBucket(story.db, buckets.get(topic) ?? "");
        }

        const explain = (userId: string, atMs: number | null): Promise<UserExplanation> =>
          explainUser(story.db, userId, { atMs, windowMs: 3_600_000, tzdata });
        const before = await Promise.all(users.map(({ userId }) => explain(userId, null)));
        expect(
          before.every(({ clock }) => clock.getTime() < Date.parse(at)),
          "explained before the moment",
        ).toBe(true);
        for (const bucketId of buckets.values()) await story.whenClosed(bucketId);
        const after = await Promise.all(users.map(({ userId }) => explain(userId, Date.parse(at) - 1000)));

        for (const [index, { userId, of }] of users.entries()) {
          const said = before[index]?.moments ?? [];
          expect(said.map(({ topic }) => topic).sort(), userId).toEqual([...of.topics].sort());
          const told = new Map((after[index]?.moments ?? []).map((moment) => [moment.topic, moment]));
          for (const moment of said) {
            const then = told.get(moment.topic);
            if (then === undefined) throw new Error(`${userId} has lost ${moment.topic}`);
            expect(then.dueAt).toEqual(moment.dueAt);
            expect({ userId, topic: moment.topic, is: recorded(then) }).toEqual({
              userId,
              topic: moment.topic,
              is: promised(moment, of.endpoints.length),
            });
            // what was not to be anybody's is still said to be so, for the same reason
            if (promised(moment, of.endpoints.length).length === 0) expect(then.whyNot).toEqual(moment.whyNot);
          }
        }
        const toBeSent = before.flatMap(({ userId, moments }) =>
          moments.flatMap(({ bucketId, deliveries }) =>
            deliveries.filter(({ state: said }) => said !== "not sent").map(() => `${bucketId}/${userId}`),
          ),
        );
        expect(receiver.log.map(({ bucket, user }) => `${bucket}/${user}`).sort()).toEqual(toBeSent.sort());
        await story.check({ receiverLog: receiver.log });
      }),
      { numRuns: 1, endOnFailure: true },
    );
  });
});
