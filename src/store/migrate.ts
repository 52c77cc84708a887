import { createHash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Logger as JobLogger, runMigrations } from "graphile-worker";
import type { Pool, PoolClient } from "pg";
import { sleep } from "../clock.ts";
import { CarillonError } from "../errors.ts";
import type { Logger } from "../logger.ts";
import { codeOf, type Database, openDatabase } from "./database.ts";

export interface MigrateOptions {
  readonly log?: Pick<Logger, "info">;
  /** holds `migrations/` and `views/`; default: the package's own `db/` */
  readonly directory?: string;
  readonly signal?: AbortSignal;
}

/** Both src/store/ and dist/store/ lie two below the root of the package. */
const packagedDirectory = fileURLToPath(new URL("../../db/", import.meta.url));
const migrationName = /^\d{4}_[a-z0-9_]+\.sql$/;
/** in carillon.migrations, beside the names of files: the views, all together */
const viewsEntry = "views";
/** any number that no other program on this database uses for an advisory lock of its own */
const lockKey = 7_203_981_554;

interface SqlFile {
  readonly name: string;
  readonly text: string;
  readonly sha256: string;
}

/**
 * Brings a database up to date: graphile-worker's own schema, then each file of db/migrations that it hasn't had, in
 * order and each in a transaction, then the views of db/views, all in one transaction, when one of them or anything
 * below them changed. Programs that start together wait for each other, and a second run finds nothing to do.
 *
 * Files of db/views own every view of the schema `carillon`: all are dropped before anything changes below them. A
 * view of somebody else's that stands on them stops the migration rather than being dropped along.
 *
 * @param url needs the rights to create schemas, tables and functions. Not through a pooler in transaction mode: the
 *   lock belongs to the session
 * @returns names of what was applied, in order
 * @throws CarillonError `schema_out_of_date` where a file changed after it was applied, `bad_configuration` where a
 *   file's name isn't NNNN_name.sql, or the signal's reason; else the driver's error
 */
export async function migrate(url: string, options: MigrateOptions = {}): Promise<{ applied: string[] }> {
  const { log, directory = packagedDirectory, signal } = options;
  const migrations = await readMigrations(directory);
  const views = await readSqlFiles(join(directory, "views"));
  await using database = openDatabase({
    url,
    applicationName: "carillon migrate",
    max: 3,
    statementTimeoutMs: 0,
    // a migration that waits for a table makes everybody behind it wait as well: better to fail and be tried again
    lockTimeoutMs: 10_000,
    idleInTransactionTimeoutMs: 0,
  });
  const client = await database.pool.connect();
  try {
    await takeLock(client, signal);
    await installJobSchema(database.pool);
    await client.query(
      `create schema if not exists carillon;
       create table if not exists carillon.migrations (
         name text primary key,
         sha256 text not null,
         applied_at timestamptz not null default clock_timestamp()
       )`,
    );
    const pending = pendingOf(migrations, await appliedTo(client));
    const applied: string[] = [];
    if (pending.length > 0) await inTransaction(client, () => dropViews(client));
    for (const file of pending) {
      signal?.throwIfAborted();
      await inTransaction(client, async () => {
        await runFile(client, file);
        await record(client, file.name, file.sha256);
      });
      log?.info({ migration: file.name }, "migrated");
      applied.push(file.name);
    }
    if (await createViews(client, views)) {
      log?.info({ views: views.length }, "views created");
      applied.push(viewsEntry);
    }
    if (await keepClockReal(client)) log?.info({}, "a development clock was taken out: the database is for production");
    return { applied };
  } finally {
    // ends the session, and with it the lock
    client.release(true);
  }
}

/** Creates or updates the schema `graphile_worker`, which keeps the jobs. */
export async function installJobSchema(pool: Pool): Promise<void> {
  await runMigrations({ pgPool: pool, logger: new JobLogger(() => () => undefined), noHandleSignals: true });
}

/**
 * Refuses a database that lacks a migration of this program. A database that is ahead is welcome: during a rolling
 * deploy the old program still runs on the new schema.
 *
 * @throws CarillonError `schema_out_of_date`, or the driver's error
 */
export async function assertMigrated(db: Pick<Database, "pool">, directory = packagedDirectory): Promise<void> {
  const migrations = await readMigrations(directory);
  const applied = await appliedTo(db.pool);
  const missing = pendingOf(migrations, applied).map((file) => file.name);
  if (missing.length > 0) {
    throw new CarillonError(
      "schema_out_of_date",
      `The database lacks ${missing.length} of ${migrations.length} migrations (${missing[0]} first): run carillon migrate.`,
    );
  }
}

/** Tries again and again instead of waiting inside Postgres, so that an abort is heard. */
async function takeLock(client: PoolClient, signal: AbortSignal | undefined): Promise<void> {
  for (;;) {
    signal?.throwIfAborted();
    const { rows } = await client.query<{ taken: boolean }>("select pg_try_advisory_lock($1) as taken", [lockKey]);
    if (rows[0]?.taken) return;
    await sleep(100, signal);
  }
}

async function appliedTo(client: Pool | PoolClient): Promise<ReadonlyMap<string, string>> {
  try {
    const { rows } = await client.query<{ name: string; sha256: string }>(
      "select name, sha256 from carillon.migrations",
    );
    return new Map(rows.map(({ name, sha256 }) => [name, sha256]));
  } catch (error) {
    // no such table or schema: nothing was ever applied
    if (codeOf(error) === "42P01" || codeOf(error) === "3F000") return new Map();
    throw error;
  }
}

function pendingOf(migrations: readonly SqlFile[], applied: ReadonlyMap<string, string>): readonly SqlFile[] {
  const changed = migrations.find((file) => applied.has(file.name) && applied.get(file.name) !== file.sha256);
  if (changed !== undefined) {
    throw new CarillonError(
      "schema_out_of_date",
      `${changed.name} was changed after this database had it. Migrations only go forward: restore it and write a new one.`,
    );
  }
  return migrations.filter((file) => !applied.has(file.name));
}

async function runFile(client: PoolClient, file: SqlFile): Promise<void> {
  try {
    await client.query(file.text);
  } catch (error) {
    if (error instanceof Error) error.message = `${file.name}: ${error.message}`;
    throw error;
  }
}

/** A restored copy, or a hand that replaced it, may have left production with a clock that lives at another time. */
async function keepClockReal(client: PoolClient): Promise<boolean> {
  const { rows: found } = await client.query<{ there: boolean }>(
    "select to_regprocedure('carillon.reset_development_clock()') is not null as there",
  );
  if (found[0]?.there !== true) return false;
  const { rows } = await client.query<{ was_set: boolean }>(
    `select carillon.reset_development_clock() as was_set
     where not exists (select from carillon.deployment where kind in ('development', 'demo'))`,
  );
  return rows[0]?.was_set === true;
}

async function createViews(client: PoolClient, files: readonly SqlFile[]): Promise<boolean> {
  const combined = sha256Of(files.map((file) => `${file.name} ${file.sha256}\n`).join(""));
  if ((await appliedTo(client)).get(viewsEntry) === combined) return false;
  await inTransaction(client, async () => {
    await dropViews(client);
    for (const file of files) await runFile(client, file);
    await record(client, viewsEntry, combined);
  });
  return true;
}

/** One statement for all of them, so that views may stand on each other while others' views on ours still refuse it. */
async function dropViews(client: PoolClient): Promise<void> {
  await client.query("delete from carillon.migrations where name = $1", [viewsEntry]);
  const { rows } = await client.query<{ statement: string | null }>(
    `select 'drop view ' || string_agg(format('carillon.%I', relname), ', ') as statement
       from pg_catalog.pg_class
      where relnamespace = 'carillon'::regnamespace and relkind = 'v'`,
  );
  const statement = rows[0]?.statement;
  if (statement) await client.query(statement);
}

async function record(client: PoolClient, name: string, sha256: string): Promise<void> {
  await client.query("insert into carillon.migrations (name, sha256) values ($1, $2)", [name, sha256]);
}

async function inTransaction(client: PoolClient, run: () => Promise<void>): Promise<void> {
  await client.query("begin");
  try {
    await run();
    await client.query("commit");
  } catch (error) {
    // on a lost connection this fails as well, and the first error is the one that tells
    await client.query("rollback").catch(() => undefined);
    throw error;
  }
}

async function readMigrations(directory: string): Promise<readonly SqlFile[]> {
  const files = await readSqlFiles(join(directory, "migrations"));
  const odd = files.find((file) => !migrationName.test(file.name));
  const twin = files.find((file, index) => files[index - 1]?.name.slice(0, 4) === file.name.slice(0, 4));
  if (odd !== undefined) throw new CarillonError("bad_configuration", `${odd.name} must be named NNNN_name.sql.`);
  if (twin !== undefined) throw new CarillonError("bad_configuration", `${twin.name}: its number is taken.`);
  return files;
}

async function readSqlFiles(directory: string): Promise<readonly SqlFile[]> {
  const names = (await readdir(directory).catch(nothingWhenMissing)).filter((name) => name.endsWith(".sql")).sort();
  return Promise.all(
    names.map(async (name) => {
      const text = await readFile(join(directory, name), "utf8");
      return { name, text, sha256: sha256Of(text) };
    }),
  );
}

function nothingWhenMissing(error: unknown): string[] {
  if (codeOf(error) === "ENOENT") return [];
  throw error;
}

function sha256Of(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}
