import type { Outcome } from "../channels/channel.ts";
import type { Chunk, Member } from "../store/chunk.ts";
import { outcomeStands } from "../store/outcome.ts";
import type { WorkerContext } from "./context.ts";
import type { HeldGroup } from "./held-group.ts";
import { type Judged, ledgerEntry } from "./ledger-entry.ts";
import { persist } from "./patience.ts";
import { type HeldBack, judge } from "./verdict.ts";

/**
 * Records what becomes of a chunk's members: every few milliseconds what has come in by then, and the rest with the last
 * of them. What Postgres can't take stays here and is offered again until it stands or the fence refuses it.
 */
export class ChunkRecord {
  readonly #worker: WorkerContext;
  readonly #held: HeldGroup;
  readonly #chunk: Chunk;
  readonly #onDeferred: (waitMs: number) => void;
  readonly #giveRoom: (room: number) => void;
  readonly #finished = Promise.withResolvers<void>();
  #pending: Judged[] = [];
  #open: number;
  #parts = 0;
  #flushing = false;
  #timer: NodeJS.Timeout | undefined;

  /**
   * @param onDeferred told after how many milliseconds a deferred member, or what stood by for one, is to be tried
   * @param giveRoom gives the window back what is no longer without outcome
   */
  constructor(
    worker: WorkerContext,
    held: HeldGroup,
    chunk: Chunk,
    onDeferred: (waitMs: number) => void,
    giveRoom: (room: number) => void,
  ) {
    this.#worker = worker;
    this.#held = held;
    this.#chunk = chunk;
    this.#onDeferred = onDeferred;
    this.#giveRoom = giveRoom;
    this.#open = chunk.members.length;
  }

  /** Resolves when the outcome of every member has been recorded, or refused. Never rejects. */
  get finished(): Promise<void> {
    return this.#finished.promise;
  }

  settle(members: readonly Member[], outcomes: readonly (Outcome | HeldBack)[]): void {
    const { clock, random } = this.#worker;
    const { group } = this.#held;
    const nowMs = clock.nowMs();
    // tries and what a receiver asks for are waited for on real time
    const [realNowMs, realExpiresAtMs] = [clock.realNowMs(), clock.realTimeOf(group.expiresAtMs)];
    for (const [position, member] of members.entries()) {
      const outcome = outcomes[position];
      if (outcome === undefined) continue;
      const verdict = judge(outcome, {
        deliveryMode: group.topic.deliveryMode,
        attempt: this.#chunk.attempt,
        nowMs: realNowMs,
        expiresAtMs: realExpiresAtMs,
        random: random(),
      });
      if (verdict.next !== null) this.#onDeferred(verdict.next.waitMs);
      const { index, hashSlot, userNumber, ordinal } = member;
      const afterDueMs = nowMs - group.dueAtMs;
      this.#pending.push({ index, hashSlot, userNumber, ordinal, verdict, afterDueMs, takenOver: false });
    }
    if (this.#pending.length === this.#open) void this.#flush();
    else this.#timer ??= setTimeout(() => void this.#flush(), this.#worker.flushMs);
  }

  async #flush(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#flushing) return;
    this.#flushing = true;
    while (this.#pending.length > 0) {
      const judged = this.#pending;
      this.#pending = [];
      await this.#record(judged);
      this.#open -= judged.length;
      this.#giveRoom(judged.length);
      // what came in meanwhile waits for company, unless it is the last
      if (this.#pending.length > 0 && this.#pending.length < this.#open) {
        this.#timer = setTimeout(() => void this.#flush(), this.#worker.flushMs);
        break;
      }
    }
    this.#flushing = false;
    if (this.#open === 0) this.#finished.resolve();
  }

  async #record(judged: Judged[]): Promise<void> {
    const { db, statements, leaseMs, faults } = this.#worker;
    const { group } = this.#held;
    const whole = judged.length === this.#chunk.members.length;
    // a whole record has no indexes: it follows the chunk's own order
    if (whole) judged.sort((one, other) => one.index - other.index);
    const record = {
      fence: group,
      dueDay: group.dueDay,
      chunkNumber: this.#chunk.chunkNumber,
      part: this.#parts,
      leaseMs,
      ...ledgerEntry(judged, { whole, repeated: this.#chunk.attempt > 0, standby: this.#chunk.standby }),
    };
    this.#parts += 1;
    try {
      const stands = await persist(
        neverAborted,
        async (repeated) => (repeated && (await outcomeStands(db.pool, record))) || statements.record(record),
        (error) => faults.warn("outcome", { err: error }, "outcomes can't be recorded just now; they are kept"),
      );
      if (!stands) this.#held.lose("its outcomes were refused");
      // somebody's turn has come, or somebody is not needed: by now, so it is looked for right away
      else if ((record.exceptions?.ended.length ?? 0) > 0) this.#onDeferred(0);
    } catch (error) {
      this.#worker.faults.error("outcome", { err: error }, "outcomes could not be recorded; they stay in doubt");
      this.#held.lose("its outcomes could not be recorded");
    }
  }
}

/** Outcomes are worth waiting for even while the process stops: its supervisor decides how long. */
const neverAborted = new AbortController().signal;
