import pg from "pg";
import { startEmbeddedPostgres } from "../../src/cli/embedded-postgres.ts";
import { sleep } from "../../src/clock.ts";
import { planDue } from "../../src/planner/plan.ts";
import { openDatabase } from "../../src/store/database.ts";
import { migrate } from "../../src/store/migrate.ts";
import { startCarillon } from "./carillon.ts";
import { wallMs } from "./contender.ts";
import { insertUsers, serverSettings } from "./server.ts";

/** How the same users are spread over schedules; each shape is measured beside `one`, on a fresh copy of the database. */

export type ShapeName = "one" | "places" | "tail";

/** Distinct instants of an hour's backlog: one a second. */
const tailSeconds = 3600;

export interface ShapeOptions {
  readonly users: number;
  readonly places: number;
  readonly window: number;
}

export interface ShapeRun {
  readonly schedules: number;
  readonly groups: number;
  /** from the planner's waking (places: from the cut's) to the last bucket's closing */
  readonly runMs: number;
  readonly remindersPerS: number;
}

export interface PlanRun {
  readonly schedules: number;
  readonly subscriptions: number;
  readonly statements: number;
  readonly planMs: number;
  /** the same rows by one INSERT ... SELECT into a table of the same form */
  readonly insertMs: number;
}

export interface ShapeServer extends AsyncDisposable {
  readonly version: string;
  run(shape: ShapeName): Promise<ShapeRun>;
  plan(): Promise<PlanRun>;
}

/** Starts Postgres with the users, each with one endpoint, that all shapes subscribe. */
export async function startShapeServer({ users, places, window }: ShapeOptions): Promise<ShapeServer> {
  await using stack = new AsyncDisposableStack();
  const server = stack.use(await startEmbeddedPostgres({ settings: serverSettings }));
  const admin = await connect(server.url());
  stack.defer(() => admin.end());
  await admin.query("create database template_users");
  await populate(server.url("template_users"), users);
  const { rows } = await admin.query<{ version: string }>("select current_setting('server_version') as version");
  const resources = stack.move();
  let made = 0;

  async function onFresh<T>(run: (client: pg.Client, url: string) => Promise<T>): Promise<T> {
    made += 1;
    const name = `shape_${made}`;
    await admin.query(`create database ${name} template template_users`);
    const client = await connect(server.url(name));
    try {
      return await run(client, server.url(name));
    } finally {
      await client.end();
      await admin.query(`drop database ${name} with (force)`);
    }
  }

  return {
    version: rows[0]?.version ?? "",
    run: (shape) => onFresh((client, url) => runShape(client, url, shape, { users, places, window })),
    plan: () => onFresh((client, url) => runPlan(client, url, places)),
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  };
}

/** The moments lie in the past and their topic catches up with all: what is measured is the work, not the wait. */
async function runShape(client: pg.Client, url: string, shape: ShapeName, options: ShapeOptions): Promise<ShapeRun> {
  const { users, places, window } = options;
  const schedules = shape === "one" ? 1 : shape === "tail" ? tailSeconds : places;
  await client.query(
    `insert into carillon.schedules (topic_id, rule, next_due_at, planned_through)
     select 1, carillon.canonical_rule(jsonb_build_object(
       'kind', 'instant', 'at', to_timestamp(extract(epoch from now())::bigint - 60 - i))), null, now() - interval '2 hours'
     from generate_series(1, $1::int) i`,
    [schedules],
  );
  await client.query(
    `insert into carillon.subscriptions (schedule_id, user_number, hash_slot, subscribed_at)
     select 1 + user_number % $1, user_number, hash_slot, now() - interval '1 day'
     from carillon.users order by 1, hash_slot, user_number`,
    [schedules],
  );
  await client.query("vacuum (analyze)");
  await client.query("checkpoint");
  const contender = await startCarillon({
    name: "carillon",
    databaseUrl: url,
    window,
    concurrency: 0,
    logsUsers: true,
  });
  try {
    const fromMs = wallMs();
    if (shape === "places") {
      // many rules at one instant: a place each, were it not for the timetables, which are measured apart
      await client.query("select carillon.make_ledger_day((now() at time zone 'UTC')::date)");
      await client.query(
        `insert into carillon.time_buckets (schedule_id, topic_id, occurrence, due_at, expires_at)
         select schedule_id, topic_id, 'now', date_trunc('second', now()), now() + interval '1 day'
         from carillon.schedules`,
      );
      await client.query(
        "select graphile_worker.add_job('carillon.cut', json_build_object('second', extract(epoch from now())::bigint))",
      );
    } else {
      await client.query("update carillon.schedules set next_due_at = carillon.clock()");
      await client.query("select carillon.wake_planner()");
    }
    await untilClosed(client, schedules);
    const runMs = wallMs() - fromMs;
    const { rows } = await client.query<{ delivered: number; groups: number }>(
      "select sum(delivered)::int as delivered, count(*)::int as groups from carillon.groups",
    );
    const [counted] = rows;
    if (counted?.delivered !== users) throw new Error(`${shape}: ${counted?.delivered} of ${users} were delivered`);
    return { schedules, groups: counted.groups, runMs, remindersPerS: (users / runMs) * 1000 };
  } finally {
    await contender[Symbol.asyncDispose]();
  }
}

async function untilClosed(client: pg.Client, buckets: number): Promise<void> {
  for (;;) {
    const { rows } = await client.query<{ open: boolean; buckets: number }>(
      `select exists (select from carillon.time_buckets where closed_at is null) as open,
         (select count(*)::int from carillon.time_buckets) as buckets`,
    );
    if (rows[0]?.buckets === buckets && !rows[0].open) return;
    await sleep(20);
  }
}

/** Five slots at each place, all within one minute of tomorrow, everybody subscribed to one of them. */
async function runPlan(client: pg.Client, url: string, places: number): Promise<PlanRun> {
  const times = { a: "12:00", b: "12:00", c: "12:00", d: "12:00", e: "12:00" };
  const days = Object.fromEntries(
    [0, 1, 2, 3, 4].map((ahead) => [new Date(wallMs() + (ahead - 1) * 86_400_000).toISOString().slice(0, 10), times]),
  );
  // a timetable has a version by the time that it is committed
  await client.query("begin");
  await client.query("insert into carillon.timetables (name, kind) values ('bench', 'table')");
  await client.query(
    `insert into carillon.timetable_versions (timetable_id, parameters)
     select timetable_id, $1 from carillon.timetables where name = 'bench'`,
    [JSON.stringify({ days })],
  );
  await client.query("commit");
  await client.query(
    `insert into carillon.places (key, name, latitude, longitude, zone, timetable_id)
     select 'place-' || i, 'Place ' || i, i * 0.01, i * 0.01, 'UTC', t.timetable_id
     from carillon.timetables t, generate_series(1, $1::int) i where t.name = 'bench'`,
    [places],
  );
  await client.query(
    `insert into carillon.schedules (topic_id, rule, place_id, next_due_at, planned_through)
     select 1, carillon.canonical_rule(jsonb_build_object('kind', 'timetable', 'placeId', place_id, 'slot', slot)),
       place_id, carillon.clock(), carillon.clock()
     from carillon.places, unnest(array['a', 'b', 'c', 'd', 'e']) as s (slot)
     where key like 'place-%'`,
  );
  await client.query(
    `insert into carillon.subscriptions (schedule_id, user_number, hash_slot, subscribed_at)
     select 1 + user_number % $1, user_number, hash_slot, now() - interval '1 day'
     from carillon.users order by 1, hash_slot, user_number`,
    [places * 5],
  );
  await client.query("vacuum (analyze)");
  await client.query("checkpoint");

  await using db = openDatabase({ url, applicationName: "bench planner", max: 4 });
  const statements = countStatements(db.pool);
  const options = { horizonMs: 86_400_000, leadMs: 10_000, tzdata: process.versions.tz };
  const fromMs = wallMs();
  const { schedules, buckets } = await planDue(db, options, new AbortController().signal);
  const planMs = wallMs() - fromMs;
  if (schedules !== places * 5 || buckets !== places * 5) throw new Error(`${buckets} of ${places * 5} were planned`);

  await client.query("create table carillon.bare (like carillon.time_buckets including all)");
  const insertFromMs = wallMs();
  await client.query(
    `insert into carillon.bare (schedule_id, topic_id, occurrence, due_at, expires_at)
     select schedule_id, topic_id, occurrence, due_at, expires_at from carillon.time_buckets`,
  );
  const insertMs = wallMs() - insertFromMs;
  const { rows } = await client.query<{ count: number }>("select count(*)::int as count from carillon.subscriptions");
  return { schedules, subscriptions: rows[0]?.count ?? 0, statements: statements(), planMs, insertMs };
}

/** Statements that reach Postgres through this pool from now on. */
function countStatements(pool: pg.Pool): () => number {
  let count = 0;
  pool.on("connect", (client) => {
    const query = client.query.bind(client);
    Object.assign(client, {
      query: (...args: Parameters<typeof query>) => {
        count += 1;
        return query(...args);
      },
    });
  });
  return () => count;
}

async function populate(url: string, users: number): Promise<void> {
  await migrate(url);
  const client = await connect(url);
  try {
    await insertUsers(client, users);
    await client.query(
      `insert into carillon.topics (name, title, body, catch_up, expires_after_ms)
       values ('launch', 'We are live', 'Join us', 'all', 86400000)`,
    );
    await client.query("vacuum (freeze, analyze)");
  } finally {
    await client.end();
  }
}

async function connect(url: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url });
  // a database that is dropped ends its connections
  client.on("error", () => undefined);
  await client.connect();
  return client;
}
