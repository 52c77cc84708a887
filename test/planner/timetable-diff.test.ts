import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { planDue } from "../../src/planner/plan.ts";
import { diffTimetable, type TimetableDiff } from "../../src/planner/timetable-diff.ts";
import { cancelBucket } from "../../src/store/halt.ts";
import { changeVersions } from "../../src/store/timetable-change.ts";
import { createTopic } from "../../src/store/topics.ts";
import type { VersionChange } from "../../src/store/version-change.ts";
import { addDays, localDate } from "../../src/timetable/civil-time.ts";
import { createEngine, type Engine } from "../support/engine.ts";
import { minuteIn, seedTable, tableWith } from "../support/tables.ts";

const hourMs = 3_600_000;
const never = new AbortController().signal;
let engine: Engine;
beforeAll(async () => {
  engine = await createEngine();
  await createTopic(engine.db, "live", {});
});
afterAll(() => engine[Symbol.asyncDispose]());

const plan = () => planDue(engine.db, { horizonMs: hourMs, leadMs: 1000 }, never);
const change = async (name: string, what: VersionChange, dryRun: boolean): Promise<TimetableDiff> => {
  const { foreseen } = await changeVersions(engine.db, name, what, {
    dryRun,
    foresee: (client, foreseen) => diffTimetable(client, foreseen, hourMs),
  });
  if (foreseen === undefined) throw new Error("no diff");
  return foreseen;
};
const correct = (dueAtMs: Readonly<Record<string, number>>): VersionChange => ({
  kind: "correct",
  version: "today",
  parameters: tableWith(dueAtMs, ["a", "b", "c", "d", "far"]),
});
const bucketsAt = (scheduleIds: readonly string[]) =>
  engine.rows<{ bucket_id: string; due_at: Date; slot: string }>(
    `select b.bucket_id, b.due_at, s.rule ->> 'slot' as slot
     from carillon.time_buckets b join carillon.schedules s using (schedule_id)
     where s.schedule_id = any ($1) and b.closed_at is null order by slot`,
    [scheduleIds],
  );
const short = ({ moments }: TimetableDiff) =>
  moments.map(({ slot, change: what, from, to }) => [slot, what, from?.getTime() ?? null, to?.getTime() ?? null]);

describe("the diff of a correction", () => {
  const base = minuteIn(0);
  const at = (minutes: number) => base + minutes * 60_000;

  it("says what moves, what no longer comes and what comes newly; and the planner then does that", async () => {
    const { scheduleIds, keys } = await seedTable(engine.db, {
      name: "all",
      topic: "live",
      dueAtMs: { a: at(20), b: at(25), c: at(30), d: at(35), far: at(300) },
      users: 3,
    });
    await plan();
    const before = await bucketsAt(scheduleIds);
    // a moves, b stays, c goes, d leaves the horizon, far comes within it
    const what = correct({ a: at(27), b: at(25), d: at(200), far: at(40) });
    const dry = await change("all", what, true);
    expect(short(dry)).toEqual([
      ["a", "moves", at(20), at(27)],
      ["c", "no longer comes", at(30), null],
      ["d", "moves", at(35), at(200)],
      ["far", "comes newly", null, at(40)],
    ]);
    expect(dry).toMatchObject({ more: false, claimed: 0 });
    expect(dry.moments[0]).toMatchObject({
      topic: "live",
      place: { key: keys[0], name: keys[0], placeId: expect.any(Number) },
      scheduleId: expect.any(String),
      localDate: new Date(at(20)).toISOString().slice(0, 10),
      people: 3,
    });
    await plan();
    expect(await bucketsAt(scheduleIds)).toEqual(before);

    expect(await change("all", what, false)).toEqual(dry);
    await plan();
    const after = new Map((await bucketsAt(scheduleIds)).map((row) => [row.slot, row.due_at.getTime()]));
    expect(Object.fromEntries(after)).toEqual({ a: at(27), b: at(25), d: at(200), far: at(40) });
    expect(short(await change("all", what, true))).toEqual([]);
  });

  it("counts what is claimed, which stays, and leaves out what is cancelled", async () => {
    const { scheduleIds } = await seedTable(engine.db, {
      name: "claimed",
      topic: "live",
      dueAtMs: { a: at(20), b: at(25), c: at(30) },
    });
    await plan();
    const [a, b] = await bucketsAt(scheduleIds);
    await engine.rows(
      `insert into carillon.groups (bucket_id, group_number, first_slot, last_slot, mark_slot, not_before)
       values ($1, 0, 0, 65535, 0, clock_timestamp())`,
      [a?.bucket_id],
    );
    await engine.claim({ bucketId: a?.bucket_id ?? "" });
    await cancelBucket(engine.db, b?.bucket_id ?? "");
    const diff = await change("claimed", correct({ a: at(22), b: at(27), c: at(32) }), true);
    expect(short(diff)).toEqual([["c", "moves", at(30), at(32)]]);
    expect(diff.claimed).toBe(1);
  });

  it("of a version that begins tomorrow leaves today's moments out", async () => {
    await seedTable(engine.db, { name: "tomorrow", topic: "live", dueAtMs: { a: at(20) } });
    await plan();
    const { parameters } = correct({ a: at(22) }) as { parameters: unknown };
    const tomorrow = addDays(localDate(at(20), "UTC"), 1);
    const later: VersionChange = { kind: "add", effectiveFrom: tomorrow, parameters };
    expect(short(await change("tomorrow", later, true))).toEqual([]);
    const now: VersionChange = { kind: "add", effectiveFrom: addDays(tomorrow, -1), parameters };
    expect(short(await change("tomorrow", now, false))).toEqual([["a", "moves", at(20), at(22)]]);
    // the moment is still where it was planned before: taken back in time, nothing happens
    expect(short(await change("tomorrow", { kind: "remove", version: 2 }, true))).toEqual([]);
    await plan();
    expect(short(await change("tomorrow", { kind: "remove", version: 2 }, true))).toEqual([
      ["a", "moves", at(22), at(20)],
    ]);
  });

  it("lists 1,000 moments and says that there are more", async () => {
    const { scheduleIds } = await seedTable(engine.db, {
      name: "many",
      topic: "live",
      dueAtMs: { a: at(20) },
      places: 999,
    });
    await plan();
    const whole = await change("many", correct({ a: at(21) }), true);
    expect({ moments: whole.moments.length, more: whole.more }).toEqual({ moments: 999, more: false });
    await engine.rows(
      `insert into carillon.schedules (topic_id, rule, place_id, next_due_at)
       select topic_id, jsonb_set(rule, '{offsetsMinutes}', '[5]'), place_id, carillon.clock() from carillon.schedules
       where schedule_id = any ($1)`,
      [scheduleIds.slice(0, 2)],
    );
    await plan();
    const cut = await change("many", correct({ a: at(21) }), true);
    expect({ moments: cut.moments.length, more: cut.more }).toEqual({ moments: 1000, more: true });
  });
});
