import { Kysely, PostgresDialect, type Transaction } from "kysely";
import pg from "pg";
import { CarillonError } from "../errors.ts";
import type { DB } from "./schema.generated.ts";

export type { DB } from "./schema.generated.ts";

/** Postgres, as the rest of the program sees it. */
export interface Database extends AsyncDisposable {
  readonly pool: pg.Pool;
  /** names tables of the schema `carillon`; statements written as `sql` name their schema themselves */
  readonly kysely: Kysely<DB>;
}

export interface DatabaseOptions {
  readonly url: string;
  /** as `pg_stat_activity` shows it */
  readonly applicationName: string;
  /** connections at most */
  readonly max: number;
  /** Postgres ends a statement after this; default 5 s; 0: never */
  readonly statementTimeoutMs?: number;
  /** Postgres gives up waiting for a lock after this; default 3 s; 0: never */
  readonly lockTimeoutMs?: number;
  /** Postgres ends a session that leaves a transaction open without working on it for this long; default 10 s */
  readonly idleInTransactionTimeoutMs?: number;
  /** to be connected, or to be given a connection of the pool, within; default 5 s */
  readonly connectTimeoutMs?: number;
  /**
   * A connection through PgBouncer in transaction mode: it refuses the settings that we would send when connecting.
   * Only our own timeouts hold then; give the role the others (`alter role ... set statement_timeout`).
   */
  readonly throughPooler?: boolean;
  /**
   * Plans each named statement once a connection. For few statements that are run very often, and whose plan does not
   * hang on their arguments: planning the intent anew costs a quarter of running it (1.0 of 4.5 ms).
   */
  readonly genericPlans?: boolean;
  /**
   * Commits don't wait for the disk. For what may be forgotten when Postgres crashes: jobs, which only wake; leases and
   * claims, since an intent that stands has had all that was committed before it written, its own claim too.
   */
  readonly lazyCommits?: boolean;
  /** an unused connection is closed after this; default 30 s; 0: never */
  readonly idleTimeoutMs?: number;
  /** told of connections that broke, in use or not */
  readonly onError?: (error: Error) => void;
}

/**
 * Opens the one kind of pool that this program uses. Connections are made when first needed, so this does not fail;
 * a database that can't be reached shows at the first statement.
 *
 * Every wait is bounded: connecting, waiting for a free connection, a lock, a statement, an idle transaction; and, for
 * a peer that went away without a word, the reply to a statement (here) and the socket (at Postgres, which then frees
 * our locks).
 */
export function openDatabase(options: DatabaseOptions): Database {
  const { url, applicationName, max, statementTimeoutMs = 5000, connectTimeoutMs = 5000, onError } = options;
  const pool = new pg.Pool({
    connectionString: options.throughPooler ? url : withSettings(url, settingsOf(options)),
    application_name: applicationName,
    max,
    connectionTimeoutMillis: connectTimeoutMs,
    // Postgres' own timeout comes first where Postgres answers at all: its error is the better one
    ...(statementTimeoutMs === 0 ? {} : { query_timeout: statementTimeoutMs + 1000 }),
    idleTimeoutMillis: options.idleTimeoutMs ?? 30_000,
    keepAlive: true,
    keepAliveInitialDelayMillis: 5000,
    allowExitOnIdle: false,
    types: columnTypes(),
  });
  // An error that nobody listens for ends the process. The pool listens to its idle clients only, and reports those
  // again: so each client is listened to for its whole life, and the pool's own report is dropped.
  pool.on("error", () => undefined);
  pool.on("connect", (client) => {
    client.on("error", (error) => onError?.(error));
    endWhenUnanswered(client);
  });
  const kysely = new Kysely<DB>({ dialect: new PostgresDialect({ pool }) }).withSchema("carillon");
  let closed: Promise<void> | undefined;
  return {
    pool,
    kysely,
    [Symbol.asyncDispose]: () => {
      closed ??= pool.end();
      return closed;
    },
  };
}

/**
 * Runs `run` in one transaction, which is rolled back when it throws. Keep it short and never wait for the network in
 * it: an open transaction holds back vacuum for the whole database.
 *
 * @throws what `run` throws, or the driver's error; see `toCarillonError`
 */
export function withTransaction<T>(
  db: Pick<Database, "kysely">,
  run: (transaction: Transaction<DB>) => Promise<T>,
): Promise<T> {
  return db.kysely.transaction().execute(run);
}

/** SQLSTATE classes and codes after which the same statement may well succeed: on a new connection, or simply again. */
const transientClasses = ["08", "53"];
const transientCodes = new Set(["40001", "40P01", "57P01", "57P02", "57P03", "57014", "55P03", "25006", "25P03"]);
const transientSystemCodes = new Set([
  "ECONNREFUSED",
  "ECONNRESET",
  "EPIPE",
  "ETIMEDOUT",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "EHOSTDOWN",
  "ENETDOWN",
  "EAI_AGAIN",
  "ENOTFOUND",
]);
/** pg reports these by message alone */
const transientMessages =
  /^(Query read timeout|timeout e?xceeded when trying to connect|Connection terminated|Client has encountered a connection error|Client was closed|Cannot use a pool after calling end|This socket has been ended)/;

/**
 * Whether an error says that Postgres is away, busy or changing hands rather than that the statement is wrong: a lost
 * connection, a timeout, a deadlock or failed serialisation, a server that shuts down, is read-only or out of resources.
 * A statement that failed so may nevertheless have been committed.
 */
export function isTransient(error: unknown): boolean {
  if (error instanceof AggregateError) return error.errors.some(isTransient);
  if (!(error instanceof Error)) return false;
  const code = codeOf(error);
  // a protocol violation is a fault of ours, though its class is that of lost connections
  if (code === "08P01") return false;
  if (code !== undefined && /^[0-9A-Z]{5}$/.test(code)) {
    if (transientCodes.has(code) || transientClasses.some((start) => code.startsWith(start))) return true;
  }
  if (code !== undefined && transientSystemCodes.has(code)) return true;
  return transientMessages.test(error.message) || isTransient(error.cause);
}

/** The SQLSTATE (or system error code) of an error, if it has one. */
export function codeOf(error: unknown): string | undefined {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : undefined;
}

/** Says any error in the words of the catalogue: `database_unavailable`, `schema_out_of_date` or `internal`. */
export function toCarillonError(error: unknown): CarillonError {
  if (error instanceof CarillonError) return error;
  if (isTransient(error)) {
    return new CarillonError("database_unavailable", "Postgres can't be reached or did not answer in time.", {
      cause: error,
    });
  }
  const code = codeOf(error);
  // an undefined table, schema, column or function
  if (code === "42P01" || code === "3F000" || code === "42703" || code === "42883") {
    return new CarillonError(
      "schema_out_of_date",
      "The database lacks what this program needs: run carillon migrate.",
      {
        cause: error,
      },
    );
  }
  return new CarillonError("internal", "A statement failed.", { cause: error });
}

function settingsOf(options: DatabaseOptions): Record<string, string | number> {
  return {
    statement_timeout: options.statementTimeoutMs ?? 5000,
    lock_timeout: options.lockTimeoutMs ?? 3000,
    // and what is planned for good while a table is empty must not read it whole later
    ...(options.genericPlans === true ? { plan_cache_mode: "force_generic_plan", enable_seqscan: "off" } : {}),
    ...(options.lazyCommits === true ? { synchronous_commit: "off" } : {}),
    // statements here are short: compiling one would take longer than running it
    jit: "off",
    idle_in_transaction_session_timeout: options.idleInTransactionTimeoutMs ?? 10_000,
    // a client that vanished without a word is found within 10 s, and its locks are freed
    tcp_keepalives_idle: 4,
    tcp_keepalives_interval: 2,
    tcp_keepalives_count: 3,
    tcp_user_timeout: 10_000,
    // what the driver reads from text does not depend on how the server is set
    timezone: "UTC",
    datestyle: "ISO",
    intervalstyle: "iso_8601",
  };
}

/** Settings travel in the start-up message: no round trip more, and none is missed by a connection made later. */
function withSettings(url: string, settings: Record<string, string | number>): string {
  const ours = Object.entries(settings).map(([name, value]) => `-c ${name}=${value}`);
  const parsed = new URL(url);
  // an operator's own options come last and win
  const theirs = parsed.searchParams.get("options");
  parsed.searchParams.set("options", [...ours, ...(theirs === null ? [] : [theirs])].join(" "));
  return parsed.href;
}

/** A `date` is a day of the calendar, not an instant in this process' zone: it stays text. */
function columnTypes(): pg.CustomTypesConfig {
  const overrides = new pg.TypeOverrides();
  const dateOid = 1082;
  const dateArrayOid = 1182;
  overrides.setTypeParser(dateOid, (text: string) => text);
  overrides.setTypeParser(dateArrayOid, daysOf);
  return overrides;
}

function daysOf(text: string): (string | null)[] {
  const inside = text.slice(1, -1);
  return inside === "" ? [] : inside.split(",").map((day) => (day === "NULL" ? null : day));
}

/**
 * A client whose statement was not answered stays wedged behind it, yet would go back to the pool as if it were sound.
 * Ending it makes the pool drop it when it is released, whoever releases it.
 */
function endWhenUnanswered(client: pg.PoolClient): void {
  const query = client.query.bind(client) as (...statement: unknown[]) => unknown;
  const watched = (...statement: unknown[]): unknown => {
    const answer = query(...statement);
    if (answer instanceof Promise) {
      answer.catch((error: unknown) => {
        if (error instanceof Error && error.message === "Query read timeout")
          (client as EndableClient).end(() => undefined);
      });
    }
    return answer;
  };
  client.query = watched as typeof client.query;
}

type EndableClient = pg.PoolClient & { end(ended: () => void): void };
