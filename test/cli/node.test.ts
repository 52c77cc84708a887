import { createServer } from "node:net";
import { describe, expect, inject, it } from "vitest";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";
import { runStatement } from "../support/server.ts";
import { until } from "../support/world.ts";
import { type Running, startCarillon } from "./carillon.ts";

/** A port that was free a moment ago: a worker's is told nowhere, so that probes find it, it is set. */
async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (typeof address !== "object" || address === null) throw new Error("it listened nowhere");
  return address.port;
}

async function startWorker(test: TestDatabase): Promise<{ worker: Running; url: string }> {
  const port = await freePort();
  const worker = startCarillon(["worker"], {
    DATABASE_URL: test.url,
    PORT: String(port),
    CARILLON_LEASE_MS: "1000",
    CARILLON_HEARTBEAT_MS: "100",
    CARILLON_SEND_TIMEOUT_MS: "500",
  });
  return { worker, url: `http://127.0.0.1:${port}` };
}

async function statusOf(url: string): Promise<number> {
  return fetch(url).then(
    ({ status }) => status,
    () => 0,
  );
}

function answers(url: string, status: number): Promise<true> {
  return until(async () => ((await statusOf(url)) === status ? true : null), `${url} answers ${status}`);
}

/** Lets nobody connect to the database, and ends who is connected: what a worker sees of a Postgres that is away. */
async function setAway(test: TestDatabase, away: boolean): Promise<void> {
  const { serverUrl } = inject("postgres");
  await runStatement(serverUrl, `alter database ${test.name} with allow_connections ${!away}`);
  if (!away) return;
  await runStatement(
    serverUrl,
    `select pg_terminate_backend(pid) from pg_stat_activity where datname = '${test.name}'`,
  );
}

describe("carillon worker", () => {
  it("serves its health, and is not ready while Postgres does not answer its heartbeat", async () => {
    await using test = await createTestDatabase();
    const { worker, url } = await startWorker(test);
    await using _worker = worker;
    await answers(`${url}/readyz`, 200);
    expect(await (await fetch(`${url}/livez`)).json()).toEqual({ status: "live" });
    const elsewhere = await fetch(`${url}/v1/topics`);
    expect(elsewhere.status).toBe(404);
    expect(await elsewhere.json()).toMatchObject({ code: "not_found" });

    await setAway(test, true);
    await answers(`${url}/readyz`, 503);
    expect(await (await fetch(`${url}/readyz`)).json()).toMatchObject({ code: "database_unavailable" });
    expect(await statusOf(`${url}/livez`)).toBe(200);

    await setAway(test, false);
    await answers(`${url}/readyz`, 200);
    worker.kill("SIGTERM");
    expect(await worker.exited).toEqual({ code: 0, signal: null });
    expect(await statusOf(`${url}/livez`)).toBe(0);
  });

  it("ends at once at a second SIGTERM, whatever it waits for", async () => {
    await using test = await createTestDatabase();
    const { worker, url } = await startWorker(test);
    await using _worker = worker;
    await answers(`${url}/readyz`, 200);
    // it signs off in its row when it stops
    const holder = await test.database.pool.connect();
    try {
      await holder.query("begin");
      await holder.query("select from carillon.nodes for update");
      worker.kill("SIGTERM");
      await worker.said("stderr", /"worker stopping"/);
      worker.kill("SIGTERM");
      expect(await worker.exited).toEqual({ code: 143, signal: null });
      await worker.said("stderr", /asked to stop again: ending at once/);
    } finally {
      await holder.query("rollback");
      holder.release();
    }
  });

  it("says that its zone data is older than what has been used; newer than that, it plans again", async () => {
    await using test = await createTestDatabase();
    const { pool } = test.database;
    const attention = async () =>
      (await pool.query("select from carillon.attention where kind = 'older zone data'")).rowCount;
    await pool.query("update carillon.deployment set tzdata = '9999z'");
    {
      const { worker } = await startWorker(test);
      await using _worker = worker;
      expect(await worker.said("stderr", /zone data is older/)).toContain('"newest":"9999z"');
      expect(await attention()).toBe(1);
      worker.kill("SIGTERM");
      await worker.exited;
    }
    expect(await attention()).toBe(0);

    await pool.query("update carillon.deployment set tzdata = '1999a'");
    await pool.query(
      `with topic as (insert into carillon.topics (name) values ('zoned') returning topic_id)
       insert into carillon.schedules (topic_id, rule, next_due_at, tzdata)
       select topic_id, carillon.canonical_rule('{"kind": "wall", "time": "08:00", "zone": "Europe/Berlin"}'),
         carillon.clock() + interval '2 days', '1999a'
       from topic`,
    );
    const { worker } = await startWorker(test);
    await using _worker = worker;
    await worker.said("stderr", /planned again with newer zone data/);
    const planned =
      "select from carillon.schedules where tzdata = $1 and next_due_at < carillon.clock() + interval '25 h'";
    await until(async () => (await pool.query(planned, [process.versions.tz])).rowCount === 1, "it is planned again");
    const { rows } = await pool.query("select tzdata from carillon.deployment");
    expect(rows).toEqual([{ tzdata: process.versions.tz }]);
  });
});
