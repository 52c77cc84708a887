import pg from "pg";
import { startEmbeddedPostgres } from "../../src/cli/embedded-postgres.ts";
import { migrate } from "../../src/store/migrate.ts";
import { postmasterOf } from "./usage.ts";

/** The Postgres that all contenders are measured on, with a template that holds the users. */
export interface BenchServer extends AsyncDisposable {
  readonly version: string;
  readonly postmaster: number;
  /** a connection to the server that belongs to the bench */
  readonly client: pg.Client;
  /** users subscribed to schedule 1, and to schedule 2, which is the one that counts */
  readonly warmUpUsers: number;
  readonly users: number;
  /** a database with the users, that nobody has touched yet */
  fresh(): Promise<FreshDatabase>;
}

export interface FreshDatabase extends AsyncDisposable {
  readonly url: string;
  /** leaves nothing to be vacuumed, or to be written out, from what went before */
  tidy(): Promise<void>;
}

/** As durable as production: a commit is on disk when it is answered. */
export const serverSettings = {
  fsync: "on",
  synchronous_commit: "on",
  full_page_writes: "on",
  shared_buffers: "512MB",
  max_wal_size: "8GB",
  // none in the middle of a run: each starts right after one
  checkpoint_timeout: "1h",
} as const;

const template = "bench_template";
const warmUpUsersMax = 50_000;

/**
 * Starts Postgres and subscribes the users to schedules whose moments are not set yet: some to the first, all to the
 * second. Rows lie as an import leaves them: in firing order.
 * @throws CarillonError bad_configuration, database_unavailable
 */
export async function startBenchServer(users: number): Promise<BenchServer> {
  await using stack = new AsyncDisposableStack();
  const server = stack.use(await startEmbeddedPostgres({ settings: serverSettings }));
  const client = new pg.Client({ connectionString: server.url() });
  client.on("error", () => undefined);
  await client.connect();
  stack.defer(() => client.end());
  await client.query(`create database ${template}`);
  const warmUpUsers = Math.min(users, warmUpUsersMax);
  await populate(server.url(template), warmUpUsers, users);
  const { rows } = await client.query<{ version: string }>("select current_setting('server_version') as version");
  const postmaster = await postmasterOf(server.dataDir);
  const resources = stack.move();
  let made = 0;

  return {
    version: rows[0]?.version ?? "",
    postmaster,
    client,
    warmUpUsers,
    users,
    async fresh() {
      made += 1;
      const name = `bench_${made}`;
      await client.query(`create database ${name} template ${template}`);
      const url = server.url(name);
      return {
        url,
        tidy: () => tidy(url),
        [Symbol.asyncDispose]: async () => void (await client.query(`drop database ${name} with (force)`)),
      };
    },
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  };
}

async function tidy(url: string): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  await client.query("vacuum");
  await client.query("checkpoint");
  await client.end();
}

/** Users with one endpoint each, in firing order, as an import leaves them. */
export async function insertUsers(client: pg.Client, users: number): Promise<void> {
  await client.query("insert into carillon.users (user_id) select 'user-' || i from generate_series(1, $1::int) i", [
    users,
  ]);
  await client.query(
    `insert into carillon.endpoints (hash_slot, user_number, ordinal, channel, address, zone, locale)
     select hash_slot, user_number, 1, 'memory', user_id, 'Europe/Berlin', 'de'
     from carillon.users order by hash_slot, user_number`,
  );
}

async function populate(url: string, warmUpUsers: number, users: number): Promise<void> {
  await migrate(url);
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    await insertUsers(client, users);
    await client.query("insert into carillon.topics (name, title, body) values ('launch', 'We are live', 'Join us')");
    await client.query(
      `insert into carillon.schedules (topic_id, rule)
       select topic_id, carillon.canonical_rule(jsonb_build_object('kind', 'instant', 'at', at))
       from carillon.topics, unnest(array['2099-01-01T00:00:00Z', '2099-01-02T00:00:00Z']) with ordinality as a (at, nth)
       order by nth`,
    );
    await client.query(
      `insert into carillon.subscriptions (schedule_id, user_number, hash_slot, subscribed_at)
       select schedule_id, user_number, hash_slot, now() - interval '1 day'
       from carillon.schedules
       join carillon.users on user_number <= case schedule_id when 1 then $1::int else $2::int end
       order by schedule_id, hash_slot, user_number`,
      [warmUpUsers, users],
    );
    await client.query("vacuum (freeze, analyze)");
  } finally {
    await client.end();
  }
}
