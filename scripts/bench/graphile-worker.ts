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
 * graphile-worker with one job per user, as one would write it first. A job that is completed is deleted. Either this
 * deletion is the only durable record of its user, and the task does nothing; or the task logs its user in a table, at its
 * best: all tasks that wait at one time share one insert. All that a task needs stands in its payload, so that it need not
 * ask the database.
 *
 * Jobs are added from within Postgres, which is the cheapest way: nothing of them travels to Node and back.
 */
export async function startGraphileWorker({
  databaseUrl,
  concurrency,
  logsUsers,
}: ContenderConfig): Promise<Contender> {
  const pool = new pg.Pool({ connectionString: databaseUrl, max: graphileSettings.poolSize });
  pool.on("error", () => undefined);
  pool.on("connect", (client) => void client.on("error", () => undefined));
  const ask = new pg.Client({ connectionString: databaseUrl });
  await ask.connect();
  let count = new SendCount(0);
  let runner: Runner | undefined;
  await ask.query(`
    create table if not exists public.job_log (moment timestamptz not null, user_number bigint not null,
      sent_at timestamptz not null, primary key (moment, user_number))`);
  const log = new SharedInsert(pool);
  const remind = (payload: unknown) => {
    count.add(1);
    return logsUsers ? log.record(String((payload as { user: string }).user)) : undefined;
  };

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
      log.moment = new Date(dueAtMs).toISOString();
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
      // a queue that was just empty is planned for as empty: each batch would be looked for in a scan of the whole queue
      // (1 k/s). In production autovacuum sees to this sooner or later.
      await ask.query("analyze graphile_worker._private_jobs");
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
      if (!logsUsers) {
        const { rows } = await ask.query<{ left: number }>(
          "select count(*)::int as left from graphile_worker._private_jobs",
        );
        return { recorded: count.sent - (rows[0]?.left ?? 0), ledgerBytes: null };
      }
      const { rows } = await ask.query<{ recorded: number; bytes: number }>(
        `select count(*)::int as recorded, pg_total_relation_size('public.job_log')::float8 as bytes
         from public.job_log where moment = $1`,
        [log.moment],
      );
      return { recorded: rows[0]?.recorded ?? 0, ledgerBytes: rows[0]?.bytes ?? 0 };
    },

    async [Symbol.asyncDispose]() {
      await runner?.stop().catch(() => undefined);
      await ask.end();
      if (!pool.ended && !pool.ending) await pool.end();
    },
  };
}

/** Users whose tasks wait at one time are recorded by one statement. */
class SharedInsert {
  moment = "";
  readonly #pool: pg.Pool;
  #waiting: { user: string; resolve: () => void; reject: (error: unknown) => void }[] = [];

  constructor(pool: pg.Pool) {
    this.#pool = pool;
  }

  record(user: string): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ user, resolve, reject });
      if (this.#waiting.length === 1) setImmediate(() => void this.#insert());
    });
  }

  async #insert(): Promise<void> {
    const batch = this.#waiting;
    this.#waiting = [];
    try {
      await this.#pool.query({
        name: "record",
        text: `insert into public.job_log (moment, user_number, sent_at)
               select $1::timestamptz, u, clock_timestamp() from unnest($2::bigint[]) u`,
        values: [this.moment, batch.map(({ user }) => user)],
      });
      for (const { resolve } of batch) resolve();
    } catch (error) {
      for (const { reject } of batch) reject(error);
    }
  }
}
