import type pg from "pg";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { createLogger, rateLimited } from "../../src/logger.ts";
import { openDatabase } from "../../src/store/database.ts";
import { Heartbeat } from "../../src/worker/heartbeat.ts";
import { HeldGroup } from "../../src/worker/held-group.ts";
import { PgClock } from "../../src/worker/pg-clock.ts";
import { createEngine, type Engine, testLeaseMs } from "../support/engine.ts";
import { until } from "../support/world.ts";

let engine: Engine;
beforeAll(async () => {
  engine = await createEngine();
});
afterAll(() => engine[Symbol.asyncDispose]());

const faults = rateLimited(createLogger("silent", "test"));
/** as much longer than a lease claimed in these tests that a renewal shows */
const leaseMs = testLeaseMs * 10;

function heartbeatOf(db = engine.db) {
  const clock = new PgClock();
  return { clock, heartbeat: new Heartbeat(db, clock, { nodeId: engine.nodeId, heartbeatMs: 20, leaseMs }, faults) };
}

afterEach(() => void vi.restoreAllMocks());

/** The same pool, whose replies to the statement with this name take so long: by this process' clock, and at once. */
function slowly(pool: pg.Pool, statement: string, tookMs: number): pg.Pool {
  const nowMs = performance.now.bind(performance);
  return new Proxy(pool, {
    get(target, property) {
      if (property !== "query") return Reflect.get(target, property, target);
      return async (query: string | pg.QueryConfig, values?: unknown[]) => {
        const reply = await target.query(query, values);
        if (typeof query !== "string" && query.name === statement)
          vi.spyOn(performance, "now").mockImplementation(() => nowMs() + tookMs);
        return reply;
      };
    },
  });
}

describe("Heartbeat", () => {
  it("renews what is held, keeps Postgres' clock and tells that the node lives", async () => {
    const moment = await engine.moment();
    const held = new HeldGroup(await engine.claim(moment), performance.now() + 10);
    const { clock, heartbeat } = heartbeatOf();
    await engine.rows("update carillon.nodes set heartbeat_at = now() - interval '1 hour'");
    using _ = heartbeat.hold(held);
    expect(heartbeat.held).toBe(1);
    await heartbeat.beat();
    expect((await engine.group(moment)).lease_left_ms).toBeGreaterThan(testLeaseMs);
    expect(held.outlives(testLeaseMs)).toBe(true);
    expect(Math.abs(clock.nowMs() - Date.now())).toBeLessThan(60_000);
    const [node] = await engine.rows<{ fresh: boolean; clock_skew_ms: number | null }>(
      "select heartbeat_at > now() - interval '10 min' as fresh, clock_skew_ms from carillon.nodes where node_id = $1",
      [engine.nodeId],
    );
    expect(node?.fresh).toBe(true);
    expect(node?.clock_skew_ms).not.toBeNull();
  });

  it("counts a lease from before the statement that renewed it was sent", async () => {
    const held = new HeldGroup(await engine.claim(await engine.moment()), performance.now() + 10);
    const { heartbeat } = heartbeatOf({ ...engine.db, pool: slowly(engine.db.pool, "renew_leases", leaseMs / 2) });
    using _ = heartbeat.hold(held);
    await heartbeat.beat();
    expect(held.outlives(leaseMs / 2)).toBe(false);
    expect(held.outlives(1)).toBe(true);
  });

  it("renews nothing that was let go", async () => {
    const moment = await engine.moment();
    const held = new HeldGroup(await engine.claim(moment), performance.now());
    const { heartbeat } = heartbeatOf();
    heartbeat.hold(held)[Symbol.dispose]();
    await heartbeat.beat();
    expect(heartbeat.held).toBe(0);
    expect((await engine.group(moment)).lease_left_ms).toBeLessThanOrEqual(testLeaseMs);
  });

  it("tells a group that it is lost when another claim has it, and keeps the others", async () => {
    const moment = await engine.moment({ groups: 2 });
    const taken = new HeldGroup(await engine.claim(moment, 0), performance.now() + testLeaseMs);
    const kept = new HeldGroup(await engine.claim(moment, 1), performance.now() + testLeaseMs);
    await engine.endLease(taken.group);
    await engine.claim(moment, 0);
    const { heartbeat } = heartbeatOf();
    using _ = heartbeat.hold(taken);
    using __ = heartbeat.hold(kept);
    await heartbeat.beat();
    expect(taken.lost.aborted).toBe(true);
    expect(kept.lost.aborted).toBe(false);
    expect(kept.outlives(testLeaseMs)).toBe(true);
  });

  it("lets the lease of a stuck step run out, and gives the group up", async () => {
    const moment = await engine.moment();
    const held = new HeldGroup(await engine.claim(moment), performance.now() + testLeaseMs);
    held.step(performance.now() - 1);
    const { heartbeat } = heartbeatOf();
    using _ = heartbeat.hold(held);
    await heartbeat.beat();
    expect(held.lost.aborted).toBe(true);
    expect((await engine.group(moment)).lease_left_ms).toBeLessThanOrEqual(testLeaseMs);
  });

  it("does not take for lost what a statement of its own has locked just now", async () => {
    const moment = await engine.moment();
    const held = new HeldGroup(await engine.claim(moment), performance.now() + testLeaseMs);
    const { heartbeat } = heartbeatOf();
    using _ = heartbeat.hold(held);
    await using intending = await engine.begin();
    await intending.client.query("select from carillon.groups where bucket_id = $1 for no key update", [
      moment.bucketId,
    ]);
    await heartbeat.beat();
    expect(held.lost.aborted).toBe(false);
    expect(held.outlives(testLeaseMs * 2)).toBe(false);
  });

  it("goes on beating when Postgres was away, until it is stopped", async () => {
    await using own = openDatabase({ url: engine.url, applicationName: "beating", max: 1, onError: () => undefined });
    const moment = await engine.moment();
    const held = new HeldGroup(await engine.claim(moment), performance.now() + testLeaseMs);
    const { heartbeat } = heartbeatOf(own);
    using _ = heartbeat.hold(held);
    const stop = new AbortController();
    const running = heartbeat.run(stop.signal);
    await until(async () => ((await engine.group(moment)).lease_left_ms ?? 0) > testLeaseMs, "it beats");
    await engine.rows("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'beating'");
    await engine.endLease(held.group);
    await until(async () => ((await engine.group(moment)).lease_left_ms ?? 0) > testLeaseMs, "it beats again");
    expect(held.lost.aborted).toBe(false);
    stop.abort();
    await running;
  });
});
