import { startWorkerNode } from "../../src/app.ts";
import { createMemoryChannel } from "../../src/channels/memory.ts";
import { sleep } from "../../src/clock.ts";
import { readConfig } from "../../src/config.ts";
import { runUntilSignal, untilAborted } from "../../src/lifecycle.ts";
import { createLogger } from "../../src/logger.ts";
import { openDatabase } from "../../src/store/database.ts";
import { inTransaction } from "../../src/store/executor.ts";
import { wakePlanner } from "../../src/store/jobs.ts";
import { type Audit, type Contender, type ContenderConfig, type Moment, SendCount, wallMs } from "./contender.ts";

/** Often enough not to add to what is measured, seldom enough not to be a load; asked only after the last send. */
const askEveryMs = 2;

/**
 * A whole node of Carillon as it is deployed - planner, jobs, leases, heartbeat, gate, intents, outcomes - with the
 * memory channel in place of the network. What is not the default is the window, and chunks of a quarter of it.
 */
export async function startCarillon({ databaseUrl, window }: ContenderConfig): Promise<Contender> {
  const config = readConfig({
    DATABASE_URL: databaseUrl,
    CARILLON_NODE_NAME: "bench",
    CARILLON_WINDOW: String(window),
    CARILLON_CHUNK: String(Math.max(500, Math.floor(window / 4))),
    LOG_LEVEL: "error",
  });
  const logger = createLogger(config.logLevel, "bench");
  let count = new SendCount(0);
  const channel = createMemoryChannel({ log: (deliveries) => count.add(deliveries.length) });
  const up = Promise.withResolvers<void>();
  const stopping = new AbortController();
  const running = runUntilSignal(
    async (lifecycle) => {
      await startWorkerNode({ config, lifecycle, logger }, [channel]);
      up.resolve();
      await untilAborted(AbortSignal.any([lifecycle.stopping, stopping.signal]));
    },
    { log: logger },
  );
  running.catch(up.reject);
  await up.promise;
  const db = openDatabase({ url: databaseUrl, applicationName: "bench carillon", max: 1, statementTimeoutMs: 0 });

  /** Plan, cut and jobs lie behind it when the first group is in a worker's hands. */
  async function untilArmed({ scheduleId }: Moment): Promise<void> {
    for (;;) {
      const { rows } = await db.pool.query<{ armed: boolean }>(
        `select exists (
           select from carillon.groups g join carillon.time_buckets b on b.bucket_id = g.bucket_id
           where b.schedule_id = $1 and g.started_at is not null) as armed`,
        [scheduleId],
      );
      if (rows[0]?.armed) return;
      await sleep(askEveryMs);
    }
  }

  async function untilClosed({ scheduleId }: Moment, signal: AbortSignal): Promise<void> {
    for (;;) {
      const { rows } = await db.pool.query<{ closed: boolean }>(
        "select closed_at is not null as closed from carillon.time_buckets where schedule_id = $1",
        [scheduleId],
      );
      if (rows[0]?.closed) return;
      await sleep(askEveryMs, signal);
    }
  }

  return {
    async enqueue(moment) {
      count = new SendCount(moment.users);
      await inTransaction(db, async (client) => {
        await client.query(
          `update carillon.schedules
           set rule = carillon.canonical_rule(jsonb_build_object('kind', 'instant', 'at', $1::text)),
             next_due_at = carillon.clock(), planned_through = carillon.clock()
           where schedule_id = $2`,
          [new Date(moment.dueAtMs).toISOString(), moment.scheduleId],
        );
        await wakePlanner(client);
      });
      await untilArmed(moment);
    },

    async finish(moment, signal) {
      const firstSendAtMs = await count.whenAllSent(signal);
      await untilClosed(moment, signal);
      return { firstSendAtMs, recordedAtMs: wallMs() };
    },

    async audit({ scheduleId }): Promise<Audit> {
      const { rows } = await db.pool.query<{ recorded: number; bytes: number }>(
        `select
           (select count(*)::int from carillon.time_buckets b join carillon.outcomes o on o.bucket_id = b.bucket_id,
              generate_series(0, length(o.codes) - 1) i
            where b.schedule_id = $1 and get_byte(o.codes, i) = 1) as recorded,
           (select sum(pg_total_relation_size(c.oid))::float8 from pg_class c
            join pg_inherits i on i.inhrelid = c.oid
            where i.inhparent in ('carillon.chunks'::regclass, 'carillon.outcomes'::regclass,
              'carillon.failures'::regclass)) as bytes`,
        [scheduleId],
      );
      return { recorded: rows[0]?.recorded ?? 0, ledgerBytes: rows[0]?.bytes ?? 0 };
    },

    async [Symbol.asyncDispose]() {
      await db[Symbol.asyncDispose]();
      stopping.abort();
      await running;
    },
  };
}
