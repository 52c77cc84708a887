import { tableOf } from "../../../src/cli/table.ts";
import type { ProviderChannel } from "../../../src/fakes/receiver-log.ts";
import { median, type Target } from "../report.ts";
import type { Entry, Run } from "./run.ts";

/** An entry with its rounds. */
export interface Measured {
  readonly entry: Entry;
  readonly runs: readonly Run[];
}

/** The medians of one entry's rounds. */
export interface Row {
  readonly sender: string;
  readonly channel: ProviderChannel;
  readonly kind: Entry["kind"];
  readonly rounds: number;
  readonly messagesPerS: number;
  /** CPU time of the sender's process for a message, all threads */
  readonly senderCpuUs: number;
  /** of its main thread */
  readonly mainCpuUs: number;
  /** the same of the fake's */
  readonly fakeCpuUs: number;
  /** 0 to 1: how much of the time the fake computed. It has one thread, so that at 1 it is what sets the pace */
  readonly fakeBusy: number;
}

/** How fast the fake can be at all. */
export interface Ceiling {
  readonly channel: ProviderChannel;
  /** reached by the flood */
  readonly floodPerS: number;
  /** what one core could answer at the flood's CPU time a message */
  readonly cpuPerS: number;
  readonly busiest: { readonly sender: string; readonly fakeBusy: number } | null;
  /** whether some sender was held up by the fake, so that its figure is the fake's */
  readonly reached: boolean;
}

export const leastOfBare = 0.8;
export const leastOfEncryption = 0.85;
export const leastTimesPeer = 2;
/** FCM's default quota: 600,000 messages a minute for a project */
export const fcmQuotaPerS = 10_000;
/** From this on the fake, and no longer the sender, sets the pace. */
const busyFrom = 0.95;

function perS(run: Run): number {
  return (run.accepted / run.elapsedMs) * 1_000;
}

export function rowOf({ entry, runs }: Measured): Row {
  const of = (measure: (run: Run) => number) => median(runs.map(measure));
  return {
    sender: entry.label,
    channel: entry.channel,
    kind: entry.kind,
    rounds: runs.length,
    messagesPerS: of(perS),
    senderCpuUs: of(({ cpuMs, accepted }) => (cpuMs / accepted) * 1_000),
    mainCpuUs: of(({ mainCpuMs, accepted }) => (mainCpuMs / accepted) * 1_000),
    fakeCpuUs: of(({ fakeCpuMs, accepted }) => (fakeCpuMs / accepted) * 1_000),
    fakeBusy: of(({ fakeCpuMs, elapsedMs }) => fakeCpuMs / elapsedMs),
  };
}

/** The median of the rounds' ratios: both ran in the same round, on a machine that was as fast to one as to the other. */
export function ratioOf(ours: Measured, other: Measured): number {
  const ratios = ours.runs.flatMap((run, round) => {
    const beside = other.runs[round];
    return beside === undefined ? [] : [perS(run) / perS(beside)];
  });
  return median(ratios);
}

/** The fastest of a kind: whatever is compared with is taken in its best setting. */
export function bestOf(measured: readonly Measured[], channel: ProviderChannel, kind: Entry["kind"]): Measured | null {
  const fitting = measured.filter(({ entry }) => entry.channel === channel && entry.kind === kind);
  const rate = ({ runs }: Measured) => median(runs.map(perS));
  return fitting.toSorted((one, other) => rate(other) - rate(one))[0] ?? null;
}

export function targetsOf(measured: readonly Measured[]): Target[] {
  const targets: Target[] = [];
  const hold = (channel: ProviderChannel, kind: Entry["kind"], least: number, what: (label: string) => string) => {
    const [ours, other] = [bestOf(measured, channel, "carillon"), bestOf(measured, channel, kind)];
    if (ours === null || other === null) return;
    const ratio = ratioOf(ours, other);
    targets.push({ target: `at least ${least} ${what(other.entry.label)}`, measured: ratio, met: ratio >= least });
  };
  for (const channel of ["fcm", "apns"] as const) {
    hold(channel, "bare", leastOfBare, (label) => `of ${label}`);
    hold(channel, "peer", leastTimesPeer, (label) => `x ${label}`);
  }
  hold("web-push", "encryption", leastOfEncryption, (label) => `of ${label}`);
  hold("web-push", "peer", leastTimesPeer, (label) => `x ${label}`);
  return targets;
}

export function ceilingsOf(rows: readonly Row[]): Ceiling[] {
  return rows.flatMap((flood) => {
    if (flood.kind !== "flood") return [];
    const others = rows.filter(({ channel, kind }) => channel === flood.channel && kind !== "flood");
    const busiest = others.toSorted((one, other) => other.fakeBusy - one.fakeBusy)[0] ?? null;
    return {
      channel: flood.channel,
      floodPerS: flood.messagesPerS,
      cpuPerS: 1_000_000 / flood.fakeCpuUs,
      busiest: busiest && { sender: busiest.sender, fakeBusy: busiest.fakeBusy },
      reached: busiest !== null && busiest.fakeBusy >= busyFrom,
    };
  });
}

/** Whether one machine that runs both would use FCM's default quota up; else where its time went. */
export function quotaLine(rows: readonly Row[], cores: number): string | null {
  const ours = rows.find(({ channel, kind }) => channel === "fcm" && kind === "carillon");
  if (ours === undefined) return null;
  const rate = ours.messagesPerS.toFixed(0);
  if (ours.messagesPerS >= fcmQuotaPerS) return `FCM's default quota of ${fcmQuotaPerS}/s is reached: ${rate}/s.`;
  const wanted = 1_000_000 / fcmQuotaPerS;
  return (
    `FCM's default quota of ${fcmQuotaPerS}/s is not reached: ${rate}/s. It leaves ${wanted} us for a message; ` +
    `the sender's main thread computes ${ours.mainCpuUs.toFixed(0)} us for it and the fake's ` +
    `${ours.fakeCpuUs.toFixed(0)}, on ${cores} cores.`
  );
}

/** The rows as a table for people. */
export function tableOfRows(rows: readonly Row[]): string {
  return tableOf(
    ["", "messages/s", "sender CPU us", "its main thread", "fake CPU us", "fake busy"],
    rows.map((row) => [
      row.sender,
      row.messagesPerS.toFixed(0),
      row.senderCpuUs.toFixed(0),
      row.mainCpuUs.toFixed(0),
      row.fakeCpuUs.toFixed(0),
      `${(row.fakeBusy * 100).toFixed(0)} %`,
    ]),
  ).trimEnd();
}

export function ceilingLine({ channel, floodPerS, cpuPerS, busiest, reached }: Ceiling): string {
  const busy = busiest === null ? "" : `, at most ${(busiest.fakeBusy * 100).toFixed(0)} % busy with ${busiest.sender}`;
  return (
    `The fake of ${channel} took ${floodPerS.toFixed(0)}/s of a flood, one core of it could answer ` +
    `${cpuPerS.toFixed(0)}/s: ${reached ? "its ceiling was reached" : "its ceiling was not reached"}${busy}.`
  );
}
