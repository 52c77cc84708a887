import type pg from "pg";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { printSchema } from "../../scripts/generate-schema.ts";
import { planDue } from "../../src/planner/plan.ts";
import { readClocks, resetDevelopmentClock, setDevelopmentClock } from "../../src/store/clock.ts";
import { markDeployment } from "../../src/store/deployment.ts";
import { addCutJobs } from "../../src/store/jobs.ts";
import { releaseGroup } from "../../src/store/lease.ts";
import { migrate } from "../../src/store/migrate.ts";
import { recordOutcomes } from "../../src/store/outcome.ts";
import { whyRefused } from "../../src/store/refusal.ts";
import { sweep } from "../../src/store/rescue.ts";
import { createEngine, deferAll, type Engine, intendSurely, recordOf } from "../support/engine.ts";

const night = Date.parse("2027-03-28T00:30:00Z");
const hourMs = 3_600_000;

let engine: Engine;
beforeEach(async () => {
  engine = await createEngine();
});
afterEach(() => engine[Symbol.asyncDispose]());

const mark = (kind: "development" | "demo" | "production") => markDeployment(engine.db.pool, kind);
const setClock = (nowMs: number | null, speed: number) => setDevelopmentClock(engine.db.pool, { nowMs, speed });
const iso = (ms: number) => new Date(ms).toISOString();

/** What all clocks show in one statement: epoch seconds. */
const clocks = (executor: Pick<pg.ClientBase, "query"> = engine.db.pool) =>
  executor
    .query<{ clock: number; real: number; there: number }>(
      `select extract(epoch from carillon.clock())::float8 as clock, extract(epoch from clock_timestamp())::float8 as real,
         extract(epoch from carillon.real_time(carillon.clock()))::float8 as there`,
    )
    .then(({ rows: [row] }) => row ?? { clock: Number.NaN, real: Number.NaN, there: Number.NaN });

describe("a database that is not marked for development", () => {
  it("keeps real time, and says why", async () => {
    await expect(setClock(night, 60)).rejects.toMatchObject({ code: "not_a_development_database" });
    await engine.rows("delete from carillon.deployment");
    await expect(setClock(night, 60)).rejects.toMatchObject({ code: "not_a_development_database" });
    const { clockMs, realMs, speed } = await readClocks(engine.db.pool);
    expect([clockMs - realMs, speed]).toEqual([0, 1]);
    expect(await engine.rows("select from carillon.development_clock")).toEqual([]);
  });

  it("lets what asks for the clock be inlined: nothing is called and nothing read for it", async () => {
    const plan = await engine.rows<{ "QUERY PLAN": string }>(
      `explain (verbose, costs off) select carillon.clock(), carillon.real_time(due_at), carillon.clock_speed()
       from carillon.time_buckets where carillon.real_time(due_at) <= carillon.clock()`,
    );
    const text = plan.map((row) => row["QUERY PLAN"]).join("\n");
    expect(text).toContain("due_at <= clock_timestamp()");
    expect(text).not.toMatch(/carillon\.(clock|real_time|clock_speed)\(/);
  });
});

describe("setDevelopmentClock", () => {
  it.each(["development", "demo"] as const)("goes from there at its pace, in a database for %s", async (kind) => {
    await mark(kind);
    await setClock(night, 60);
    const first = await clocks();
    await engine.rows("select pg_sleep(0.05)");
    const then = await clocks();
    expect(first.clock).toBeGreaterThanOrEqual(night / 1000);
    const [passed, passedReal] = [then.clock - first.clock, then.real - first.real];
    expect(passedReal).toBeGreaterThan(0.05);
    // within one statement the clocks are asked one after another
    expect(Math.abs(passed - passedReal * 60)).toBeLessThan(60 * 0.02);
    expect(Math.abs(then.there - then.real)).toBeLessThan(0.02);
    const reading = await readClocks(engine.db.pool);
    expect(reading.speed).toBe(60);
    expect(await engine.one("select clock_at, speed from carillon.development_clock")).toEqual({
      clock_at: new Date(night),
      speed: 60,
    });
  });

  it("means the same in a session with another zone and other dates", async () => {
    await mark("development");
    await using session = await engine.begin();
    await session.client.query("set timezone = 'America/St_Johns'; set datestyle = 'SQL, DMY'");
    // the night in which that zone's clocks go forward lies between
    await setDevelopmentClock(session.client, { nowMs: Date.parse("2027-03-13T12:00:00Z"), speed: 1 });
    await session.commit();
    const ask = "select extract(epoch from carillon.real_time($1) - carillon.real_time($2))::int as apart";
    const { rows } = await session.client.query(ask, ["2027-03-15T12:00:00Z", "2027-03-13T12:00:00Z"]);
    expect(rows).toEqual([{ apart: 48 * 3600 }]);
    const [here, there] = [await clocks(), await clocks(session.client)];
    expect(Math.abs(here.clock - there.clock)).toBeLessThan(5);
  });

  it("is taken up by plans that sessions have made before", async () => {
    await mark("development");
    await using session = await engine.begin();
    await session.commit();
    const { client } = session;
    await client.query("set plan_cache_mode = force_generic_plan");
    const ask = {
      name: "ask",
      text: "select extract(year from carillon.clock())::int as year, carillon.real_time($1) as real, carillon.clock_speed() as speed",
      values: [iso(night)],
    };
    expect((await client.query(ask)).rows).toMatchObject([{ real: new Date(night), speed: 1 }]);
    await setClock(Date.parse("2035-06-01T00:00:00Z"), 3600);
    const { rows } = await client.query(ask);
    expect(rows).toMatchObject([{ year: 2035, speed: 3600 }]);
    expect(rows[0].real).not.toEqual(new Date(night));
    await resetDevelopmentClock(engine.db.pool);
    expect((await client.query(ask)).rows).toMatchObject([{ real: new Date(night), speed: 1 }]);
  });

  it.each([0, -1, 0.0000009, 3600.1, Number.NaN, Number.POSITIVE_INFINITY])("refuses the speed %d", async (speed) => {
    await mark("development");
    await expect(setClock(night, speed)).rejects.toMatchObject({
      code: "bad_configuration",
      message: expect.stringContaining("speed must be from 0.000001 to 3600"),
    });
    expect((await readClocks(engine.db.pool)).speed).toBe(1);
  });

  it.each(["infinity", "-infinity", "1969-12-31T23:59:59Z", "9999-01-01T00:00:00Z", null])(
    "refuses the time %s",
    async (at) => {
      await mark("development");
      await expect(engine.rows("select carillon.set_development_clock($1, 1)", [at])).rejects.toMatchObject({
        code: "22023",
      });
    },
  );

  it("has a real time for every moment, however slowly it goes", async () => {
    await mark("development");
    await setClock(night, 0.000001);
    const [row] = await engine.rows<{ past: boolean; ahead: boolean; never: number; nothing: null }>(
      `select carillon.real_time('1970-01-01T00:00:00Z') < clock_timestamp() as past,
         carillon.real_time('9998-01-01T00:00:00Z') > clock_timestamp() + interval '100000 years' as ahead,
         carillon.real_time('-infinity') as never, carillon.real_time(null) as nothing`,
    );
    expect(row).toEqual({ past: true, ahead: true, never: Number.NEGATIVE_INFINITY, nothing: null });
  });

  it("waits for another that sets it at the same time", async () => {
    await mark("development");
    await using session = await engine.begin();
    await setDevelopmentClock(session.client, { nowMs: night, speed: 2 });
    const second = setClock(night, 3);
    await engine.rows("select pg_sleep(0.02)");
    await session.commit();
    await second;
    expect((await readClocks(engine.db.pool)).speed).toBe(3);
  });

  it("hands schedules to the planner again when it goes back, and has what waited looked at anew", async () => {
    await mark("development");
    await setClock(night + 48 * hourMs, 1);
    const moment = await engine.moment({ dueInMs: -1000 });
    const nextDue = () =>
      engine.one<{ next_due_at: Date | null }>("select next_due_at from carillon.schedules where schedule_id = $1", [
        moment.scheduleId,
      ]);
    await engine.rows("update carillon.schedules set next_due_at = null");
    await engine.rows("update carillon.groups set not_before = clock_timestamp() + interval '1 hour'");
    await addCutJobs(engine.db.pool, [night + 50 * hourMs], 1000);
    await setClock(night + 49 * hourMs, 3600);
    expect(await nextDue()).toEqual({ next_due_at: null });
    expect((await engine.group(moment)).waits_ms).toBeLessThanOrEqual(0);
    const { in_s: inS } = await engine.one<{ in_s: number }>(
      "select extract(epoch from run_at - clock_timestamp())::float8 as in_s from graphile_worker.jobs where key like 'carillon.cut:%'",
    );
    // the hour until then is a real second, and so is its lead
    expect(Math.abs(inS)).toBeLessThan(0.9);
    await setClock(night, 1);
    expect((await nextDue()).next_due_at?.getTime()).toBeLessThan(night + hourMs);
  });
});

describe("real time again", () => {
  it("leaves the very schema that the migrations make", async () => {
    const before = await printSchema(engine.url);
    await mark("demo");
    await setClock(night, 60);
    expect(await printSchema(engine.url)).not.toBe(before);
    expect(await resetDevelopmentClock(engine.db.pool)).toBe(true);
    expect(await printSchema(engine.url)).toBe(before);
    expect(await resetDevelopmentClock(engine.db.pool)).toBe(false);
    expect(await engine.rows("select from carillon.development_clock")).toEqual([]);
  });

  it.each([
    ["is marked for production", "update carillon.deployment set kind = 'production'"],
    ["loses its mark", "delete from carillon.deployment"],
    ["loses its mark with all rows", "truncate carillon.deployment"],
  ])("comes when the database %s", async (_, change) => {
    await mark("demo");
    await setClock(night, 60);
    await mark("development");
    expect((await readClocks(engine.db.pool)).speed).toBe(60);
    await engine.rows(change);
    expect((await readClocks(engine.db.pool)).speed).toBe(1);
    await expect(setClock(night, 60)).rejects.toMatchObject({ code: "not_a_development_database" });
  });

  it("comes with a migration of a production database that was left with another clock", async () => {
    const before = await printSchema(engine.url);
    const replaced = (shift: string) =>
      engine.rows(
        `create or replace function carillon.clock() returns timestamptz language sql volatile parallel restricted
         as $$ select clock_timestamp() + interval '${shift}' $$`,
      );
    await replaced("1 day");
    await migrate(engine.url);
    expect(await printSchema(engine.url)).toBe(before);
    await mark("development");
    await replaced("2 days");
    await migrate(engine.url);
    expect(await printSchema(engine.url)).not.toBe(before);
  });
});

describe("under a development clock at speed 60", () => {
  beforeEach(async () => {
    await mark("development");
    await setClock(night, 60);
  });
  const leadMs = 10_000;
  /** so far ahead of now on carillon.clock(), whole seconds */
  const ahead = async (ms: number) => Math.ceil(((await readClocks(engine.db.pool)).clockMs + ms) / 1000) * 1000;

  it("cuts the lead ahead in real time", async () => {
    const dueAtMs = await ahead(2 * hourMs);
    await addCutJobs(engine.db.pool, [dueAtMs], leadMs);
    const { in_s: inS } = await engine.one<{ in_s: number }>(
      "select extract(epoch from run_at - clock_timestamp())::float8 as in_s from graphile_worker.jobs where task_identifier = 'carillon.cut'",
    );
    // two hours of it are two real minutes
    expect(inS).toBeGreaterThan(120 - leadMs / 1000 - 5);
    expect(inS).toBeLessThanOrEqual(120 - leadMs / 1000 + 0.1);
  });

  it("sweeps for what is due within the real lead", async () => {
    const find = async (dueInMs: number) => {
      await engine.rows(
        "update carillon.time_buckets set closed_at = now(), closed_as = 'done' where closed_at is null",
      );
      const moment = await engine.moment({ groups: 0 });
      await engine.rows(
        `update carillon.time_buckets set due_at = carillon.clock() + $2 * interval '1 ms',
           expires_at = carillon.clock() + $2 * interval '1 ms' + interval '1 h' where bucket_id = $1`,
        [moment.bucketId, dueInMs],
      );
      await engine.rows(
        "update carillon.schedules set next_due_at = carillon.clock() + $2 * interval '1 ms' where schedule_id = $1",
        [moment.scheduleId, dueInMs],
      );
      const { unplanned, uncutSeconds } = await sweep(engine.db.pool, { leadMs, limit: 10 });
      await engine.rows("update carillon.schedules set next_due_at = null");
      return { unplanned, uncutSeconds };
    };
    // 10 s of lead are ten minutes
    expect(await find(20 * 60_000)).toEqual({ unplanned: false, uncutSeconds: 0 });
    expect(await find(8 * 60_000)).toEqual({ unplanned: true, uncutSeconds: 1 });
  });

  it("asks for a hand by real time: what is minutes late on it is late by seconds", async () => {
    const moment = await engine.moment({ users: 1, dueInMs: -5 * 60_000 });
    await engine.rows("update carillon.groups set not_before = '2000-01-01' where bucket_id = $1", [moment.bucketId]);
    await engine.rows("update carillon.schedules set next_due_at = null");
    const kinds = () => engine.rows<{ kind: string; since: Date }>("select kind, since from carillon.attention");
    expect(await kinds()).toEqual([]);
    await engine.rows("update carillon.time_buckets set due_at = due_at - interval '10 min' where bucket_id = $1", [
      moment.bucketId,
    ]);
    const [overdue] = await kinds();
    expect(overdue?.kind).toBe("overdue groups");
    expect(Math.abs((overdue?.since.getTime() ?? 0) - (await readClocks(engine.db.pool)).realMs)).toBeLessThan(60_000);
  });

  it("says how late a bucket was on its own clock", async () => {
    const moment = await engine.moment({ users: 1, dueInMs: -60_000 });
    const group = await engine.claim(moment);
    const chunk = await intendSurely(engine.db.pool, group, { limit: 10 });
    await recordOutcomes(engine.db.pool, recordOf(group, chunk));
    const { lateness_ms: latenessMs } = await engine.one<{ lateness_ms: string }>(
      "select lateness_ms from carillon.bucket_progress where bucket_id = $1",
      [moment.bucketId],
    );
    expect(Number(latenessMs)).toBeGreaterThanOrEqual(60_000);
    expect(Number(latenessMs)).toBeLessThan(60_000 + 60 * 5000);
  });

  it("plans ahead for as long as it may take until the planner comes again, and the lead", async () => {
    const { topicId } = await engine.moment({ groups: 0 });
    const plannedThrough = async () => {
      const [row] = await engine.rows<{ ahead_s: number }>(
        "select extract(epoch from planned_through - carillon.clock())::float8 as ahead_s from carillon.schedules order by schedule_id desc limit 1",
      );
      return row?.ahead_s ?? 0;
    };
    await engine.rows(
      `insert into carillon.schedules (topic_id, rule, next_due_at)
       select $1, carillon.canonical_rule('{"kind": "wall", "time": "02:30", "zone": "Europe/Berlin"}'), carillon.clock()`,
      [topicId],
    );
    await planDue(engine.db, { horizonMs: hourMs, leadMs }, new AbortController().signal);
    // two minutes and the lead, sixtyfold: more than the hour that is configured
    const aheadS = await plannedThrough();
    expect(aheadS).toBeGreaterThan(130 * 60 - 120);
    expect(aheadS).toBeLessThanOrEqual(130 * 60);
  });

  it("keeps leases and waits for a moment in real time", async () => {
    const moment = await engine.moment({ users: 1 });
    const dueAtMs = await ahead(600_000);
    await engine.rows(
      "update carillon.time_buckets set due_at = $2, expires_at = $2::timestamptz + interval '1 h' where bucket_id = $1",
      [moment.bucketId, iso(dueAtMs)],
    );
    const claimed = await engine.claim(moment);
    expect((await engine.group(moment)).lease_left_ms).toBeGreaterThan(50_000);
    const refusal = await whyRefused(engine.db.pool, claimed, 0);
    expect(refusal.kind).toBe("not_yet_due");
    const waitMs = refusal.kind === "not_yet_due" ? refusal.waitMs : 0;
    expect(waitMs).toBeGreaterThan(5000);
    expect(waitMs).toBeLessThanOrEqual(10_100);
  });

  it("holds a group back until a next try in real time, but not beyond the expiry by the clock", async () => {
    for (const [waitMs, expectedMs] of [
      [5000, 5000],
      [3_000_000, 20_000],
    ] as const) {
      const moment = await engine.moment({ users: 1 });
      // twenty real seconds
      await engine.rows(
        `update carillon.time_buckets set due_at = carillon.clock() - interval '1 min',
           expires_at = carillon.clock() + interval '20 min' where bucket_id = $1`,
        [moment.bucketId],
      );
      await engine.rows("update carillon.subscriptions set subscribed_at = '2000-01-01' where schedule_id = $1", [
        moment.scheduleId,
      ]);
      const group = await engine.claim(moment);
      const chunk = await intendSurely(engine.db.pool, group, { limit: 10 });
      await deferAll(engine.db.pool, group, chunk, { waitMs });
      await engine.rows("update carillon.groups set paged_at = clock_timestamp() where bucket_id = $1", [
        moment.bucketId,
      ]);
      await releaseGroup(engine.db.pool, group, { waitMs: 0, fault: null });
      const { waits_ms: waitsMs } = await engine.group(moment);
      expect(waitsMs).toBeGreaterThan(expectedMs - 3000);
      expect(waitsMs).toBeLessThanOrEqual(expectedMs);
    }
  });
});
