import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { releaseGroup, renewLeases } from "../../src/store/lease.ts";
import { createEngine, deferAll, type Engine, intendSurely, type SeededMoment } from "../support/engine.ts";

let engine: Engine;
beforeAll(async () => {
  engine = await createEngine();
});
afterAll(() => engine[Symbol.asyncDispose]());

const leaseMs = 120_000;

describe("renewLeases", () => {
  it("extends what is held, says what is not, and asks nothing where nothing is held", async () => {
    const moment = await engine.moment({ groups: 3 });
    const [kept, lost, gone] = [
      await engine.claim(moment, 0),
      await engine.claim(moment, 1),
      await engine.claim(moment, 2),
    ];
    await engine.endLease(lost);
    const other = await engine.claim(moment, 1);
    await engine.rows("delete from carillon.groups where bucket_id = $1 and group_number = 2", [moment.bucketId]);
    const renewals = await renewLeases(engine.db.pool, [kept, lost, gone], leaseMs);
    expect(new Map(renewals.map(({ groupNumber, held, renewed }) => [groupNumber, { held, renewed }]))).toEqual(
      new Map([
        [0, { held: true, renewed: true }],
        [1, { held: false, renewed: false }],
        [2, { held: false, renewed: false }],
      ]),
    );
    expect((await engine.group(moment, 0)).lease_left_ms).toBeGreaterThan(60_000);
    expect(await engine.group(moment, 1)).toMatchObject({ epoch: 2, claim_token: other.claimToken });
    expect((await engine.group(moment, 1)).lease_left_ms).toBeLessThanOrEqual(60_000);
    expect(await renewLeases(engine.db.pool, [], leaseMs)).toEqual([]);
  });

  it("asks for epoch and token both", async () => {
    const moment = await engine.moment();
    const group = await engine.claim(moment);
    for (const stale of [
      { ...group, epoch: group.epoch - 1 },
      { ...group, claimToken: randomUUID() },
    ]) {
      expect(await renewLeases(engine.db.pool, [stale], leaseMs)).toMatchObject([{ held: false, renewed: false }]);
    }
  });

  it("does not wait for a group's row that a statement of its own has locked", async () => {
    const moment = await engine.moment({ groups: 2 });
    const groups = [await engine.claim(moment, 0), await engine.claim(moment, 1)];
    await using other = await engine.begin();
    await other.client.query(
      "select from carillon.groups where bucket_id = $1 and group_number = 0 for no key update",
      [moment.bucketId],
    );
    const renewals = await renewLeases(engine.db.pool, groups, leaseMs);
    expect(renewals.toSorted((one, two) => one.groupNumber - two.groupNumber)).toMatchObject([
      { held: true, renewed: false },
      { held: true, renewed: true },
    ]);
  });

  it("may renew a lease that has run out and that nobody took", async () => {
    const moment = await engine.moment();
    const group = await engine.claim(moment);
    await engine.endLease(group);
    expect(await renewLeases(engine.db.pool, [group], leaseMs)).toMatchObject([{ held: true, renewed: true }]);
  });
});

describe("releaseGroup", () => {
  const jobOf = ({ bucketId }: SeededMoment) =>
    engine.one<{ wait_ms: number; attempts: number; locked: boolean; jobs: number }>(
      `select (extract(epoch from run_at - clock_timestamp()) * 1000)::float8 as wait_ms, attempts,
         locked_at is not null as locked, (count(*) over ())::int as jobs
       from graphile_worker.jobs where key = 'carillon.group:' || $1 || ':0'`,
      [bucketId],
    );

  it("gives the group back with a fresh job, to be taken at once", async () => {
    const moment = await engine.moment();
    const group = await engine.claim(moment);
    expect(await releaseGroup(engine.db.pool, group, { waitMs: 0, fault: null })).toBe(true);
    const row = await engine.group(moment);
    expect(row).toMatchObject({ claim_token: null, lease_until: null, takeovers: 0, last_fault: null });
    expect(row.waits_ms).toBeLessThanOrEqual(0);
    expect(await jobOf(moment)).toMatchObject({ jobs: 1, attempts: 0, locked: false });
    expect(await engine.claim(moment)).toMatchObject({ epoch: 2 });
  });

  it("keeps the group from being taken for a while after a fault, which counts as a takeover", async () => {
    const moment = await engine.moment();
    const group = await engine.claim(moment);
    await releaseGroup(engine.db.pool, group, { waitMs: 60_000, fault: "its users can't be read" });
    const row = await engine.group(moment);
    expect(row).toMatchObject({ takeovers: 1, last_fault: "its users can't be read" });
    expect(row.waits_ms).toBeGreaterThan(30_000);
    expect((await jobOf(moment)).wait_ms).toBeGreaterThan(30_000);
    await expect(engine.claim(moment)).rejects.toThrow("could not be claimed");
  });

  it("refuses whom another claim has replaced", async () => {
    const moment = await engine.moment();
    const group = await engine.claim(moment);
    await engine.endLease(group);
    await engine.claim(moment);
    expect(await releaseGroup(engine.db.pool, group, { waitMs: 0, fault: "late" })).toBe(false);
    expect(await engine.group(moment)).toMatchObject({ epoch: 2, last_fault: null });
    expect((await engine.group(moment)).claim_token).not.toBeNull();
  });

  it("is taken again at the earliest next try, once paged through", async () => {
    const moment = await engine.moment({ users: 3 });
    const group = await engine.claim(moment);
    const chunk = await intendSurely(engine.db.pool, group);
    expect(chunk.pagedThrough).toBe(true);
    await deferAll(engine.db.pool, group, chunk, { waitMs: 120_000 });
    await engine.rows(
      "update carillon.deferred set next_try_at = clock_timestamp() + interval '50 s' where user_number = $1",
      [moment.users[1]?.userNumber],
    );
    await releaseGroup(engine.db.pool, group, { waitMs: 0, fault: null });
    const { waits_ms: waitsMs } = await engine.group(moment);
    expect(waitsMs).toBeGreaterThan(30_000);
    expect(waitsMs).toBeLessThanOrEqual(50_000);
    expect((await jobOf(moment)).wait_ms).toBeGreaterThan(30_000);
  });

  it("is taken again at once where members are left unsent, whatever is deferred", async () => {
    const moment = await engine.moment({ users: 3 });
    const group = await engine.claim(moment);
    const chunk = await intendSurely(engine.db.pool, group, { limit: 1 });
    await deferAll(engine.db.pool, group, chunk, { waitMs: 120_000 });
    await releaseGroup(engine.db.pool, group, { waitMs: 0, fault: null });
    expect((await engine.group(moment)).waits_ms).toBeLessThanOrEqual(0);
  });

  it("is taken again at the expiry where all that is left is parked, and no later than then", async () => {
    for (const parked of [true, false]) {
      const moment = await engine.moment({ users: 1, expiresAfterMs: 100_000 });
      const group = await engine.claim(moment);
      await deferAll(engine.db.pool, group, await intendSurely(engine.db.pool, group), { waitMs: 900_000 });
      if (parked)
        await engine.rows(
          "update carillon.deferred set parked_at = clock_timestamp(), next_try_at = clock_timestamp() where bucket_id = $1",
          [moment.bucketId],
        );
      await releaseGroup(engine.db.pool, group, { waitMs: 0, fault: null });
      const { waits_ms: waitsMs } = await engine.group(moment);
      expect(waitsMs).toBeGreaterThan(60_000);
      expect(waitsMs).toBeLessThanOrEqual(99_000);
    }
  });

  it("does not wait for deferred deliveries while it is halted", async () => {
    const moment = await engine.moment({ users: 1 });
    const group = await engine.claim(moment);
    await deferAll(engine.db.pool, group, await intendSurely(engine.db.pool, group), { waitMs: 900_000 });
    await engine.rows("update carillon.groups set halted_at = clock_timestamp() where bucket_id = $1", [
      moment.bucketId,
    ]);
    await releaseGroup(engine.db.pool, group, { waitMs: 0, fault: null });
    expect((await engine.group(moment)).waits_ms).toBeLessThanOrEqual(0);
  });

  it("adds a fresh job though its own is running, locked by this very worker", async () => {
    const moment = await engine.moment();
    const group = await engine.claim(moment);
    const key = `carillon.group:${moment.bucketId}:0`;
    await engine.rows("select graphile_worker.add_job('carillon.group', '{}'::json, job_key := $1)", [key]);
    await engine.rows(
      "update graphile_worker._private_jobs set locked_at = now(), locked_by = 'me', attempts = 1 where key = $1",
      [key],
    );
    await releaseGroup(engine.db.pool, group, { waitMs: 0, fault: null });
    expect(await jobOf(moment)).toMatchObject({ jobs: 1, attempts: 0, locked: false });
  });
});

it("a lost owner's record and release are refused alike", async () => {
  const moment = await engine.moment({ users: 2 });
  const group = await engine.claim(moment);
  const chunk = await intendSurely(engine.db.pool, group);
  await engine.endLease(group);
  await engine.claim(moment);
  expect(await deferAll(engine.db.pool, group, chunk)).toBe(false);
  expect(await engine.rows("select from carillon.deferred where bucket_id = $1", [moment.bucketId])).toEqual([]);
});
