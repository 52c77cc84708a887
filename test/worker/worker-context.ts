import { createMemoryChannel } from "../../src/channels/memory.ts";
import { type ClockReading, monotonicMs } from "../../src/clock.ts";
import { createLogger, rateLimited } from "../../src/logger.ts";
import type { ClaimedGroup } from "../../src/store/claim.ts";
import { readClocks } from "../../src/store/clock.ts";
import type { Database } from "../../src/store/database.ts";
import type { WorkerContext } from "../../src/worker/context.ts";
import { DestinationBook } from "../../src/worker/destination-book.ts";
import { Heartbeat } from "../../src/worker/heartbeat.ts";
import { HeldGroup } from "../../src/worker/held-group.ts";
import { MessageBook } from "../../src/worker/message-book.ts";
import { PgClock } from "../../src/worker/pg-clock.ts";
import { createStatements } from "../../src/worker/statements.ts";
import { Window } from "../../src/worker/window.ts";
import { type Engine, testLeaseMs } from "../support/engine.ts";

const logger = createLogger("silent", "test");
const never = new AbortController().signal;

/** What the groups of one worker share, without the worker: nothing runs by itself. */
export async function workerContext(engine: Engine, changed: Partial<WorkerContext> = {}): Promise<WorkerContext> {
  const faults = rateLimited(logger);
  const clock = new PgClock();
  await clock.sample(() => readClocks(engine.db.pool));
  return {
    db: engine.db,
    statements: createStatements(changed.db ?? engine.db),
    nodeId: engine.nodeId,
    nodeName: "node",
    clock,
    heartbeat: new Heartbeat(
      engine.db,
      clock,
      { nodeId: engine.nodeId, heartbeatMs: 1000, leaseMs: testLeaseMs },
      faults,
    ),
    channels: new Map([["memory", createMemoryChannel()]]),
    destinations: new DestinationBook(engine.db, null),
    messages: new MessageBook(),
    windows: { at_least_once: new Window(100), at_most_once: new Window(20) },
    leaseMs: testLeaseMs,
    sendTimeoutMs: 20_000,
    flushMs: 5,
    chunk: 25,
    random: () => 0,
    logger,
    faults,
    draining: never,
    abandon: never,
    ...changed,
  };
}

/** What Postgres' clocks show in production, where they are one; epoch milliseconds. */
export function realTime(nowMs: number): ClockReading {
  return { realMs: nowMs, clockMs: nowMs, speed: 1 };
}

export function heldGroup(group: ClaimedGroup): HeldGroup {
  return new HeldGroup(group, monotonicMs() + testLeaseMs);
}

/**
 * The same database, over a network that loses replies: the statement with this name is run, and its reply lost, so
 * often.
 */
export function losingReplies(db: Database, statement: string, times: number): { db: Database; lost(): number } {
  let lost = 0;
  const losing = aroundStatements(db, async (name, run) => {
    const reply = await run();
    if (name !== statement || lost >= times) return reply;
    lost += 1;
    throw Object.assign(new Error("the connection was lost"), { code: "08006" });
  });
  return { db: losing, lost: () => lost };
}

/** The same database, telling of each named statement before it is run, and waiting for what that returns. */
export function announcing(db: Database, before: (statement: string) => Promise<void>): Database {
  return aroundStatements(db, async (name, run) => {
    await before(name);
    return run();
  });
}

function aroundStatements(
  db: Database,
  around: (statement: string, run: () => Promise<unknown>) => Promise<unknown>,
): Database {
  const pool = new Proxy(db.pool, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name, target);
      if (typeof value !== "function") return value;
      if (name !== "query") return value.bind(target);
      return (asked: { name?: string }, ...rest: unknown[]) =>
        around(asked.name ?? "", () => value.call(target, asked, ...rest));
    },
  });
  return { ...db, pool };
}
