import type { Outcome } from "../channels/channel.ts";
import { type Monotonic, monotonicMs } from "../clock.ts";
import { unreachable } from "../errors.ts";
import { authWaitMs } from "../reminder/retry-policy.ts";
import { heldBack } from "./verdict.ts";

/** So many sends in a row without any answer, and the far side counts as silent. */
const silentAfter = 20;
/** Then it is asked again after this, which doubles each time it stays silent. */
const silenceMs = 2_000;
const silenceMaxMs = 60_000;
/**
 * So many refusals in a row are about the credential, or about all that is sent; fewer may be about the endpoints, which
 * come from outside: one that belongs to another project must not stop all others.
 */
const refusedAfter = 5;
/** What is let through to find out whether it answers again. */
const probes = 5;
/** Whoever has not answered anything for so long is slow, and gets no more than its share of the window until it does. */
const slowAfterMs = 1_000;

/** Why a circuit is open: `refused` needs a hand (a credential), the others heal by themselves. */
export type Opening = "refused" | "asked to wait" | "silent";

export interface CircuitState {
  readonly opening: Opening;
  readonly reason: string;
}

/**
 * Whether a destination is worth sending to just now, as this worker has found. Closed: everything goes. Open: nothing goes
 * until a time. Half open, once that time has come: a few go, and what becomes of them decides.
 *
 * What does not go was certainly not sent, so it burns no attempt. The circuit keeps one far side's trouble from being
 * paid for by everybody else: a credential that is refused (401, 403) would be offered a thousand times more, and a host
 * that swallows requests would fill the window with those that wait for their timeout.
 */
export class Circuit {
  readonly #share: number;
  readonly #monotonic: Monotonic;
  #state: CircuitState | null = null;
  #openUntilMs = 0;
  #underWay = 0;
  /** sends since the last answer that ended without one */
  #unanswered = 0;
  /** refusals of the credential, or to take anything now, since the last answer of another kind */
  #refusals = 0;
  #silences = 0;
  /** monotonic; of the last answer, or of the first send after nothing was under way */
  #heardAtMs = 0;

  /** @param share how many may be under way to a far side that does not answer */
  constructor(share: number, monotonic: Monotonic = monotonicMs) {
    this.#share = Math.max(probes, share);
    this.#monotonic = monotonic;
  }

  /** null while it is closed */
  get state(): CircuitState | null {
    return this.#state;
  }

  /** Whether something that was admitted should still go: asked right before its first byte. */
  get isOpen(): boolean {
    return this.#state !== null && this.#monotonic() < this.#openUntilMs;
  }

  /** How many of so many may go now; they count as under way until they are settled. */
  admit(count: number): number {
    const admitted = Math.max(0, Math.min(count, this.#room()));
    if (admitted > 0 && this.#underWay === 0) this.#heardAtMs = this.#monotonic();
    this.#underWay += admitted;
    return admitted;
  }

  /** What was admitted does not go after all. */
  withdraw(count: number): void {
    this.#underWay -= count;
  }

  /** How long what was not admitted should wait, milliseconds. */
  get waitMs(): number {
    return Math.max(slowAfterMs, this.#openUntilMs - this.#monotonic());
  }

  /** @returns whether the circuit is another one than before: opened, for another reason, or closed */
  settled(outcomes: readonly Outcome[]): boolean {
    const before = this.#state;
    this.#underWay -= outcomes.length;
    for (const outcome of outcomes) this.#learn(outcome);
    return this.#state?.opening !== before?.opening;
  }

  #room(): number {
    const nowMs = this.#monotonic();
    if (this.#state !== null) return nowMs < this.#openUntilMs ? 0 : probes - this.#underWay;
    const slow = this.#underWay > 0 && nowMs - this.#heardAtMs > slowAfterMs;
    return slow ? this.#share - this.#underWay : Number.POSITIVE_INFINITY;
  }

  #learn(outcome: Outcome): void {
    if (outcome.kind === "accepted") this.#heard();
    else if (outcome.kind === "retry" && outcome.reason === heldBack) return;
    else if (outcome.kind === "auth") this.#wasRefused("refused", outcome.reason, authWaitMs, false);
    else if (asksToWait(outcome)) {
      this.#wasRefused("asked to wait", outcome.reason, outcome.retryAfterMs, outcome.forAll === true);
    } else if (mayBeSilence(outcome)) this.#heardNothing(outcome.reason);
    else this.#heard();
  }

  #wasRefused(opening: Opening, reason: string, waitMs: number, forAll: boolean): void {
    this.#heardAtMs = this.#monotonic();
    this.#unanswered = 0;
    this.#refusals += 1;
    const failedProbe = this.#state !== null && this.#heardAtMs >= this.#openUntilMs;
    if (forAll || failedProbe || this.#refusals >= refusedAfter) this.#open(opening, reason, waitMs);
  }

  #heard(): void {
    this.#heardAtMs = this.#monotonic();
    this.#unanswered = 0;
    this.#refusals = 0;
    // what was sent before it opened may still be answered; only a probe's answer closes it
    if (this.#state === null || this.#heardAtMs < this.#openUntilMs) return;
    this.#state = null;
    this.#silences = 0;
  }

  #heardNothing(reason: string): void {
    this.#unanswered += 1;
    const failedProbe = this.#state !== null && this.#monotonic() >= this.#openUntilMs;
    if (!failedProbe && (this.#state !== null || this.#unanswered < silentAfter)) return;
    const waitMs = Math.min(silenceMaxMs, silenceMs * 2 ** this.#silences);
    this.#silences += 1;
    this.#open("silent", reason, waitMs);
  }

  #open(opening: Opening, reason: string, waitMs: number): void {
    const untilMs = this.#monotonic() + waitMs;
    // the longest wait that was asked for holds
    if (this.isOpen && untilMs <= this.#openUntilMs) return;
    this.#state = { opening, reason };
    this.#openUntilMs = untilMs;
  }
}

type Failed = Exclude<Outcome, { kind: "accepted" }>;
type AsksToWait = Extract<Outcome, { kind: "retry" }> & { readonly retryAfterMs: number };

function asksToWait(outcome: Failed): outcome is AsksToWait {
  return outcome.kind === "retry" && outcome.status !== undefined && outcome.retryAfterMs !== undefined;
}

/** Without a status: no reply came, or there was no connection; unless the far side itself refused a stream. */
function mayBeSilence(outcome: Failed): boolean {
  switch (outcome.kind) {
    case "retry":
      return outcome.status === undefined && outcome.heard !== true;
    case "in_doubt":
      return outcome.status === undefined;
    case "rejected":
    case "gone":
    case "auth":
      return false;
    default:
      return unreachable(outcome);
  }
}
