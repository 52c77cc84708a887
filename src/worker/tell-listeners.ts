import type { Outcome, WebhookDestination } from "../channels/channel.ts";
import type { EventSender } from "../channels/webhook-events.ts";
import { type Monotonic, monotonicMs, sleep } from "../clock.ts";
import type { RateLimitedLogger } from "../logger.ts";
import { eventWaitMs } from "../reminder/retry-policy.ts";
import type { Database } from "../store/database.ts";
import {
  type ClaimedEvent,
  claimEvents,
  type DueListener,
  dueListeners,
  eventDays,
  expireEvents,
  finishEvents,
  gatherFacts,
  type PutOffEvent,
  putOffEvents,
  putOffListener,
  welcomeListener,
} from "../store/events.ts";
import type { DestinationBook } from "./destination-book.ts";
import { heldBack } from "./verdict.ts";

export interface TellerOptions {
  readonly db: Database;
  readonly destinations: Pick<DestinationBook, "find">;
  readonly sender: EventSender;
  /** how often it is looked for events */
  readonly sweepMs: number;
  /** nobody else sends what was claimed for so long */
  readonly leaseMs: number;
  readonly sendTimeoutMs: number;
  /** drawn evenly from [0, 1) */
  readonly random: () => number;
  readonly faults: RateLimitedLogger;
  readonly monotonic?: Monotonic;
}

/** Events of one listener that one node sends at a time: what its few connections can send within a lease. */
const batch = 20;
const tidyMs = 60_000;

/**
 * Tells listeners what has happened, until it is stopped. Any node may send any event; the outbox is looked at as often as
 * the sweep looks for work, so no job has to be added, and no row locked by all, where an event is written.
 *
 * Each listener is served by itself, so one that is slow or silent holds up no other. One that takes nothing is left alone
 * for longer and longer, whatever waits for it. Never rejects.
 *
 * @param stopping begins nothing new
 * @param abandon gives up on what is under way: it is sent again, by whoever comes next
 */
export async function tellListeners(
  options: TellerOptions,
  stopping: AbortSignal,
  abandon: AbortSignal,
): Promise<void> {
  const { db, sweepMs, faults, monotonic = monotonicMs } = options;
  const served = new Map<number, Promise<void>>();
  let gathering: Promise<void> | undefined;
  let tidiedAtMs = Number.NEGATIVE_INFINITY;

  async function look(): Promise<void> {
    gathering ??= gatherAll(options, stopping).finally(() => {
      gathering = undefined;
    });
    if (monotonic() - tidiedAtMs > tidyMs) {
      tidiedAtMs = monotonic();
      const expired = await expireEvents(db.pool);
      if (expired > 0)
        faults.warn("events expired", { expired, eventDays }, "events were taken by nobody and given up");
    }
    for (const listener of await dueListeners(db.pool)) {
      const { destinationId } = listener;
      if (served.has(destinationId)) continue;
      const serving = serve(options, listener, stopping, abandon).finally(() => served.delete(destinationId));
      served.set(destinationId, serving);
    }
  }

  while (!stopping.aborted) {
    try {
      await look();
    } catch (error) {
      faults.warn("events", { err: error }, "events can't be looked for just now");
    }
    await sleep(sweepMs, stopping).catch(() => undefined);
  }
  await Promise.all([...served.values(), gathering]);
}

async function gatherAll({ db, faults }: TellerOptions, stopping: AbortSignal): Promise<void> {
  try {
    while (!stopping.aborted && (await gatherFacts(db, stopping)));
  } catch (error) {
    if (!stopping.aborted)
      faults.warn("event facts", { err: error }, "a closed bucket's facts can't be gathered just now");
  }
}

/** Sends a listener all that is due, a batch at a time, as long as it takes any of it. */
async function serve(
  options: TellerOptions,
  listener: DueListener,
  stopping: AbortSignal,
  abandon: AbortSignal,
): Promise<void> {
  try {
    while (!stopping.aborted && (await sendBatch(options, listener, abandon)));
  } catch (error) {
    options.faults.warn(`listener ${listener.destinationId}`, { err: error }, "events can't be sent just now");
    await putOff(options, listener, 0).catch(() => undefined);
  }
}

/** @returns whether it is worth going on */
async function sendBatch(options: TellerOptions, listener: DueListener, abandon: AbortSignal): Promise<boolean> {
  const { db, destinations, sender, leaseMs, sendTimeoutMs, monotonic = monotonicMs } = options;
  const { destinationId } = listener;
  const destination = await destinations.find(destinationId);
  if (destination?.channel !== "webhook") return false;
  const sendUntilMs = monotonic() + leaseMs - sendTimeoutMs;
  const events = await claimEvents(db.pool, destinationId, { limit: batch, leaseMs });
  if (events.length === 0) return false;
  const outcomes = await sendAll(sender, destination, events, {
    timeoutMs: sendTimeoutMs,
    mayBegin: () => !abandon.aborted && monotonic() < sendUntilMs,
    signal: abandon,
  });
  const taken = events.filter(({ data }, index) => data === null || outcomes[index]?.kind === "accepted");
  const putOffs = events.flatMap((event, index) => putOffOf(options, event, outcomes[index]));
  const askedMs = Math.max(0, ...outcomes.map(askedToWaitMs));
  if (taken.length > 0)
    await finishEvents(
      db.pool,
      taken.map(({ eventId }) => eventId),
    );
  if (putOffs.length > 0) await putOffEvents(db.pool, putOffs);
  if (taken.length > 0) await welcomeListener(db.pool, destinationId);
  const tookNothing = taken.length === 0 && putOffs.some(({ fault }) => fault !== null);
  if (tookNothing || askedMs > 0) await putOff(options, listener, askedMs);
  return taken.length > 0 && askedMs === 0;
}

/** One outcome an event; what has nothing to tell any more is not sent. */
async function sendAll(
  sender: EventSender,
  destination: WebhookDestination,
  events: readonly ClaimedEvent[],
  how: { readonly timeoutMs: number; readonly mayBegin: () => boolean; readonly signal: AbortSignal },
): Promise<readonly (Outcome | undefined)[]> {
  const told = events.filter(({ data }) => data !== null);
  const outcomes = await sender.send({
    destination,
    events: told.map(({ kind, ...event }) => ({ ...event, type: kind })),
    ...how,
  });
  const byEvent = new Map(told.map((event, index) => [event, outcomes[index]]));
  return events.map((event) => byEvent.get(event));
}

/** Whatever it was, only a 2xx is an answer: the listener may be set right tomorrow, and then should hear of today. */
function putOffOf(
  { random }: TellerOptions,
  { eventId, attempt }: ClaimedEvent,
  outcome: Outcome | undefined,
): PutOffEvent[] {
  if (outcome === undefined || outcome.kind === "accepted") return [];
  if (outcome.kind === "retry" && outcome.reason === heldBack) return [{ eventId, attempt, waitMs: 0, fault: null }];
  const waitMs = eventWaitMs(attempt, askedToWaitMs(outcome), random());
  return [{ eventId, attempt, waitMs, fault: outcome.reason }];
}

function askedToWaitMs(outcome: Outcome | undefined): number {
  return outcome !== undefined && "retryAfterMs" in outcome ? (outcome.retryAfterMs ?? 0) : 0;
}

/** @param askedMs what it asked for itself */
function putOff(
  { db, random }: TellerOptions,
  { destinationId, failures }: DueListener,
  askedMs: number,
): Promise<void> {
  return putOffListener(db.pool, destinationId, eventWaitMs(failures, askedMs, random()));
}
