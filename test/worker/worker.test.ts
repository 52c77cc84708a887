import { describe, expect, it } from "vitest";
import type { Delivery, Outcome } from "../../src/channels/channel.ts";
import { createMemoryChannel } from "../../src/channels/memory.ts";
import { createLogger } from "../../src/logger.ts";
import { addGroupJobs } from "../../src/store/jobs.ts";
import { startWorker } from "../../src/worker/worker.ts";
import { createEngine, type Engine, type SeededMoment } from "../support/engine.ts";
import { createGate } from "../support/stories.ts";
import { until } from "../support/world.ts";

const leaseMs = 2000;

function start(
  engine: Engine,
  nodeName: string,
  outcomeOf: (delivery: Delivery) => Outcome | Promise<Outcome> = () => ({ kind: "accepted" }),
  changed: { slots?: number; window?: number } = {},
) {
  return startWorker({
    databaseUrl: engine.url,
    nodeName,
    version: "test",
    secretKey: null,
    channels: [createMemoryChannel({ outcomeOf })],
    leaseMs,
    heartbeatMs: 200,
    sweepMs: 200,
    leadMs: 600,
    pollMs: 50,
    drainMs: 3000,
    sendTimeoutMs: 1500,
    flushMs: 5,
    slots: 2,
    window: 100,
    windowAtMostOnce: 20,
    chunk: 10,
    logger: createLogger("silent", nodeName),
    ...changed,
  });
}
const closed = (engine: Engine, { bucketId }: SeededMoment) =>
  until(
    async () =>
      (
        await engine.rows("select from carillon.time_buckets where bucket_id = $1 and closed_at is not null", [
          bucketId,
        ])
      ).length === 1,
    "the bucket is closed",
  );
const wake = (engine: Engine, moment: SeededMoment, groups: number, share = 100) =>
  addGroupJobs(
    engine.db.pool,
    Array.from({ length: groups }, (_, groupNumber) => ({
      bucketId: moment.bucketId,
      groupNumber,
      dueAtMs: Math.round(moment.dueAtMs),
      share,
    })),
  );

describe("startWorker", () => {
  it("finds due work without any job, delivers it, and signs off when it is stopped, twice if need be", async () => {
    await using engine = await createEngine();
    const moment = await engine.moment({ users: 50, groups: 5 });
    const sent: string[] = [];
    const worker = await start(engine, "one", ({ address }) => {
      sent.push(address);
      return { kind: "accepted" };
    });
    await closed(engine, moment);
    await Promise.all([worker.stop(), worker.stop()]);
    expect(sent.toSorted()).toEqual(moment.users.map((user) => `${user.userId}#1`).toSorted());
    expect(
      await engine.rows("select stopped_at is not null as stopped, slots from carillon.nodes where node_id = $1", [
        worker.nodeId,
      ]),
    ).toEqual([{ stopped: true, slots: 2 }]);
  });

  it("arms its share ahead of the moment and leaves its other slots to what is due", async () => {
    await using engine = await createEngine();
    const ahead = await engine.moment({ users: 8, groups: 8, dueInMs: 4000 });
    const due = await engine.moment({ users: 8, groups: 2 });
    await using _ = await start(engine, "one", undefined, { slots: 4 });
    await wake(engine, ahead, 8, 2);
    const armed = () =>
      engine.rows("select from carillon.groups where bucket_id = $1 and claim_token is not null", [ahead.bucketId]);
    await until(async () => (await armed()).length === 2, "its share is armed");
    // two of the four slots hold what is ahead, and this needs another
    await closed(engine, due);
    expect((await armed()).length).toBeLessThanOrEqual(2);
    await closed(engine, ahead);
  });

  it("keeps its leases while its pool is busy: the heartbeat has a connection of its own", async () => {
    await using engine = await createEngine();
    const moment = await engine.moment({ users: 300, groups: 2 });
    const [toBusy, toQuiet] = [createGate(), createGate()];
    const busy = new Set(moment.users.filter((user) => user.hashSlot < 32_768).map((user) => `${user.userId}#1`));
    // the quiet group waits for its receiver throughout; the busy one has many outcomes to record
    await using _ = await start(
      engine,
      "first",
      async ({ address }) => {
        await (busy.has(address) ? toBusy : toQuiet).pass();
        return { kind: "accepted" };
      },
      { window: 300 },
    );
    await wake(engine, moment, 2);
    await until(
      async () => (await engine.group(moment, 0)).epoch + (await engine.group(moment, 1)).epoch === 2,
      "it holds both groups",
    );
    // another node, which would take over whatever lapses
    await using __ = await start(engine, "second");
    await using blocking = await engine.begin();
    await blocking.client.query("set local lock_timeout = 0");
    await blocking.client.query("lock table carillon.outcomes in access exclusive mode");
    toBusy.open();
    const waiting = () =>
      engine.rows(
        "select from pg_stat_activity where application_name = 'carillon worker first' and wait_event_type = 'Lock'",
      );
    await until(async () => (await waiting()).length === 4, "every connection of its pool is busy");
    const sinceMs = performance.now();
    await until(async () => performance.now() - sinceMs > leaseMs * 1.4, "a lease has gone by");
    expect(await engine.group(moment, 1)).toMatchObject({ epoch: 1, rescues: 0 });
    await blocking.commit();
    toQuiet.open();
    await closed(engine, moment);
  });
});
