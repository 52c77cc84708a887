import { mkdtemp, rm } from "node:fs/promises";
import { cpus, tmpdir, totalmem } from "node:os";
import { join } from "node:path";
import { spawnProviders } from "../../../src/fakes/spawned-providers.ts";
import { progress, runProgram } from "../program.ts";
import type { Target } from "../report.ts";
import { type ChannelBenchOptions, readOptions, usage } from "./options.ts";
import { installPeers } from "./peers.ts";
import {
  type Ceiling,
  ceilingLine,
  ceilingsOf,
  type Measured,
  quotaLine,
  type Row,
  rowOf,
  tableOfRows,
  targetsOf,
} from "./report.ts";
import { Bench, type Entry, type Run } from "./run.ts";

/** One object for programs; what `--json` prints. */
interface Report {
  readonly users: number;
  readonly rounds: number;
  readonly machine: string;
  readonly rows: readonly Row[];
  readonly ceilings: readonly Ceiling[];
  readonly quota: string | null;
  readonly targets: readonly Target[];
  readonly ok: boolean;
}

const entries: readonly Entry[] = [
  { label: "Carillon, FCM", channel: "fcm", kind: "carillon", atOnce: 2 },
  { label: "bare node:http2, FCM, 2 connections", channel: "fcm", kind: "bare", atOnce: 2 },
  { label: "bare node:http2, FCM, 8 connections", channel: "fcm", kind: "bare", atOnce: 8 },
  { label: "firebase-admin sendEach, 1 call at once", channel: "fcm", kind: "peer", atOnce: 1 },
  { label: "firebase-admin sendEach, 4 calls at once", channel: "fcm", kind: "peer", atOnce: 4 },
  { label: "flood, FCM", channel: "fcm", kind: "flood", atOnce: 8 },
  { label: "Carillon, APNs", channel: "apns", kind: "carillon", atOnce: 2 },
  { label: "bare node:http2, APNs, 1 connection", channel: "apns", kind: "bare", atOnce: 1 },
  { label: "bare node:http2, APNs, 4 connections", channel: "apns", kind: "bare", atOnce: 4 },
  { label: "node-apn send, 1 connection", channel: "apns", kind: "peer", atOnce: 1 },
  { label: "node-apn send, 4 connections", channel: "apns", kind: "peer", atOnce: 4 },
  { label: "flood, APNs", channel: "apns", kind: "flood", atOnce: 4 },
  { label: "Carillon, Web Push", channel: "web-push", kind: "carillon", atOnce: 2 },
  { label: "encryption alone, Web Push", channel: "web-push", kind: "encryption", atOnce: 1 },
  { label: "bare node:http2, Web Push, 4 connections", channel: "web-push", kind: "bare", atOnce: 4 },
  { label: "web-push sendNotification, 16 connections", channel: "web-push", kind: "peer", atOnce: 16 },
  { label: "web-push sendNotification, 64 connections", channel: "web-push", kind: "peer", atOnce: 64 },
  { label: "flood, Web Push", channel: "web-push", kind: "flood", atOnce: 8 },
];

/** Rounds are interleaved, and each begins with another entry, so that a machine that slows down slows down all. */
async function measure({ users, rounds, only, profileDir }: ChannelBenchOptions): Promise<Report> {
  await installPeers();
  const folder = await mkdtemp(join(tmpdir(), "carillon-bench-"));
  try {
    const caFile = join(folder, "ca.pem");
    await using providers = await spawnProviders({ channels: only, caFile, decryptEvery: 50 });
    const bench = new Bench(providers, caFile, profileDir);
    const measured = entries
      .filter(({ channel }) => only.some((wanted) => wanted === channel))
      .map((entry) => ({ entry, runs: [] as Run[] }));
    for (let round = 0; round < rounds; round += 1) {
      const first = round % measured.length;
      for (const { entry, runs } of [...measured.slice(first), ...measured.slice(0, first)]) {
        const run = await bench.run(entry, users);
        runs.push(run);
        progress(`round ${round + 1}/${rounds}: ${entry.label}: ${((users / run.elapsedMs) * 1_000).toFixed(0)}/s`);
      }
    }
    return reportOf(measured, users, rounds);
  } finally {
    await rm(folder, { recursive: true });
  }
}

function reportOf(measured: readonly Measured[], users: number, rounds: number): Report {
  const cores = cpus();
  const rows = measured.map(rowOf);
  const targets = targetsOf(measured);
  return {
    users,
    rounds,
    machine: `${cores.length} x ${cores[0]?.model ?? ""}, ${Math.round(totalmem() / 2 ** 30)} GiB, Node ${process.version}`,
    rows,
    ceilings: ceilingsOf(rows),
    quota: quotaLine(rows, cores.length),
    targets,
    ok: targets.every((target) => target.met),
  };
}

function textOf({ users, rounds, machine, rows, ceilings, quota, targets }: Report): string {
  return [
    `${users} messages by each sender over TLS to one process of fakes; medians of ${rounds} rounds.`,
    `${machine}.`,
    tableOfRows(rows),
    ...ceilings.map(ceilingLine),
    ...(quota === null ? [] : [quota]),
    ...targets.map(({ target, measured, met }) => `${met ? "met" : "MISSED"}: ${target} (${measured.toFixed(2)})`),
    "",
  ].join("\n");
}

await runProgram({ usage, readOptions, measure, textOf });
