import { Logger, type Runner, run } from "graphile-worker";
import pg from "pg";
import { sleep } from "../../src/clock.ts";
import { type Contender, type ContenderConfig, SendCount, wallMs } from "./contender.ts";

/** What its documentation on performance offers: a local queue, batched completion, many jobs at once, prepared statements. */
export const graphileSettings = {
  localQueueSize: 1000,
  completeJobBatchDelayMs: 0,
  pollMs: 100,
  poolSize: 10,
  enqueueBatch: 1000,
} as const;

const askEveryMs = 2;

/**
 * graphile-worker with one job per user, as one would write it first. The task does nothing; a job that is completed is
 * deleted, and this deletion is the only durable record that its user was reminded. All that a task needs stands in its
 * payload, so that it need not ask the database.
 *
 * Jobs are added from within Postgres, which is the cheapest way: nothing of them travels to Node and back.
 */
export async function startGraphileWorker({ databaseUrl, concurrency }: ContenderConfig): Promise<Contender> {
  const pool = new pg.Pool({ connectionString: databaseUrl, max: graphileSettings.poolSize });
  pool.on("error", () => undefined);
  pool.on("connect", (client) => void client.on("error", () => undefined));
  const ask = new pg.Client({ connectionString: databaseUrl });
  await ask.connect();
  let count = new SendCount(0);
  let runner: Runner | undefined;
  const remind = () => count.add(1);

  async function startRunner(): Promise<Runner> {
    return run({
      pgPool: pool,
      taskList: { remind },
      concurrency,
      pollInterval: graphileSettings.pollMs,
      noHandleSignals: true,
      noPreparedStatements: false,
      logger: new Logger(() => () => undefined),
      parsedCronItems: [],
      preset: {
        worker: {
          localQueue: { size: graphileSettings.localQueueSize },
          completeJobBatchDelay: graphileSettings.completeJobBatchDelayMs,
        },
      },
    });
  }

  return {
    async enqueue({ users, dueAtMs }) {
      // so that it does not look at its jobs again with each batch that is added
      await runner?.stop();
      count = new SendCount(users);
      const batches = Math.ceil(users / graphileSettings.enqueueBatch);
      for (let batch = 0; batch < batches; batch += 1) {
        await ask.query({
          name: "enqueue",
          text: `
            select from graphile_worker.add_jobs((
              select array_agg((
                'remind', json_build_object('user', e.user_number::text, 'address', e.address), null, $3::timestamptz, 3,
                null, null, null
              )::graphile_worker.job_spec)
              from carillon.endpoints e
              where e.user_number > $1::bigint and e.user_number <= $2::bigint))`,
          values: [
            batch * graphileSettings.enqueueBatch,
            Math.min(users, (batch + 1) * graphileSettings.enqueueBatch),
            new Date(dueAtMs).toISOString(),
          ],
        });
      }
    },

    async finish(_, signal) {
      runner = await startRunner();
      const firstSendAtMs = await count.whenAllSent(signal);
      for (;;) {
        const { rowCount } = await ask.query("select from graphile_worker._private_jobs limit 1");
        if (rowCount === 0) break;
        await sleep(askEveryMs, signal);
      }
      return { firstSendAtMs, recordedAtMs: wallMs() };
    },

    async audit() {
      const { rows } = await ask.query<{ left: number }>(
        "select count(*)::int as left from graphile_worker._private_jobs",
      );
      return { recorded: count.sent - (rows[0]?.left ?? 0), ledgerBytes: null };
    },

    async [Symbol.asyncDispose]() {
      await runner?.stop().catch(() => undefined);
      await ask.end();
      if (!pool.ended && !pool.ending) await pool.end();
    },
  };
}
