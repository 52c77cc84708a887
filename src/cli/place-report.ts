import type { ReceivedReminder } from "../fakes/receiver-log.ts";
import type { PlayedClock } from "./played-clock.ts";

/** A line of a scenario's report: what the people of one place got, by the receiver's log. */
export interface PlaceReport {
  readonly place: string;
  readonly zone: string;
  readonly people: number;
  /** by the scenario's oracle; null: nothing may come */
  readonly expected_due_at: string | null;
  /** reminders */
  readonly received: number;
  /** what the clock showed at the first of them */
  readonly first_received_at: string | null;
  /** real milliseconds */
  readonly first_lateness_ms: number | null;
}

export interface WatchedPlace {
  readonly place: string;
  readonly zone: string;
  readonly people: ReadonlySet<string>;
  /** epoch milliseconds */
  readonly expectedDueAtMs: number | null;
}

/**
 * A reminder that is later than this came at another time, whatever it says it was due at. Wrong zones are wrong by half
 * an hour at least, and at the scenarios' own speed that is longer.
 */
const lateAtMostMs = 5000;

/**
 * Holds the receiver's log against what each place must get.
 *
 * @returns a line a place, and in words which got another minute than its own, or none
 */
export function placeReports(
  places: readonly WatchedPlace[],
  log: readonly ReceivedReminder[],
  clock: PlayedClock,
): { readonly places: readonly PlaceReport[]; readonly faults: readonly string[] } {
  const byUser = Map.groupBy(log, ({ user }) => user);
  const faults: string[] = [];
  const reports = places.map((watched) => {
    const { place, zone, people, expectedDueAtMs } = watched;
    const receipts = [...people].flatMap((user) => byUser.get(user) ?? []);
    const latenessMs = receipts.map(({ receivedAtMs, dueAtMs }) => receivedAtMs - clock.realTimeOf(dueAtMs));
    const firstMs = Math.min(...receipts.map(({ receivedAtMs }) => receivedAtMs));
    const reached = new Set(receipts.map(({ user }) => user)).size;
    const elsewhen = receipts.filter(
      ({ dueAtMs, receivedAtMs }) =>
        expectedDueAtMs === null ||
        dueAtMs !== expectedDueAtMs ||
        receivedAtMs < clock.realTimeOf(expectedDueAtMs) ||
        receivedAtMs > clock.realTimeOf(expectedDueAtMs) + lateAtMostMs,
    );
    const [example] = elsewhen;
    if (example !== undefined) {
      const shown = iso(clock.shownAt(example.receivedAtMs));
      const own = expectedDueAtMs === null ? "none was to come" : `its own is ${iso(expectedDueAtMs)}`;
      faults.push(`${place} got ${elsewhen.length} at another minute, such as one at ${shown}; ${own}`);
    }
    if (expectedDueAtMs !== null && reached < people.size) {
      faults.push(`${people.size - reached} of ${people.size} people of ${place} got none`);
    }
    return {
      place,
      zone,
      people: people.size,
      expected_due_at: expectedDueAtMs === null ? null : iso(expectedDueAtMs),
      received: receipts.length,
      first_received_at: receipts.length === 0 ? null : iso(clock.shownAt(firstMs)),
      first_lateness_ms: receipts.length === 0 ? null : Math.round(Math.min(...latenessMs) * 10) / 10,
    };
  });
  return { places: reports, faults };
}

function iso(ms: number): string {
  return new Date(Math.floor(ms / 1000) * 1000).toISOString().replace(".000Z", "Z");
}
