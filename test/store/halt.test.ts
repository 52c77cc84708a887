import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { cutBuckets } from "../../src/store/cut.ts";
import { cancelBucket, pauseSchedule, pauseTopic, resumeSchedule, resumeTopic } from "../../src/store/halt.ts";
import { intend } from "../../src/store/intent.ts";
import { releaseGroup } from "../../src/store/lease.ts";
import { recordOutcomes } from "../../src/store/outcome.ts";
import { whyRefused } from "../../src/store/refusal.ts";
import { closeBucket, settleGroup } from "../../src/store/settle.ts";
import {
  createEngine,
  deferAll,
  type Engine,
  intendDeferredSurely,
  intendSurely,
  intentOf,
  recordOf,
  type SeededMoment,
} from "../support/engine.ts";

let engine: Engine;
beforeAll(async () => {
  engine = await createEngine();
});
afterAll(() => engine[Symbol.asyncDispose]());

const cutOptions = { groupTarget: 5000, groupsPerNode: 4, groupFloor: 500, aliveMs: 10_000, batch: 100 };
const cut = () => cutBuckets(engine.db, Date.now() + 3_600_000, cutOptions);
const halted = async (moment: SeededMoment) =>
  (
    await engine.rows<{ halted: boolean }>(
      "select halted_at is not null as halted from carillon.groups where bucket_id = $1 order by group_number",
      [moment.bucketId],
    )
  ).map((group) => group.halted);
const jobsOf = ({ bucketId }: SeededMoment) =>
  engine.rows("select from graphile_worker.jobs where key like 'carillon.group:' || $1 || ':%'", [bucketId]);
const bucketOf = ({ bucketId }: SeededMoment) =>
  engine.one<{ closed_as: string | null; cut: boolean }>(
    "select closed_as, cut_at is not null as cut from carillon.time_buckets where bucket_id = $1",
    [bucketId],
  );
const states = async ({ bucketId }: SeededMoment) =>
  Object.fromEntries(
    (
      await engine.rows<{ code: number; members: number }>(
        "select code, count(*)::int as members from carillon.chunk_members where bucket_id = $1 group by code",
        [bucketId],
      )
    ).map(({ code, members }) => [code, members]),
  );

describe("pause and resume", () => {
  const ways = [
    ["a schedule", (m: SeededMoment) => pauseSchedule(engine.db, m.scheduleId), resumeScheduleOf],
    ["a topic", (m: SeededMoment) => pauseTopic(engine.db, m.topicId), resumeTopicOf],
  ] as const;
  function resumeScheduleOf({ scheduleId }: SeededMoment) {
    return resumeSchedule(engine.db, scheduleId);
  }
  function resumeTopicOf({ topicId }: SeededMoment) {
    return resumeTopic(engine.db, topicId);
  }

  it.each(ways)(
    "%s, after the cut: groups are halted, their intents refused, and woken when resumed",
    async (_, pause, resume) => {
      const moment = await engine.moment({ groups: 2 });
      const group = await engine.claim(moment);
      await pause(moment);
      expect(await halted(moment)).toEqual([true, true]);
      expect(await intend(engine.db.pool, intentOf(group))).toBeNull();
      expect(await whyRefused(engine.db.pool, group, 0)).toEqual({ kind: "halted" });
      await expect(engine.claim(moment, 1)).rejects.toThrow("could not be claimed");
      expect(await jobsOf(moment)).toHaveLength(0);
      await resume(moment);
      expect(await halted(moment)).toEqual([false, false]);
      expect(await jobsOf(moment)).toHaveLength(2);
      expect(await intend(engine.db.pool, intentOf(group))).not.toBeNull();
      await engine.claim(moment, 1);
    },
  );

  it.each(ways)("%s, before the cut: its groups come halted and without jobs", async (_, pause, resume) => {
    const moment = await engine.moment({ groups: 0, dueInMs: 1000 });
    await pause(moment);
    expect(await halted(moment)).toEqual([]);
    await cut();
    expect(await halted(moment)).toEqual([true]);
    expect(await jobsOf(moment)).toHaveLength(0);
    await resume(moment);
    expect(await halted(moment)).toEqual([false]);
    expect(await jobsOf(moment)).toHaveLength(1);
  });

  it("stays halted while the other of topic and schedule is paused", async () => {
    const moment = await engine.moment();
    await pauseTopic(engine.db, moment.topicId);
    await pauseSchedule(engine.db, moment.scheduleId);
    await resumeTopic(engine.db, moment.topicId);
    expect(await halted(moment)).toEqual([true]);
    await resumeSchedule(engine.db, moment.scheduleId);
    expect(await halted(moment)).toEqual([false]);
  });

  it("does not resume what was cancelled", async () => {
    const moment = await engine.moment();
    await intendSurely(engine.db.pool, await engine.claim(moment), { limit: 3 });
    await pauseTopic(engine.db, moment.topicId);
    await cancelBucket(engine.db, moment.bucketId);
    await resumeTopic(engine.db, moment.topicId);
    expect(await halted(moment)).toEqual([true]);
  });

  it("keeps the moment of the first pause", async () => {
    const moment = await engine.moment();
    await pauseTopic(engine.db, moment.topicId);
    const pausedAt = () => engine.one("select paused_at from carillon.topics where topic_id = $1", [moment.topicId]);
    const first = await pausedAt();
    await pauseTopic(engine.db, moment.topicId);
    expect(await pausedAt()).toEqual(first);
  });

  it("waits for a cut that is under way, and finds its groups", async () => {
    const moment = await engine.moment({ groups: 0, dueInMs: 1000 });
    await using cutting = await engine.begin();
    await cutting.client.query("select from carillon.time_buckets where bucket_id = $1 for no key update", [
      moment.bucketId,
    ]);
    const pausing = pauseSchedule(engine.db, moment.scheduleId);
    await cutting.client.query(
      `insert into carillon.groups (bucket_id, group_number, first_slot, last_slot, mark_slot, not_before)
       values ($1, 0, 0, 65535, 0, clock_timestamp())`,
      [moment.bucketId],
    );
    await cutting.client.query("update carillon.time_buckets set cut_at = clock_timestamp() where bucket_id = $1", [
      moment.bucketId,
    ]);
    await cutting.commit();
    await pausing;
    expect(await halted(moment)).toEqual([true]);
  });
});

describe("cancelBucket", () => {
  it("before the cut: closed at once, without a group or a row", async () => {
    const moment = await engine.moment({ groups: 0, dueInMs: 60_000 });
    await cancelBucket(engine.db, moment.bucketId);
    expect(await bucketOf(moment)).toEqual({ closed_as: "cancelled", cut: true });
    await cut();
    expect(await halted(moment)).toEqual([]);
  });

  it("before the first intent: closed at once without rows, and who holds a group is refused", async () => {
    const moment = await engine.moment({ groups: 2 });
    const group = await engine.claim(moment);
    await cancelBucket(engine.db, moment.bucketId);
    expect(await bucketOf(moment)).toMatchObject({ closed_as: "cancelled" });
    expect(await intend(engine.db.pool, intentOf(group))).toBeNull();
    expect(await intend(engine.db.pool, intentOf(group, { recordAs: 40 }))).toBeNull();
    expect(await whyRefused(engine.db.pool, group, 0)).toEqual({ kind: "lost" });
    expect(await settleGroup(engine.db.pool, group)).toBe(false);
    expect(await states(moment)).toEqual({});
    const row = await engine.group(moment);
    expect(row.finished_at).not.toBeNull();
    expect(row.claim_token).toBeNull();
  });

  it("after the first intent: what was sent is recorded, the rest as cancelled, and then it is closed", async () => {
    const moment = await engine.moment({ users: 10, groups: 1 });
    const group = await engine.claim(moment);
    const chunk = await intendSurely(engine.db.pool, group, { limit: 4 });
    await cancelBucket(engine.db, moment.bucketId);
    expect((await bucketOf(moment)).closed_as).toBeNull();
    expect(await jobsOf(moment)).toHaveLength(1);
    expect(await intend(engine.db.pool, intentOf(group, { chunkNumber: 1 }))).toBeNull();
    expect(await whyRefused(engine.db.pool, group, 1)).toEqual({ kind: "cancelled" });
    expect(await recordOutcomes(engine.db.pool, recordOf(group, chunk))).toBe(true);
    const rest = await intendSurely(engine.db.pool, group, { chunkNumber: 1, recordAs: 40 });
    expect(rest).toMatchObject({ size: 6, members: [], pagedThrough: true });
    expect(await settleGroup(engine.db.pool, group)).toBe(true);
    expect(await closeBucket(engine.db.pool, moment.bucketId)).toBe(true);
    expect(await bucketOf(moment)).toMatchObject({ closed_as: "cancelled" });
    expect(await states(moment)).toEqual({ 1: 4, 40: 6 });
    expect(await engine.group(moment)).toMatchObject({ delivered: 4, cancelled: 6, intended: 10 });
  });

  it("a group of it that nobody holds can be claimed, though halted, and says that it is cancelled", async () => {
    const moment = await engine.moment({ users: 4, groups: 2 });
    await intendSurely(engine.db.pool, await engine.claim(moment, 0));
    await cancelBucket(engine.db, moment.bucketId);
    expect(await engine.claim(moment, 1)).toMatchObject({ cancelled: true });
  });

  it("does not leave a group waiting for a next try that will not come", async () => {
    const moment = await engine.moment({ users: 2 });
    const group = await engine.claim(moment);
    await deferAll(engine.db.pool, group, await intendSurely(engine.db.pool, group), { waitMs: 3_600_000 });
    await releaseGroup(engine.db.pool, group, { waitMs: 0, fault: null });
    await expect(engine.claim(moment)).rejects.toThrow("could not be claimed");
    await cancelBucket(engine.db, moment.bucketId);
    const owner = await engine.claim(moment);
    expect(owner).toMatchObject({ cancelled: true, pagedThrough: true });
    const chunk = await intendDeferredSurely(engine.db.pool, owner, { recordAs: 40 });
    expect(chunk).toMatchObject({ size: 2, members: [] });
    expect(await settleGroup(engine.db.pool, owner)).toBe(true);
    expect(await states(moment)).toEqual({ 40: 2, 50: 2 });
  });

  it("does it once, and says what can't be cancelled", async () => {
    const moment = await engine.moment();
    await cancelBucket(engine.db, moment.bucketId);
    await cancelBucket(engine.db, moment.bucketId);
    const done = await engine.moment();
    await engine.rows("update carillon.time_buckets set closed_at = now(), closed_as = 'done' where bucket_id = $1", [
      done.bucketId,
    ]);
    await expect(cancelBucket(engine.db, done.bucketId)).rejects.toMatchObject({ code: "bucket_closed" });
    await expect(cancelBucket(engine.db, "999999999")).rejects.toMatchObject({ code: "unknown_bucket" });
  });

  it("locks no schedule against the foreign key of its buckets, which a cancel asks for", async () => {
    const moment = await engine.moment({ groups: 1 });
    await using pausing = await engine.begin();
    await pausing.client.query("update carillon.schedules set paused_at = clock_timestamp() where schedule_id = $1", [
      moment.scheduleId,
    ]);
    await cancelBucket(engine.db, moment.bucketId);
    expect(await bucketOf(moment)).toMatchObject({ closed_as: "cancelled" });
  });

  it("cancels at once from two sides without a deadlock", async () => {
    const moment = await engine.moment({ groups: 8 });
    await intendSurely(engine.db.pool, await engine.claim(moment));
    await Promise.all([
      cancelBucket(engine.db, moment.bucketId),
      pauseTopic(engine.db, moment.topicId),
      pauseSchedule(engine.db, moment.scheduleId),
      cancelBucket(engine.db, moment.bucketId),
    ]);
    expect(new Set(await halted(moment))).toEqual(new Set([true]));
  });
});
