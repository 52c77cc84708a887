import { type FinalState, finalStateOf, isOutcomeCode } from "../../src/reminder/outcome-code.ts";
import type { Database } from "../../src/store/database.ts";
import {
  type BucketIds,
  inDoubtCount,
  ledgerImbalance,
  openIntents,
  overlappingChunks,
  stuckGroups,
  unresolvedBeyondExpiry,
} from "../../src/store/invariants.ts";
import { readLedger, readLedgerFaults, type UserInLedger } from "./ledger.ts";

/** One request of one reminder as the receiver's own append-only log has it. */
export interface Receipt {
  readonly id: string;
  /** the outside user id */
  readonly user: string;
  readonly bucket: string;
  readonly group: number;
  readonly node: string;
  readonly attempt: number;
  readonly receivedAtMs: number;
  readonly dueAtMs: number;
  /** the receiver said that it did not take it (429, 4xx): no reminder was given */
  readonly refused?: boolean;
}

/** What must have become of the users that the test itself made; "nothing": never in the ledger, never received. */
export interface Expected {
  readonly bucketId?: string;
  readonly users: readonly { readonly user: string; readonly result: FinalState | "nothing" }[];
}

export interface CheckOptions {
  readonly db: Pick<Database, "pool">;
  /** null: nothing that keeps a log received (memory channel) */
  readonly receiverLog: readonly Receipt[] | null;
  readonly expected?: Expected;
  /** W: deliveries with an intent and no outcome, per worker */
  readonly window: number;
  readonly mode: "at_least_once" | "at_most_once";
  /** workers that did not end by themselves */
  readonly kills: number;
  /** the database, the network or the receiver failed as well: in-doubts aren't bounded by the kills */
  readonly otherFaults?: boolean;
  /** for what was sent in time to arrive: how long after the expiry a receipt may be logged; default 500 */
  readonly travelMs?: number;
  /** how long after its expiry or its lease's end work may wait to be finished or taken over; default 15,000 */
  readonly recoveryMs?: number;
}

export type ViolationName =
  | "missing final state"
  | "final state not owed"
  | "double final state"
  | "overlapping chunks"
  | "groups don't cover all slots"
  | "several ids of one delivery"
  | "lost"
  | "wrong result"
  | "early"
  | "after expiry"
  | "unresolved beyond expiry"
  | "stuck group"
  | "duplicates beyond in doubt"
  | "duplicate at most once"
  | "in doubt without a cause"
  | "in doubt beyond the window"
  | "open intents beyond the window"
  | "sent without intent"
  | "delivered but not received"
  | "stale write"
  | "sent after leaving"
  | "more endpoints than one"
  | "not needed by anybody"
  | "sent after cancelling"
  | "counters differ from the ledger";

export interface Violation {
  readonly name: ViolationName;
  readonly detail: string;
}

export class InvariantsViolated extends Error {
  override readonly name = "InvariantsViolated";
  readonly violations: readonly Violation[];

  constructor(violations: readonly Violation[]) {
    super(["invariants are violated:", ...violations.map(({ name, detail }) => `- ${name}: ${detail}`)].join("\n"));
    this.violations = violations;
  }
}

/**
 * Checks the engine's invariants (ARCHITECTURE.md) as far as the database and the receiver's log show them.
 *
 * @throws InvariantsViolated with everything that does not hold
 */
export async function checkInvariants(options: CheckOptions): Promise<void> {
  const violations = await findViolations(options);
  if (violations.length > 0) throw new InvariantsViolated(violations);
}

export async function findViolations(options: CheckOptions): Promise<readonly Violation[]> {
  const { db, expected, receiverLog } = options;
  const bucketIds = expected?.bucketId === undefined ? null : [expected.bucketId];
  const log = receiverLog?.filter(({ bucket }) => bucketIds === null || bucketIds.includes(bucket)) ?? null;
  const ledger = await readLedger(db, bucketIds);
  return [
    ...(await ledgerViolations(options, bucketIds)),
    ...(await doubtViolations(options, bucketIds)),
    ...(log === null ? [] : receiptViolations(options, log, ledger)),
    ...(expected === undefined ? [] : expectationViolations(expected, log, ledger)),
  ];
}

/** What the database says against itself: 1, 2, 3, 4, 7, 8 and 9. */
async function ledgerViolations(options: CheckOptions, bucketIds: BucketIds): Promise<Violation[]> {
  const { db, recoveryMs = 15_000 } = options;
  const imbalance = await ledgerImbalance(db, bucketIds);
  const examplesOf = (fault: string) => imbalance.examples.filter((example) => example.fault === fault);
  const unresolved = await unresolvedBeyondExpiry(db, { boundMs: recoveryMs, bucketIds });
  return [
    ...some("missing final state", examplesOf("missing"), imbalance.missing),
    ...some("final state not owed", examplesOf("not owed"), imbalance.notOwed),
    ...some("double final state", examplesOf("held twice"), imbalance.heldTwice),
    ...some("overlapping chunks", await overlappingChunks(db, bucketIds)),
    ...some("unresolved beyond expiry", unresolved),
    ...some("stuck group", await stuckGroups(db, { graceMs: recoveryMs, bucketIds })),
    ...(await readLedgerFaults(db, bucketIds)).flatMap(({ name, examples }) => some(name, examples)),
  ];
}

/** In-doubts have a cause and a bound, and so have intents without outcome: 5 and 7. */
async function doubtViolations(options: CheckOptions, bucketIds: BucketIds): Promise<Violation[]> {
  const { db, window, kills, otherFaults = false } = options;
  const inDoubts = await inDoubtCount(db, bucketIds);
  const beyond = (await openIntents(db, bucketIds)).filter(({ deliveries }) => deliveries > window);
  const violations = some("open intents beyond the window", beyond);
  if (!otherFaults && kills === 0 && inDoubts > 0) {
    violations.push({ name: "in doubt without a cause", detail: `${inDoubts}, though nothing was killed` });
  }
  if (!otherFaults && kills > 0 && inDoubts > kills * window) {
    violations.push({
      name: "in doubt beyond the window",
      detail: `${inDoubts} with ${kills} killed at a window of ${window}`,
    });
  }
  return violations;
}

/** What the receiver saw, held against the ledger: 1, 3, 5 and 6. */
function receiptViolations(
  { mode, travelMs = 500 }: CheckOptions,
  log: readonly Receipt[],
  ledger: ReadonlyMap<string, UserInLedger>,
): Violation[] {
  const found = new Findings();
  for (const receipt of log) {
    const { bucket, user, receivedAtMs } = receipt;
    const known = ledger.get(keyOf(bucket, user));
    if (receivedAtMs < (known?.dueAtMs ?? receipt.dueAtMs) || receivedAtMs < receipt.dueAtMs)
      found.add("early", receipt);
    if (known !== undefined && receivedAtMs > known.expiresAtMs + travelMs) found.add("after expiry", receipt);
  }
  let duplicates = 0;
  let inDoubts = 0;
  const receiptsByUser = Map.groupBy(log, ({ bucket, user }) => keyOf(bucket, user));
  for (const [key, receipts] of receiptsByUser) {
    const known = ledger.get(key);
    const sends = known?.deliveries.reduce((sum, delivery) => sum + delivery.sends, 0) ?? 0;
    if (receipts.length > sends) found.add("sent without intent", { key, receipts: receipts.length, intents: sends });
    const ids = Map.groupBy(receipts, ({ id }) => id);
    if (known !== undefined && ids.size > known.deliveries.length) {
      found.add("several ids of one delivery", { key, ids: [...ids.keys()] });
    }
    const doubts = known?.deliveries.reduce((sum, delivery) => sum + delivery.inDoubts, 0) ?? 0;
    const taken = [...ids.values()].map((same) => same.filter(({ refused }) => refused !== true).length);
    const repeats = taken.reduce((sum, times) => sum + Math.max(0, times - 1), 0);
    if (mode === "at_most_once" && repeats > 0) found.add("duplicate at most once", { key, repeats });
    else if (repeats > doubts) found.add("duplicates beyond in doubt", { key, repeats, inDoubts: doubts });
    duplicates += repeats;
  }
  for (const [key, { deliveries }] of ledger) {
    inDoubts += deliveries.reduce((sum, delivery) => sum + delivery.inDoubts, 0);
    const accepted = deliveries.filter(({ code }) => stateOf(code) === "delivered").length;
    const taken = (receiptsByUser.get(key) ?? []).filter(({ refused }) => refused !== true);
    if (accepted > new Set(taken.map(({ id }) => id)).size) found.add("delivered but not received", { key, accepted });
  }
  if (mode === "at_least_once" && duplicates > inDoubts) {
    found.add("duplicates beyond in doubt", { duplicates, inDoubts });
  }
  return found.violations();
}

/** The test's own list is the last word on who had to get what: 2 and 9. */
function expectationViolations(
  { bucketId, users }: Expected,
  log: readonly Receipt[] | null,
  ledger: ReadonlyMap<string, UserInLedger>,
): Violation[] {
  const found = new Findings();
  const received = new Set(
    log
      ?.filter(({ refused }) => refused !== true)
      .map(({ bucket, user }) => (bucketId === undefined ? user : keyOf(bucket, user))),
  );
  const ledgerByUser = Map.groupBy(ledger.values(), ({ user }) => user);
  for (const { user, result } of users) {
    const deliveries = (ledgerByUser.get(user) ?? []).flatMap((known) => known.deliveries);
    const states = deliveries.map(({ code }) => stateOf(code) ?? "none");
    const wasReceived = received.has(bucketId === undefined ? user : keyOf(bucketId, user));
    if (result === "delivered" && (log === null ? !states.includes("delivered") : !wasReceived)) {
      found.add("lost", { user, states });
    } else if (result === "nothing" ? deliveries.length > 0 || wasReceived : !states.includes(result)) {
      found.add("wrong result", { user, expected: result, states, wasReceived });
    } else if (wasReceived && (result === "suppressed" || result === "cancelled")) {
      found.add("wrong result", { user, expected: result, states, wasReceived });
    }
  }
  return found.violations();
}

function stateOf(code: number | null): FinalState | null {
  return code !== null && isOutcomeCode(code) ? finalStateOf(code) : null;
}

function keyOf(bucket: string, user: string): string {
  return `${bucket}/${user}`;
}

/** Gathers by name, so that a fault that hits thousands still reads as one line. */
class Findings {
  readonly #examples = new Map<ViolationName, unknown[]>();

  add(name: ViolationName, example: unknown): void {
    const examples = this.#examples.get(name);
    if (examples === undefined) this.#examples.set(name, [example]);
    else examples.push(example);
  }

  violations(): Violation[] {
    return [...this.#examples].flatMap(([name, examples]) => some(name, examples));
  }
}

const examplesShown = 3;

function some(name: ViolationName, examples: readonly unknown[], count = examples.length): Violation[] {
  if (count === 0) return [];
  const shown = examples.slice(0, examplesShown).map((example) => JSON.stringify(example));
  return [{ name, detail: `${count}, such as ${shown.join(" ")}` }];
}
