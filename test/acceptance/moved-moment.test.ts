import { describe, expect, it } from "vitest";
import { planDue } from "../../src/planner/plan.ts";
import { claimGroup } from "../../src/store/claim.ts";
import { cutBuckets } from "../../src/store/cut.ts";
import { registerNode } from "../../src/store/nodes.ts";
import { savePlaces } from "../../src/store/places.ts";
import { subscribe } from "../../src/store/subscribe.ts";
import { createTimetable, patchTimetable } from "../../src/store/timetables.ts";
import { parsePrayerTimetable, prayerTimes } from "../../src/timetable/prayer.ts";
import { storyLimit } from "../support/nodes.ts";
import { beginStory, type Story, StoryReceiver, storyPace, userIds } from "../support/stories.ts";
import { until } from "../support/world.ts";

const minuteMs = 60_000;
const istanbul = { latitude: 41.0082, longitude: 28.9784, zone: "Europe/Istanbul" };
const cut = { groupTarget: 5000, groupsPerNode: 4, groupFloor: 500, aliveMs: 2000, batch: 1000 };

describe("a moment that a corrected timetable moves", storyLimit, () => {
  it("is cut anew and rings once, at the corrected instant, though it was planned and cut already", async () => {
    await using story = await beginStory();
    const receiver = new StoryReceiver();
    const { dhuhrMs, scheduleId } = await planDhuhr(story, 20 * minuteMs);
    const bucketId = await story.bucketOf(scheduleId);
    await cutBuckets(story.db, dhuhrMs + 1, cut);
    await story.whenCut(bucketId);

    await patchTimetable(story.db, "of-the-city", parsePrayerTimetable({ adjustments: { dhuhr: 7 } }));
    await planDue(story.db, storyPace, new AbortController().signal);
    const movedMs = dhuhrMs + 7 * minuteMs;
    expect(await bucket(story)).toEqual({ bucket_id: bucketId, due_at_ms: movedMs, cut: false, groups: 0 });

    // the old instant comes and goes
    receiver.clockShiftMs = await story.setClock(new Date(dhuhrMs - 300).toISOString());
    await story.startNode({ receiver });
    await until(async () => (await clockMs(story)) > dhuhrMs + 1000, "the old instant is past");
    expect(receiver.log).toEqual([]);

    receiver.clockShiftMs = await story.setClock(new Date(movedMs - 1500).toISOString());
    await story.whenClosed(bucketId);
    expect(receiver.users.toSorted()).toEqual(userIds(60).toSorted());
    expect(new Set(receiver.log.map(({ dueAtMs }) => dueAtMs))).toEqual(new Set([movedMs]));
    await story.check({
      receiverLog: receiver.log,
      expected: { bucketId, users: userIds(60).map((user) => ({ user, result: "delivered" })) },
    });
  });

  it("moves no more once a group has been claimed", async () => {
    await using story = await beginStory();
    const receiver = new StoryReceiver();
    const { dhuhrMs, scheduleId } = await planDhuhr(story, 20 * minuteMs);
    const bucketId = await story.bucketOf(scheduleId);
    await cutBuckets(story.db, dhuhrMs + 1, cut);
    const node = { name: "gone", role: "worker", pid: 1, version: "story", slots: 1 } as const;
    const claimant = { nodeId: await registerNode(story.db.pool, node), claimToken: crypto.randomUUID(), leaseMs: 100 };
    expect(await claimGroup(story.db.pool, claimant, bucketId, 0)).not.toBeNull();

    await patchTimetable(story.db, "of-the-city", parsePrayerTimetable({ adjustments: { dhuhr: 7 } }));
    await planDue(story.db, storyPace, new AbortController().signal);
    expect(await bucket(story)).toMatchObject({ bucket_id: bucketId, due_at_ms: dhuhrMs, cut: true });

    receiver.clockShiftMs = await story.setClock(new Date(dhuhrMs - 1000).toISOString());
    await story.startNode({ receiver });
    await story.whenClosed(bucketId);
    expect(receiver.users.toSorted()).toEqual(userIds(60).toSorted());
    expect(new Set(receiver.log.map(({ dueAtMs }) => dueAtMs))).toEqual(new Set([dhuhrMs]));
    await story.check({ receiverLog: receiver.log });
  });

  it.each([
    ["farther ahead than moments are planned", 150],
    ["to before now", -90],
  ])("moves %s", async (_, minutes) => {
    await using story = await beginStory();
    const { dhuhrMs, scheduleId } = await planDhuhr(story, 30 * minuteMs);
    const bucketId = await story.bucketOf(scheduleId);
    await patchTimetable(story.db, "of-the-city", parsePrayerTimetable({ adjustments: { dhuhr: minutes } }));
    await planDue(story.db, storyPace, new AbortController().signal);
    expect(await bucket(story)).toMatchObject({ bucket_id: bucketId, due_at_ms: dhuhrMs + minutes * minuteMs });
    // and again, in case that the horizon has come by then
    await story.db.pool.query("update carillon.schedules set next_due_at = carillon.clock()");
    await story.setClock(new Date(dhuhrMs + 100 * minuteMs).toISOString());
    await planDue(story.db, storyPace, new AbortController().signal);
    expect(await bucket(story)).toMatchObject({ bucket_id: bucketId, due_at_ms: dhuhrMs + minutes * minuteMs });
  });
});

/** Sixty users want yesterday's dhuhr of one city, which is planned; the clock stands `aheadMs` before it. */
async function planDhuhr(story: Story, aheadMs: number): Promise<{ dhuhrMs: number; scheduleId: string }> {
  const yesterday = new Date(Date.now() - 86_400_000);
  const date = { year: yesterday.getUTCFullYear(), month: yesterday.getUTCMonth() + 1, day: yesterday.getUTCDate() };
  const timetable = parsePrayerTimetable({});
  const dhuhrMs = prayerTimes({ ...istanbul, timetable }, date).dhuhr ?? Number.NaN;
  await story.setClock(new Date(dhuhrMs - aheadMs).toISOString());
  await createTimetable(story.db, "of-the-city", timetable);
  await savePlaces(story.db, [{ key: "ist", name: "Istanbul", ...istanbul, timetable: "of-the-city" }], String);
  // the groups' leases stay in the present, a day after the moment
  await story.topic("prayer", { groupCount: 2, expiresAfterMs: 604_800_000 });
  const [saved] = await subscribe(
    story.db,
    userIds(60).map((userId) => ({
      userId,
      topic: "prayer",
      when: { timetable: { where: { key: "ist" }, slot: "dhuhr" } },
      endpoints: [{ channel: "memory" }],
      pointer: "",
    })),
    { planHorizonMs: storyPace.horizonMs },
  );
  expect(saved?.nextDueAt?.getTime()).toBe(dhuhrMs);
  await planDue(story.db, storyPace, new AbortController().signal);
  return { dhuhrMs, scheduleId: saved?.scheduleId ?? "" };
}

function bucket(story: Story): Promise<{ bucket_id: string; due_at_ms: number; cut: boolean; groups: number }> {
  return story.one(
    `select b.bucket_id, (extract(epoch from b.due_at) * 1000)::float8 as due_at_ms, b.cut_at is not null as cut,
       (select count(*) from carillon.groups g where g.bucket_id = b.bucket_id)::int as groups
     from carillon.time_buckets b`,
  );
}

async function clockMs(story: Story): Promise<number> {
  const { ms } = await story.one<{ ms: number }>("select (extract(epoch from carillon.clock()) * 1000)::float8 as ms");
  return ms;
}
