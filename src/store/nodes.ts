import type { Executor } from "./executor.ts";

export interface NodeStart {
  readonly name: string;
  readonly role: "api" | "worker";
  readonly pid: number;
  readonly version: string;
  /** groups at once */
  readonly slots: number;
}

/** Registers one start of a process; the number is never used again, whatever the node's name. */
export async function registerNode(executor: Executor, node: NodeStart): Promise<number> {
  const { rows } = await executor.query<{ node_id: number }>(
    "insert into carillon.nodes (name, role, pid, version, slots) values ($1, $2, $3, $4, $5) returning node_id",
    [node.name, node.role, node.pid, node.version, node.slots],
  );
  const [row] = rows;
  if (row === undefined) throw new Error("the node was not registered");
  return row.node_id;
}

/** @param clockSkewMs the node's wall clock minus Postgres' */
export async function beatNode(executor: Executor, nodeId: number, clockSkewMs: number | null): Promise<void> {
  await executor.query(
    "update carillon.nodes set heartbeat_at = clock_timestamp(), clock_skew_ms = coalesce($2, clock_skew_ms) where node_id = $1",
    [nodeId, clockSkewMs],
  );
}

export async function stopNode(executor: Executor, nodeId: number): Promise<void> {
  await executor.query("update carillon.nodes set stopped_at = clock_timestamp() where node_id = $1", [nodeId]);
}

/** What carillon.clock() shows, epoch milliseconds. How it runs against real time is in clock.ts. */
export async function readClock(executor: Executor): Promise<number> {
  const { rows } = await executor.query<{ now_ms: number }>(
    "select (extract(epoch from carillon.clock()) * 1000)::float8 as now_ms",
  );
  const [row] = rows;
  if (row === undefined) throw new Error("no clock");
  return row.now_ms;
}
