import { describe, expect, it } from "vitest";
import { planDue } from "../../src/planner/plan.ts";
import { openDatabase } from "../../src/store/database.ts";
import { subscribe } from "../../src/store/subscribe.ts";
import { storyLimit } from "../support/nodes.ts";
import { beginStory, StoryReceiver, storyPace } from "../support/stories.ts";
import { until } from "../support/world.ts";

describe("five planners at once", storyLimit, () => {
  it("plan every moment once, those committed meanwhile too, and everybody is reached once", async () => {
    await using story = await beginStory();
    const receiver = new StoryReceiver();
    await story.topic("livestream");
    const firstAtMs = Date.parse(await story.instantIn(5000));
    const weekday = new Date(firstAtMs).getUTCDay() || 7;
    // many of them due at the same second
    const requestOf = (index: number) => ({
      userId: `user-${index}`,
      topic: "livestream",
      when:
        index % 3 === 0
          ? { at: new Date(firstAtMs + index * 3_600_000).toISOString() }
          : {
              daily: {
                time: clockTime(firstAtMs + (index % 3) * 1000),
                zone: zones[index % zones.length],
                days: daysWith(weekday, index),
              },
            },
      endpoints: [{ channel: "memory" }],
      pointer: "",
    });
    const early = Array.from({ length: 600 }, (_, index) => requestOf(index));
    const late = Array.from({ length: 100 }, (_, index) => requestOf(600 + index));
    const store = (requests: typeof early) => subscribe(story.db, requests, { planHorizonMs: storyPace.horizonMs });
    await store(early);
    // equal rules share a schedule
    const { stored } = await story.one<{ stored: number }>("select count(*)::int as stored from carillon.schedules");

    await using stack = new AsyncDisposableStack();
    const planners = Array.from({ length: 5 }, (_, index) =>
      stack.use(openDatabase({ url: story.url, applicationName: `planner ${index}`, max: 2 })),
    );
    const planEach = () => Promise.all(planners.map((db) => planDue(db, storyPace, new AbortController().signal)));
    const [first] = await Promise.all([planEach(), store(late)]);
    // handed out among them, none twice
    expect(first.reduce((sum, { schedules }) => sum + schedules, 0)).toBeGreaterThanOrEqual(stored);
    await planEach();

    const { schedules, planned, buckets, waiting } = await story.one<Record<string, number>>(
      `select (select count(*) from carillon.schedules)::int as schedules,
         (select count(distinct schedule_id) from carillon.time_buckets)::int as planned,
         (select count(*) from carillon.time_buckets)::int as buckets,
         (select count(*) from carillon.schedules where next_due_at <= carillon.clock())::int as waiting`,
    );
    expect(waiting).toBe(0);
    expect(buckets).toBe(planned);
    const near = await story.rows<{ user_id: string; due: boolean }>(
      `select u.user_id, b.bucket_id is not null as due
       from carillon.subscriptions s
       join carillon.users u using (user_number)
       left join carillon.time_buckets b using (schedule_id)`,
    );
    expect(near.length).toBe(700);
    expect(schedules).toBeGreaterThan(200);

    // planned again from the start: the same moments, so nothing is added
    await story.db.pool.query("update carillon.schedules set next_due_at = carillon.clock()");
    await planEach();
    expect((await story.one<{ count: number }>("select count(*)::int from carillon.time_buckets")).count).toBe(buckets);

    await Promise.all([story.startNode({ receiver }), story.startNode({ receiver })]);
    await until(
      async () => (await story.rows("select from carillon.time_buckets where closed_at is null limit 1")).length === 0,
      "every moment is over",
    );
    const due = near.filter((user) => user.due).map((user) => user.user_id);
    expect(receiver.users.toSorted()).toEqual(due.toSorted());
    await story.check({
      receiverLog: receiver.log,
      expected: { users: near.map(({ user_id, due }) => ({ user: user_id, result: due ? "delivered" : "nothing" })) },
    });
  });
});

const zones = ["UTC", "Africa/Abidjan", "Atlantic/Reykjavik", "Africa/Monrovia"];

function clockTime(ms: number): string {
  return new Date(ms).toISOString().slice(11, 19);
}

/** Different sets of weekdays that all have this one. */
function daysWith(weekday: number, index: number): number[] {
  return [...new Set([weekday, ...[1, 2, 3, 4, 5, 6, 7].filter((day) => (index >> (day - 1)) & 1)])];
}
