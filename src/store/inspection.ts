import type pg from "pg";
import { readClocks } from "./clock.ts";
import type { Database } from "./database.ts";
import { type Executor, inTransaction } from "./executor.ts";

/** Rows of any statement, as text and numbers that print and serialise well. */
export interface Answer {
  readonly columns: readonly string[];
  readonly rows: readonly (readonly unknown[])[];
}

export interface ReadOptions {
  /** Postgres ends the reading after this; default 5 s */
  readonly timeoutMs?: number;
}

/**
 * Runs `read` in one short read-only transaction with one view of the data. Long readers are what slows a Postgres queue
 * down (nothing they might still see can be vacuumed away), so each has a time limit.
 *
 * @throws what `read` throws, or the driver's error; see `toCarillonError`
 */
export function readOnly<T>(
  db: Pick<Database, "pool">,
  read: (executor: Executor) => Promise<T>,
  { timeoutMs = 5000 }: ReadOptions = {},
): Promise<T> {
  return inTransaction(db, async (client) => {
    await client.query("set transaction isolation level repeatable read, read only");
    await client.query("select set_config('statement_timeout', $1, true)", [String(Math.ceil(timeoutMs))]);
    return read(client);
  });
}

/**
 * Runs one statement read-only.
 *
 * @param values of $1, $2, ... in order, as text
 */
export function ask(
  db: Pick<Database, "pool">,
  text: string,
  values: readonly string[] = [],
  options: ReadOptions = {},
): Promise<Answer> {
  const { timeoutMs = 5000 } = options;
  return readOnly(
    db,
    async (executor) => {
      const config: pg.QueryArrayConfig & pg.ClientConfig = {
        text,
        values: [...values],
        rowMode: "array",
        // the pool's own limit may be shorter than what this reader was given
        query_timeout: timeoutMs + 1000,
      };
      const { fields, rows } = await executor.query<unknown[]>(config);
      return {
        columns: fields.map((field) => field.name),
        rows: rows.map((row) => row.map((value, column) => plain(value, fields[column]?.dataTypeID))),
      };
    },
    options,
  );
}

const int8Oid = 20;
const numericOid = 1700;

/** The driver gives wide numbers as text, since not all fit; those that do are numbers to whoever reads them. */
function plain(value: unknown, dataTypeId: number | undefined): unknown {
  if (typeof value !== "string" || (dataTypeId !== int8Oid && dataTypeId !== numericOid)) return value;
  const number = Number(value);
  return Number.isSafeInteger(number) || dataTypeId === numericOid ? number : value;
}

export interface UpcomingBucket {
  readonly dueAt: Date;
  readonly dueInS: number;
  readonly topic: string;
  readonly place: string | null;
  readonly state: string;
  readonly population: number;
  readonly bucketId: string | null;
}

export interface BucketUnderWay {
  readonly bucketId: string;
  readonly topic: string;
  readonly dueAt: Date;
  readonly state: string;
  readonly population: number | null;
  readonly groups: number;
  readonly groupsFinished: number;
  readonly intended: number;
  readonly delivered: number;
  readonly failed: number;
  readonly inDoubts: number;
}

/** Groups of one bucket that are late in the same way. */
export interface LateGroups {
  readonly bucketId: string;
  readonly topic: string;
  readonly state: string;
  readonly heldBy: string | null;
  readonly groups: number;
  readonly lateMs: number;
  readonly fault: string | null;
}

export interface NodeLoad {
  readonly nodeId: number;
  readonly node: string;
  readonly role: string;
  readonly state: string;
  readonly heartbeatMsAgo: number;
  readonly groupsArmed: number;
  readonly groupsFiring: number;
  readonly clockSkewMs: number | null;
}

export interface Attention {
  readonly kind: string;
  readonly subject: string;
  readonly why: string;
  readonly whatToDo: string;
  readonly since: Date | null;
}

export interface Status {
  /** what due instants are compared with */
  readonly clock: Date;
  /** where that is not real time */
  readonly developmentClock: { readonly realTime: Date; readonly speed: number } | null;
  readonly attention: readonly Attention[];
  readonly late: readonly LateGroups[];
  readonly underWay: readonly BucketUnderWay[];
  readonly upcoming: readonly UpcomingBucket[];
  readonly nodes: readonly NodeLoad[];
}

export interface StatusOptions extends ReadOptions {
  /** rows of each part at most; default 10 */
  readonly limit?: number;
}

/** What an operator wants to know first, all as of one instant. */
export function readStatus(db: Pick<Database, "pool">, options: StatusOptions = {}): Promise<Status> {
  const { limit = 10 } = options;
  return readOnly(
    db,
    async (executor) => ({
      ...(await statusClocks(executor)),
      attention: await rowsOf<Attention>(executor, attentionText, limit),
      late: await rowsOf<LateGroups>(executor, lateText, limit),
      underWay: await rowsOf<BucketUnderWay>(executor, underWayText, limit),
      upcoming: await rowsOf<UpcomingBucket>(executor, upcomingText, limit),
      nodes: await rowsOf<NodeLoad>(executor, nodesText, limit),
    }),
    options,
  );
}

const attentionText = `
  select kind, subject, why, what_to_do as "whatToDo", since
  from carillon.attention order by since nulls last, kind, subject limit $1`;

/** A group that its owner is at work on is not late for a reason that anybody could remove: it is under way. */
const lateText = `
  select bucket_id as "bucketId", topic, state, held_by as "heldBy", count(*)::int as groups,
    max(late_ms)::float8 as "lateMs", max(last_fault) as fault
  from carillon.overdue_groups where state <> 'firing'
  group by bucket_id, topic, state, held_by order by max(late_ms) desc, bucket_id limit $1`;

const underWayText = `
  select bucket_id as "bucketId", topic, due_at as "dueAt", state, population, groups,
    groups_finished as "groupsFinished", intended, delivered, failed, in_doubts as "inDoubts"
  from carillon.bucket_progress
  where closed_at is null and due_at <= carillon.clock() order by due_at, bucket_id limit $1`;

const upcomingText = `
  select due_at as "dueAt", due_in_s::float8 as "dueInS", topic, place, state, population, bucket_id as "bucketId"
  from carillon.upcoming_buckets order by due_at, bucket_id limit $1`;

const nodesText = `
  select node_id as "nodeId", node, role, state, heartbeat_ms_ago::float8 as "heartbeatMsAgo",
    groups_armed::int as "groupsArmed", groups_firing::int as "groupsFiring", clock_skew_ms::float8 as "clockSkewMs"
  from carillon.node_load order by role, node_id limit $1`;

async function rowsOf<T extends object>(executor: Executor, text: string, limit: number): Promise<T[]> {
  const { rows } = await executor.query<T>(text, [limit]);
  return rows;
}

async function statusClocks(executor: Executor): Promise<Pick<Status, "clock" | "developmentClock">> {
  const { clockMs, realMs, speed } = await readClocks(executor);
  const isReal = speed === 1 && clockMs === realMs;
  return { clock: new Date(clockMs), developmentClock: isReal ? null : { realTime: new Date(realMs), speed } };
}

/** The time that due instants are compared with. */
export async function readNow(executor: Executor): Promise<Date> {
  const { rows } = await executor.query<{ clock: Date }>("select carillon.clock() as clock");
  const [row] = rows;
  if (row === undefined) throw new Error("no clock");
  return row.clock;
}
