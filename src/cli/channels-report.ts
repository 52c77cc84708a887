import type { ReceivedReminder } from "../fakes/receiver-log.ts";
import { percentile, rounded } from "./figures.ts";

/** What one channel's far side saw. Milliseconds are real ones. */
export interface ChannelFigures {
  readonly users: number;
  readonly delivered: number;
  readonly lost: number;
  /** messages beyond the first with the same id: they replace it on a device, and ring nobody twice */
  readonly duplicates: number;
  readonly early: number;
  readonly first_lateness_ms: number;
  readonly p50_lateness_ms: number;
  readonly p99_lateness_ms: number;
  readonly makespan_ms: number;
  readonly reminders_per_s: number;
}

export interface ChannelsReport extends ChannelFigures {
  /** recorded ones */
  readonly in_doubt: number;
  readonly ledger_imbalance: number;
  readonly channels: Readonly<Record<string, ChannelFigures>>;
}

export interface ReportedUser {
  readonly userId: string;
  readonly channel: string;
}

type Received = ReportedUser & Pick<ReceivedReminder, "id" | "receivedAtMs">;

/**
 * @param users by channel, blank and what its far side knows them by
 * @param log of all far sides; what is about nobody of these is passed over
 * @param dueAtMs on real time
 */
export function channelsReport(
  users: ReadonlyMap<string, ReportedUser>,
  log: readonly ReceivedReminder[],
  dueAtMs: number,
  recorded: { readonly inDoubt: number; readonly ledgerImbalance: number },
): ChannelsReport {
  const entries = log.flatMap((entry) => {
    const user = users.get(`${entry.channel ?? "webhook"} ${entry.user}`);
    return user === undefined || entry.accepted === false
      ? []
      : [{ ...user, id: entry.id, receivedAtMs: entry.receivedAtMs }];
  });
  const of = [...users.values()];
  const channels = Object.fromEntries(
    [...new Set(of.map(({ channel }) => channel))].map((channel) => [
      channel,
      figures(
        of.filter((user) => user.channel === channel),
        entries.filter((entry) => entry.channel === channel),
        dueAtMs,
      ),
    ]),
  );
  const { inDoubt: in_doubt, ledgerImbalance: ledger_imbalance } = recorded;
  return { ...figures(of, entries, dueAtMs), in_doubt, ledger_imbalance, channels };
}

function figures(users: readonly ReportedUser[], entries: readonly Received[], dueAtMs: number): ChannelFigures {
  const latenessMs = entries.map(({ receivedAtMs }) => receivedAtMs - dueAtMs).sort((one, other) => one - other);
  const reached = new Set(entries.map(({ userId }) => userId));
  const ids = new Set(entries.map(({ channel, userId, id }) => `${channel} ${userId} ${id}`));
  const makespanMs = Math.max(0, latenessMs.at(-1) ?? 0);
  return {
    users: users.length,
    delivered: reached.size,
    lost: users.length - reached.size,
    duplicates: entries.length - ids.size,
    early: latenessMs.filter((ms) => ms < 0).length,
    first_lateness_ms: rounded(latenessMs[0] ?? 0),
    p50_lateness_ms: rounded(percentile(latenessMs, 0.5)),
    p99_lateness_ms: rounded(percentile(latenessMs, 0.99)),
    makespan_ms: rounded(makespanMs),
    reminders_per_s: makespanMs > 0 ? Math.round(ids.size / (makespanMs / 1000)) : 0,
  };
}
