import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import type pg from "pg";

/** What has been used up to now; differences of two are what is measured. */
export interface Usage {
  /** bytes of WAL written by the whole server */
  readonly walBytes: number;
  /** user and system time of the contender's process, all threads */
  readonly nodeCpuMs: number;
  /** of all processes of the Postgres server, those that have ended included */
  readonly postgresCpuMs: number;
}

/** USER_HZ: what Linux counts CPU time in for /proc, whatever the kernel's own tick is (proc_pid_stat(5)) */
const ticksPerSecond = 100;

/**
 * Reads both at once.
 * @param node pid of the contender's process
 * @param postmaster pid of the server's first process
 */
export async function readUsage(client: pg.ClientBase, node: number, postmaster: number): Promise<Usage> {
  const [wal, nodeStat, postgresCpuMs] = await Promise.all([
    client.query<{ bytes: number }>("select (pg_current_wal_lsn() - '0/0'::pg_lsn)::float8 as bytes"),
    readStat(node),
    serverCpuMs(postmaster),
  ]);
  return { walBytes: wal.rows[0]?.bytes ?? 0, nodeCpuMs: nodeStat.ownMs, postgresCpuMs };
}

export function usageBetween(before: Usage, after: Usage): Usage {
  return {
    walBytes: after.walBytes - before.walBytes,
    nodeCpuMs: after.nodeCpuMs - before.nodeCpuMs,
    postgresCpuMs: after.postgresCpuMs - before.postgresCpuMs,
  };
}

/** @returns the pid of the first process of the server that runs on this directory */
export async function postmasterOf(dataDir: string): Promise<number> {
  const text = await readFile(join(dataDir, "postmaster.pid"), "utf8");
  return Number(text.split("\n", 1)[0]);
}

/** A backend that ends is counted among its parent's ended children from then on, so nothing is lost or counted twice. */
async function serverCpuMs(postmaster: number): Promise<number> {
  const pids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name)).map(Number);
  const stats = await Promise.all(pids.map((pid) => readStat(pid).catch(() => null)));
  const children = stats.filter((stat) => stat?.parent === postmaster);
  const own = await readStat(postmaster);
  return children.reduce((sum, stat) => sum + (stat?.ownMs ?? 0), own.ownMs + own.endedChildrenMs);
}

/** User and system time of one process up to now, all threads, to 10 ms. */
export async function cpuMsOf(pid: number): Promise<number> {
  return (await readStat(pid)).ownMs;
}

interface Stat {
  readonly parent: number;
  readonly ownMs: number;
  readonly endedChildrenMs: number;
}

async function readStat(pid: number): Promise<Stat> {
  return parseStat(await readFile(`/proc/${pid}/stat`, "utf8"));
}

/** Fields as proc_pid_stat(5) numbers them; the second, the program's name, may hold anything, so it is cut off first. */
export function parseStat(text: string): Stat {
  const fields = text
    .slice(text.lastIndexOf(")") + 2)
    .split(" ")
    .map(Number);
  const field = (number: number) => fields[number - 3] ?? Number.NaN;
  const msOf = (ticks: number) => (ticks * 1000) / ticksPerSecond;
  return { parent: field(4), ownMs: msOf(field(14) + field(15)), endedChildrenMs: msOf(field(16) + field(17)) };
}
