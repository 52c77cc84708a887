import { once } from "node:events";
import { createServer, type Socket } from "node:net";
import { sql } from "kysely";
import { describe, expect, it } from "vitest";
import { isTransient, openDatabase, toCarillonError, withTransaction } from "../../src/store/database.ts";
import { createTestDatabase, startOwnServer } from "./database.ts";

describe("openDatabase", () => {
  it("bounds statements, locks and idle transactions, and reads days as text", async () => {
    await using test = await createTestDatabase();
    const { rows } = await test.database.pool.query(
      `select current_setting('statement_timeout') as statement, current_setting('lock_timeout') as lock,
              current_setting('idle_in_transaction_session_timeout') as idle, current_setting('timezone') as zone,
              date '2026-03-01' as day, array[date '2026-03-01', null] as days, 9007199254740993 as number`,
    );
    expect(rows).toEqual([
      {
        statement: "5s",
        lock: "3s",
        idle: "10s",
        zone: "UTC",
        day: "2026-03-01",
        days: ["2026-03-01", null],
        number: "9007199254740993",
      },
    ]);
  });

  it("lets the options of the URL win", async () => {
    await using test = await createTestDatabase();
    const url = `${test.url}?options=${encodeURIComponent("-c statement_timeout=7s")}`;
    await using own = openDatabase({ url, applicationName: "test", max: 1 });
    const { rows } = await own.pool.query(
      "select current_setting('statement_timeout') as s, current_setting('lock_timeout') as l",
    );
    expect(rows).toEqual([{ s: "7s", l: "3s" }]);
  });

  it("drops a connection whose statement was not answered, and names the fault transient", async () => {
    await using test = await createTestDatabase();
    // takes connections for Postgres until it is told to swallow what Postgres says
    await using proxy = await startProxy(test.url);
    await using database = openDatabase({ url: proxy.url, applicationName: "test", max: 1, statementTimeoutMs: 100 });
    const before = await backendOf(database);
    proxy.mute(true);
    const fault = await sql`select 1`.execute(database.kysely).catch((error: unknown) => error);
    expect(isTransient(fault)).toBe(true);
    expect(toCarillonError(fault)).toMatchObject({ code: "database_unavailable" });
    proxy.mute(false);
    expect(await backendOf(database)).not.toBe(before);
  });

  it("outlives a restart of Postgres and the death of a backend, in use or idle", async () => {
    await using own = await startOwnServer();
    const broken: string[] = [];
    await using database = openDatabase({
      url: own.url,
      applicationName: "test",
      max: 2,
      onError: (error) => broken.push(error.message),
    });
    const busy = await database.pool.connect();
    const { rows } = await busy.query<{ pid: number }>("select pg_backend_pid() as pid");
    const asleep = busy.query("select pg_sleep(60)").catch((error: unknown) => error);
    own.server.killBackend(rows[0]?.pid ?? 0);
    expect(isTransient(await asleep)).toBe(true);
    busy.release();
    await answers(database);
    await own.server.restartImmediate();
    await answers(database);
    expect(broken.length).toBeGreaterThan(0);
  }, 60_000);

  it("can be closed twice", async () => {
    await using test = await createTestDatabase();
    const database = openDatabase({ url: test.url, applicationName: "test", max: 1 });
    await Promise.all([database[Symbol.asyncDispose](), database[Symbol.asyncDispose]()]);
  });
});

describe("withTransaction", () => {
  it("keeps everything or nothing", async () => {
    await using test = await createTestDatabase();
    const { database } = test;
    await withTransaction(database, (transaction) =>
      transaction.insertInto("users").values({ user_id: "kept" }).execute(),
    );
    const failing = withTransaction(database, async (transaction) => {
      await transaction.insertInto("users").values({ user_id: "lost" }).execute();
      throw new Error("changed my mind");
    });
    await expect(failing).rejects.toThrow("changed my mind");
    expect(await database.kysely.selectFrom("users").select("user_id").execute()).toEqual([{ user_id: "kept" }]);
  });
});

describe("isTransient", () => {
  const coded = (code: string) => Object.assign(new Error("x"), { code });
  it.each(["40001", "40P01", "57P01", "57P03", "08006", "25006", "53300", "53100", "57014", "55P03", "ECONNREFUSED"])(
    "%s is",
    (code) => expect(isTransient(coded(code))).toBe(true),
  );
  it.each(["23505", "42601", "22012", "42P01", "ENOENT"])("%s is not", (code) => {
    expect(isTransient(coded(code))).toBe(false);
  });
  it("looks into causes and into several attempts at once", () => {
    expect(isTransient(new Error("x", { cause: coded("ECONNRESET") }))).toBe(true);
    expect(isTransient(new AggregateError([coded("ECONNREFUSED")]))).toBe(true);
    expect(isTransient("x")).toBe(false);
  });
});

async function backendOf(database: { pool: { query(text: string): Promise<{ rows: { pid?: number }[] }> } }) {
  return (await database.pool.query("select pg_backend_pid() as pid")).rows[0]?.pid;
}

/** Until Postgres has recovered, statements may fail; but only in ways that are known to pass. */
async function answers(database: { pool: { query(text: string): Promise<unknown> } }): Promise<void> {
  for (;;) {
    try {
      await database.pool.query("select 1");
      return;
    } catch (error) {
      if (!isTransient(error)) throw error;
    }
  }
}

async function startProxy(target: string) {
  const { hostname, port } = new URL(target);
  const { connect } = await import("node:net");
  const sockets = new Set<Socket>();
  let muted = false;
  const server = createServer((client) => {
    const postgres = connect(Number(port || 5432), hostname);
    for (const socket of [client, postgres]) {
      sockets.add(socket);
      socket.on("error", () => undefined);
      socket.on("close", () => {
        client.destroy();
        postgres.destroy();
      });
    }
    client.on("data", (data) => postgres.write(data));
    postgres.on("data", (data) => muted || client.write(data));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  const url = new URL(target);
  url.hostname = "127.0.0.1";
  url.port = String(typeof address === "object" ? address?.port : "");
  return {
    url: url.href,
    mute: (value: boolean) => {
      muted = value;
    },
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, "close");
    },
  };
}
