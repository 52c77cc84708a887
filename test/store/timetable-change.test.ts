import { randomBytes } from "node:crypto";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { planDue } from "../../src/planner/plan.ts";
import { wakePlanner } from "../../src/store/jobs.ts";
import { savePlaces } from "../../src/store/places.ts";
import { changeVersions } from "../../src/store/timetable-change.ts";
import { createTimetable, listVersions, readTimetable } from "../../src/store/timetables.ts";
import { createTopic } from "../../src/store/topics.ts";
import type { VersionChange } from "../../src/store/version-change.ts";
import { addDays, localDate } from "../../src/timetable/civil-time.ts";
import { parseTimetable } from "../../src/timetable/timetable.ts";
import { createEngine, type Engine } from "../support/engine.ts";
import { runStatement, urlOf } from "../support/server.ts";
import { minuteIn, seedTable, tableWith } from "../support/tables.ts";

let engine: Engine;
beforeAll(async () => {
  engine = await createEngine({ max: 12 });
  await createTopic(engine.db, "live", {});
});
afterAll(() => engine[Symbol.asyncDispose]());

const today = localDate(Date.now(), "UTC");
const never = new AbortController().signal;
const prayer = (fajr: number) => ({ adjustments: { fajr } });
const change = (name: string, what: VersionChange) => changeVersions(engine.db, name, what);
const add = (daysAhead: number | null, fajr = 1): VersionChange => ({
  kind: "add",
  effectiveFrom: daysAhead === null ? null : addDays(today, daysAhead),
  parameters: prayer(fajr),
});

let named = 0;
async function timetable(): Promise<string> {
  named += 1;
  await createTimetable(engine.db, `prayer-${named}`, parseTimetable("prayer", {}));
  return `prayer-${named}`;
}
const versionsOf = async (name: string) =>
  (await listVersions(engine.db, name)).map(({ version, effectiveFrom }) => [
    version,
    effectiveFrom === null
      ? null
      : Math.round(
          (Date.UTC(effectiveFrom.year, effectiveFrom.month - 1, effectiveFrom.day) -
            Date.UTC(today.year, today.month - 1, today.day)) /
            86_400_000,
        ),
  ]);

describe("versions", () => {
  it("are ordered by the date on which they begin; numbers are never given twice", async () => {
    const name = await timetable();
    await change(name, add(20));
    await change(name, add(-20, 9));
    expect(await versionsOf(name)).toEqual([
      [1, null],
      [3, -20],
      [2, 20],
    ]);
    expect(await readTimetable(engine.db, name)).toMatchObject({ version: 3, timetable: { adjustments: { fajr: 9 } } });
    await change(name, { kind: "remove", version: 3 });
    expect(await readTimetable(engine.db, name)).toMatchObject({ version: 1 });
    const made = await change(name, add(-20));
    expect(made).toMatchObject({ created: true, version: { version: 4, note: null } });
  });

  it("are corrected by number, by what holds today, or by the date on which they begin", async () => {
    const name = await timetable();
    await change(name, { ...add(-1, 3), note: "summer" } as VersionChange);
    const corrected = await change(name, { kind: "correct", version: "today", parameters: prayer(4) });
    expect(corrected).toMatchObject({
      created: false,
      version: { version: 2, note: "summer", effectiveFrom: addDays(today, -1) },
    });
    await change(name, {
      kind: "correct",
      version: 2,
      parameters: prayer(5),
      effectiveFrom: addDays(today, 3),
      note: null,
    });
    expect(await versionsOf(name)).toEqual([
      [1, null],
      [2, 3],
    ]);
    await change(name, { kind: "set", effectiveFrom: addDays(today, 3), parameters: prayer(6) });
    await change(name, { kind: "set", effectiveFrom: addDays(today, 4), parameters: prayer(7) });
    await change(name, { kind: "set", effectiveFrom: null, parameters: prayer(8) });
    expect(await versionsOf(name)).toEqual([
      [1, null],
      [2, 3],
      [3, 4],
    ]);
    const fajr = (await listVersions(engine.db, name)).map(
      ({ timetable }) => "adjustments" in timetable && timetable.adjustments.fajr,
    );
    expect(fajr).toEqual([8, 6, 7]);
  });

  it.each<[string, VersionChange, string, string | undefined]>([
    ["begins on the date of another", add(5), "version_overlaps", "/effectiveFrom"],
    ["holds since ever, too", add(null), "version_overlaps", "/effectiveFrom"],
    [
      "is moved to the date of another",
      { kind: "correct", version: 2, parameters: {}, effectiveFrom: null },
      "version_overlaps",
      "/effectiveFrom",
    ],
    [
      "leaves a hole by its date",
      { kind: "correct", version: 1, parameters: {}, effectiveFrom: today },
      "timetable_hole",
      "/effectiveFrom",
    ],
    ["leaves a hole as it goes", { kind: "remove", version: 1 }, "timetable_hole", undefined],
    ["is not there", { kind: "remove", version: 9 }, "unknown_version", undefined],
    ["is not there to be corrected", { kind: "correct", version: 9, parameters: {} }, "unknown_version", undefined],
    [
      "has bad parameters",
      { kind: "correct", version: 2, parameters: { method: "Mars" } },
      "invalid_request",
      "/parameters/method",
    ],
    ["is of another kind", { kind: "correct", version: 2, parameters: {}, of: "table" }, "invalid_request", "/kind"],
  ])("a version that %s is refused, and changes nothing", async (_, what, code, pointer) => {
    const name = await timetable();
    await change(name, add(5));
    const before = await listVersions(engine.db, name);
    await expect(change(name, what)).rejects.toMatchObject({ code, pointer });
    expect(await listVersions(engine.db, name)).toEqual(before);
    await expect(change("nowhere", what)).rejects.toMatchObject({ code: "not_found" });
  });

  it("come one after the other when two are made at once", async () => {
    const name = await timetable();
    await using first = await engine.begin();
    await first.client.query("select from carillon.timetables where name = $1 for no key update", [name]);
    const both = Promise.allSettled([change(name, add(7, 1)), change(name, add(7, 2))]);
    await first.commit();
    const outcomes = (await both).map((each) =>
      each.status === "rejected" ? each.reason.code : each.value.version.version,
    );
    expect(outcomes.toSorted()).toEqual([2, "version_overlaps"]);
  });

  it("say the same of what plain SQL made meanwhile, without the lock", async () => {
    const name = await timetable();
    await using sql = await engine.begin();
    const { timetableId } = await readTimetable(engine.db, name);
    const found = Promise.withResolvers<void>();
    const ours = changeVersions(engine.db, name, add(7), {
      foresee: async () => {
        found.resolve();
        await committed;
      },
    });
    const committed = (async () => {
      await found.promise;
      await sql.client.query("set local session_replication_role = replica");
      await sql.client.query(
        "insert into carillon.timetable_versions (timetable_id, version, effective_from, parameters) values ($1, 77, $2, '{}')",
        [timetableId, new Date(Date.UTC(today.year, today.month - 1, today.day + 7)).toISOString().slice(0, 10)],
      );
      await sql.commit();
    })();
    await expect(ours).rejects.toMatchObject({ code: "version_overlaps" });
  });

  it("a dry run says the same and changes nothing", async () => {
    const name = await timetable();
    await engine.rows("delete from graphile_worker._private_jobs");
    const before = await listVersions(engine.db, name);
    const foreseen: unknown[] = [];
    const options = {
      dryRun: true,
      foresee: async (_: unknown, { after }: { after: readonly unknown[] }) => foreseen.push(after.length),
    };
    const dry = await changeVersions(engine.db, name, add(2), options);
    expect(await listVersions(engine.db, name)).toEqual(before);
    const { version, created } = await change(name, add(2));
    const { createdAt: _, updatedAt: __, ...said } = dry.version;
    expect({ created: dry.created, ...said }).toEqual({ created, ...said });
    expect(version).toMatchObject(said);
    expect(foreseen).toEqual([2]);
  });
});

describe("plain SQL", () => {
  const newest = (name: string) =>
    engine.one<{ timetable_id: number; last_version: number }>(
      "select timetable_id, last_version from carillon.timetables where name = $1",
      [name],
    );

  it("is given the number of a version, whatever it says", async () => {
    const name = await timetable();
    const { timetable_id: id } = await newest(name);
    const made = await engine.rows(
      `insert into carillon.timetable_versions (timetable_id, version, effective_from, parameters)
       values ($1, 1, '2030-01-01', '{}'), ($1, null, '2031-01-01', '{}') returning version`,
      [id],
    );
    expect(made).toEqual([{ version: 2 }, { version: 3 }]);
    await expect(
      engine.rows("insert into carillon.timetable_versions (timetable_id, parameters) values (0, '{}')"),
    ).rejects.toMatchObject({ code: "23503" });
  });

  it("can't leave a timetable without a version that holds since ever", async () => {
    const name = await timetable();
    const { timetable_id: id } = await newest(name);
    const hole = { code: "23514", constraint: "timetable_versions_without_hole" };
    for (const statement of [
      `delete from carillon.timetable_versions where timetable_id = ${id}`,
      `update carillon.timetable_versions set effective_from = '2030-01-01' where timetable_id = ${id}`,
      "insert into carillon.timetables (name, kind) values ('bare', 'prayer')",
    ]) {
      await expect(engine.rows(statement), statement).rejects.toMatchObject(hole);
    }
    // in one transaction, versions may change their dates
    await change(name, add(3));
    await using swap = await engine.begin();
    await swap.client.query(
      "update carillon.timetable_versions set effective_from = '2020-01-01' where timetable_id = $1 and version = 1",
      [id],
    );
    await swap.client.query(
      "update carillon.timetable_versions set effective_from = null where timetable_id = $1 and version = 2",
      [id],
    );
    await swap.commit();
    expect((await versionsOf(name)).map(([version]) => version)).toEqual([2, 1]);
    // a timetable that no place has may go as a whole
    await engine.rows("delete from carillon.timetables where timetable_id = $1", [id]);
    expect(await engine.rows("select from carillon.timetable_versions where timetable_id = $1", [id])).toEqual([]);
  });
});

describe("a change of what gives times", () => {
  /** The schedules that wait for the planner, and how many jobs wake it. */
  async function planned(name: string) {
    const { scheduleIds, keys } = await seedTable(engine.db, {
      name,
      topic: "live",
      dueAtMs: { a: minuteIn(20) },
      places: 3,
    });
    const settle = async () => {
      await planDue(engine.db, { horizonMs: 3_600_000, leadMs: 1000 }, never);
      await engine.rows("delete from graphile_worker._private_jobs");
    };
    await settle();
    const waiting = async () => {
      const rows = await engine.rows<{ schedule_id: string }>(
        "select schedule_id from carillon.schedules where schedule_id = any ($1) and next_due_at <= carillon.clock()",
        [scheduleIds],
      );
      const jobs = await engine.rows(
        "select from graphile_worker.jobs where key = 'carillon.plan' and task_identifier = 'carillon.plan'",
      );
      return { schedules: rows.length, jobs: jobs.length };
    };
    return { keys, settle, waiting, scheduleIds };
  }

  it("hands the schedules there to the planner and wakes it once, by whatever statement; anything else does not", async () => {
    const { keys, settle, waiting } = await planned("by-sql");
    const of = "timetable_id = (select timetable_id from carillon.timetables where name = 'by-sql')";
    const quiet = [
      `update carillon.timetable_versions set note = 'why' where ${of}`,
      `update carillon.timetable_versions set parameters = parameters where ${of}`,
      "update carillon.timetables set kind = kind",
      `update carillon.places set name = 'another', population = 5 where ${of}`,
      `update carillon.places set zone = zone where ${of}`,
    ];
    for (const statement of quiet) {
      await engine.rows(statement);
      expect({ statement, ...(await waiting()) }).toEqual({ statement, schedules: 0, jobs: 0 });
    }
    const table = JSON.stringify(tableWith({ a: minuteIn(25) }));
    const loud: [string, number][] = [
      [`update carillon.timetable_versions set parameters = '${table}' where ${of}`, 3],
      [
        `insert into carillon.timetable_versions (timetable_id, effective_from, parameters) select timetable_id, '2020-01-01', '${table}' from carillon.timetables where name = 'by-sql'`,
        3,
      ],
      [`update carillon.timetable_versions set effective_from = '2020-02-02' where ${of} and version = 2`, 3],
      [`delete from carillon.timetable_versions where ${of} and version = 2`, 3],
      [`update carillon.places set latitude = latitude + 0.001 where ${of}`, 3],
      [`update carillon.places set zone = 'Etc/UTC' where key = '${keys[0]}'`, 1],
      [`update carillon.places set country = 'DE' where key = '${keys[1]}'`, 1],
      [
        `update carillon.places set timetable_id = (select timetable_id from carillon.timetables where name = 'prayer') where key = '${keys[2]}'`,
        1,
      ],
    ];
    for (const [statement, schedules] of loud) {
      await settle();
      await engine.rows(statement);
      expect({ statement, ...(await waiting()) }).toEqual({ statement, schedules, jobs: 1 });
    }
    await settle();
    await savePlaces(
      engine.db,
      [{ key: keys[0] ?? "", name: "moved", latitude: 1, longitude: 1, zone: "UTC", timetable: "by-sql" }],
      String,
    );
    expect(await waiting()).toEqual({ schedules: 1, jobs: 1 });
  });

  it("in a transaction that stays open, keeps nobody waiting who wakes the planner, and a rollback wakes nobody", async () => {
    const { settle, waiting } = await planned("slow-hand");
    await using thinking = await engine.begin();
    const correct =
      "update carillon.timetable_versions set parameters = $1 where timetable_id = (select timetable_id from carillon.timetables where name = 'slow-hand')";
    await thinking.client.query(correct, [JSON.stringify(tableWith({ a: minuteIn(30) }))]);
    await thinking.client.query(correct, [JSON.stringify(tableWith({ a: minuteIn(31) }))]);
    // would wait for the job's row if the statement had added it
    await wakePlanner(engine.db.pool);
    expect(await waiting()).toEqual({ schedules: 0, jobs: 1 });
    await engine.rows("delete from graphile_worker._private_jobs");
    await thinking.commit();
    expect(await waiting()).toEqual({ schedules: 3, jobs: 1 });
    await settle();
    await using undone = await engine.begin();
    await undone.client.query(correct, [JSON.stringify(tableWith({ a: minuteIn(32) }))]);
    await undone[Symbol.asyncDispose]();
    expect(await waiting()).toEqual({ schedules: 0, jobs: 0 });
  });

  it("is waited for by the planner, which then plans by all of it", async () => {
    const { scheduleIds, settle } = await planned("raced");
    const dueAtMs = minuteIn(40);
    await using correcting = await engine.begin();
    await correcting.client.query(
      "update carillon.timetable_versions set parameters = $1 where timetable_id = (select timetable_id from carillon.timetables where name = 'raced')",
      [JSON.stringify(tableWith({ a: dueAtMs }))],
    );
    // they are due for planning, too, but the correction has their locks
    expect(await planDue(engine.db, { horizonMs: 3 * 86_400_000, leadMs: 1000 }, never)).toMatchObject({ buckets: 0 });
    await correcting.commit();
    await settle();
    const due = await engine.rows<{ due_at: Date }>(
      "select due_at from carillon.time_buckets where schedule_id = any ($1)",
      [scheduleIds],
    );
    expect(due.map((row) => row.due_at.getTime())).toEqual([dueAtMs, dueAtMs, dueAtMs]);
  });

  it("waits for a planner that has some of the schedules, and has them planned again", async () => {
    const { scheduleIds, waiting } = await planned("planning");
    await using planner = await engine.begin();
    await planner.client.query("select from carillon.schedules where schedule_id = $1 for no key update", [
      scheduleIds[1],
    ]);
    await using correcting = await engine.begin();
    const corrected = correcting.client.query(
      "update carillon.places set latitude = latitude + 1 where key like 'planning-%'",
    );
    await engine.waits(correcting);
    await planner.commit();
    await corrected;
    await correcting.commit();
    expect(await waiting()).toEqual({ schedules: 3, jobs: 1 });
  });

  it("may be made by a role that has no more than grants on these tables, and can call none of the functions", async () => {
    const { waiting, keys, settle } = await planned("granted");
    const { serverUrl } = inject("postgres");
    const role = `carillon_test_editor_${randomBytes(4).toString("hex")}`;
    await runStatement(serverUrl, `create role ${role} login password 'a-password'`);
    try {
      await engine.rows(`grant usage on schema carillon to ${role}`);
      await engine.rows(`grant select on carillon.place_timetables, carillon.timetables to ${role}`);
      await engine.rows(`grant select, insert, update, delete on carillon.timetable_versions to ${role}`);
      await engine.rows(`grant select, update on carillon.places to ${role}`);
      const theirs = new URL(urlOf(serverUrl, new URL(engine.url).pathname.slice(1)));
      theirs.username = role;
      theirs.password = "a-password";
      const client = new pg.Client({ connectionString: theirs.href });
      await client.connect();
      try {
        const id = "(select timetable_id from carillon.timetables where name = 'granted')";
        await client.query(`update carillon.timetable_versions set parameters = $1 where timetable_id = ${id}`, [
          JSON.stringify(tableWith({ a: minuteIn(45) })),
        ]);
        expect(await waiting()).toEqual({ schedules: 3, jobs: 1 });
        await settle();
        await client.query("update carillon.places set longitude = 1 where key = $1", [keys[0]]);
        expect(await waiting()).toEqual({ schedules: 1, jobs: 1 });
        await client.query(
          `insert into carillon.timetable_versions (timetable_id, effective_from, parameters) values (${id}, '2090-01-01', '{}')`,
        );
        // a table that shadows ours by the search path is not found by them
        await client.query(
          "create temporary table schedules (schedule_id bigint, place_id integer, next_due_at timestamptz)",
        );
        await client.query("set search_path = pg_temp, carillon");
        await settle();
        await client.query("update carillon.places set longitude = 2 where key = $1", [keys[0]]);
        expect(await waiting()).toEqual({ schedules: 1, jobs: 1 });
        for (const call of ["wake_planner()", "replan_schedules_at('{1}')"]) {
          await expect(client.query(`select carillon.${call}`)).rejects.toMatchObject({ code: "42501" });
        }
        await client.query("create temporary table mine (place_id integer)");
        await expect(
          client.query(
            "create trigger t after insert on mine for each statement execute function carillon.places_have_changed()",
          ),
        ).rejects.toMatchObject({ code: "42501" });
      } finally {
        await client.end();
      }
    } finally {
      await engine.rows(`drop owned by ${role}`);
      await runStatement(serverUrl, `drop role ${role}`);
    }
  });
});
