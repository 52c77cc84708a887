import { pino } from "pino";
import supertest from "supertest";
import { describe, expect, it } from "vitest";
import { createApp } from "../../src/api/app.ts";
import { planDue } from "../../src/planner/plan.ts";
import { createKey } from "../../src/store/api-keys.ts";
import { claimGroup } from "../../src/store/claim.ts";
import { cutBuckets } from "../../src/store/cut.ts";
import { registerNode } from "../../src/store/nodes.ts";
import { addDays, formatDate, localDate } from "../../src/timetable/civil-time.ts";
import { storyLimit } from "../support/nodes.ts";
import { beginStory, type Story, StoryReceiver, storyPace, userIds } from "../support/stories.ts";
import { minuteIn, seedTable, tableWith } from "../support/tables.ts";
import { until } from "../support/world.ts";

const minuteMs = 60_000;
const users = 40;
const cut = { groupTarget: 5000, groupsPerNode: 4, groupFloor: 500, aliveMs: 2000, batch: 1000 };
const opens = (dueAtMs: number) => tableWith({ opens: dueAtMs });

type Correct = (story: Story, parameters: object, from?: string) => Promise<void>;

async function overHttp(story: Story, parameters: object, from?: string): Promise<void> {
  const { token } = await createKey(story.db, { name: "admin", scopes: ["admin"] });
  const app = createApp({
    db: story.db,
    logger: pino({ level: "silent" }),
    secretKey: null,
    egressPolicy: { allowLoopback: true },
    planHorizonMs: storyPace.horizonMs,
    openOnLoopback: false,
  });
  const request =
    from === undefined
      ? supertest(app).patch("/v1/timetables/shop").send({ parameters })
      : supertest(app).post("/v1/timetables/shop/versions").send({ effectiveFrom: from, parameters });
  await request.set("authorization", `Bearer ${token}`).expect(from === undefined ? 200 : 201);
}

async function bySql(story: Story, parameters: object, from?: string): Promise<void> {
  const id = "(select timetable_id from carillon.timetables where name = 'shop')";
  await (from === undefined
    ? story.rows(`update carillon.timetable_versions set parameters = $1 where timetable_id = ${id}`, [
        JSON.stringify(parameters),
      ])
    : story.rows(
        `insert into carillon.timetable_versions (timetable_id, effective_from, parameters) values (${id}, $2, $1)`,
        [JSON.stringify(parameters), from],
      ));
}

const ways: readonly (readonly [string, Correct])[] = [
  ["HTTP", overHttp],
  ["plain SQL", bySql],
];

describe("a correction", storyLimit, () => {
  it.each(ways)(
    "by %s moves a moment that is planned and cut, and it rings once, at the new time",
    async (_, correct) => {
      await using story = await beginStory();
      const receiver = new StoryReceiver();
      const { dueAtMs, bucketId } = await planShop(story);
      await cutBuckets(story.db, dueAtMs + 1, cut);
      await story.whenCut(bucketId);
      await story.rows("delete from graphile_worker._private_jobs");
      await correct(story, opens(dueAtMs + 7 * minuteMs));
      const woken = await story.rows("select from graphile_worker.jobs where task_identifier = 'carillon.plan'");
      expect(woken).toHaveLength(1);
      await planDue(story.db, storyPace, new AbortController().signal);
      expect(await dueOf(story)).toBe(dueAtMs + 7 * minuteMs);

      // the old instant comes and goes
      receiver.clockShiftMs = await story.setClock(new Date(dueAtMs - 300).toISOString());
      await story.startNode({ receiver });
      await until(async () => (await clockMs(story)) > dueAtMs + 1000, "the old instant is past");
      expect(receiver.log).toEqual([]);

      receiver.clockShiftMs = await story.setClock(new Date(dueAtMs + 7 * minuteMs - 1500).toISOString());
      await story.whenClosed(bucketId);
      expect(receiver.users.toSorted()).toEqual(shopUsers().toSorted());
      expect(new Set(receiver.log.map((each) => each.dueAtMs))).toEqual(new Set([dueAtMs + 7 * minuteMs]));
      await story.check({ receiverLog: receiver.log });
    },
  );

  it.each(ways)("by %s of a version that begins tomorrow leaves today alone", async (_, correct) => {
    await using story = await beginStory();
    const { dueAtMs, bucketId, scheduleId } = await planShop(story);
    const tomorrow = formatDate(addDays(localDate(dueAtMs, "UTC"), 1));
    await correct(story, opens(dueAtMs + 24 * 60 * minuteMs + 3 * minuteMs), tomorrow);
    const waits = "select from carillon.schedules where schedule_id = $1 and next_due_at <= carillon.clock()";
    expect(await story.rows(waits, [scheduleId])).toHaveLength(1);
    await planDue(story.db, storyPace, new AbortController().signal);
    expect(await dueOf(story)).toBe(dueAtMs);
    expect(await story.bucketOf(scheduleId)).toBe(bucketId);
    // the next one is tomorrow's, by tomorrow's version
    const { next } = await story.one<{ next: Date }>("select next_due_at as next from carillon.schedules");
    expect(next.getTime()).toBe(dueAtMs + 24 * 60 * minuteMs + 3 * minuteMs);
  });

  it.each(ways)("by %s leaves a claimed group where it is", async (_, correct) => {
    await using story = await beginStory();
    const receiver = new StoryReceiver();
    const { dueAtMs, bucketId } = await planShop(story);
    await cutBuckets(story.db, dueAtMs + 1, cut);
    const node = { name: "gone", role: "worker", pid: 1, version: "story", slots: 1 } as const;
    const claimant = { nodeId: await registerNode(story.db.pool, node), claimToken: crypto.randomUUID(), leaseMs: 100 };
    expect(await claimGroup(story.db.pool, claimant, bucketId, 0)).not.toBeNull();
    await correct(story, opens(dueAtMs + 7 * minuteMs));
    await planDue(story.db, storyPace, new AbortController().signal);
    expect(await dueOf(story)).toBe(dueAtMs);

    receiver.clockShiftMs = await story.setClock(new Date(dueAtMs - 1000).toISOString());
    await story.startNode({ receiver });
    await story.whenClosed(bucketId);
    expect(receiver.users.toSorted()).toEqual(shopUsers().toSorted());
    expect(new Set(receiver.log.map((each) => each.dueAtMs))).toEqual(new Set([dueAtMs]));
    await story.check({ receiverLog: receiver.log });
  });
});

/** Forty users want to hear when a shop opened yesterday; the clock stands twenty minutes before it. */
async function planShop(story: Story): Promise<{ dueAtMs: number; bucketId: string; scheduleId: string }> {
  const dueAtMs = minuteIn(0) - 24 * 60 * minuteMs;
  await story.setClock(new Date(dueAtMs - 20 * minuteMs).toISOString());
  // the groups' leases stay in the present, a day after the moment
  await story.topic("shop", { groupCount: 2, expiresAfterMs: 604_800_000 });
  const { scheduleIds } = await seedTable(story.db, {
    name: "shop",
    topic: "shop",
    dueAtMs: { opens: dueAtMs },
    users,
  });
  await planDue(story.db, storyPace, new AbortController().signal);
  const [scheduleId = ""] = scheduleIds;
  return { dueAtMs, bucketId: await story.bucketOf(scheduleId), scheduleId };
}

function shopUsers(): string[] {
  return userIds(users).map((_, index) => `shop-0-${index}`);
}

async function dueOf(story: Story): Promise<number> {
  const { ms } = await story.one<{ ms: number }>(
    "select (extract(epoch from due_at) * 1000)::float8 as ms from carillon.time_buckets",
  );
  return ms;
}

async function clockMs(story: Story): Promise<number> {
  const { ms } = await story.one<{ ms: number }>("select (extract(epoch from carillon.clock()) * 1000)::float8 as ms");
  return ms;
}
