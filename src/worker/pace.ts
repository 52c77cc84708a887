import { type Monotonic, monotonicMs, sleep } from "../clock.ts";
import type { Reservation } from "../store/outlets.ts";

/** A block lasts about so long at the destination's pace, so that many nodes ask seldom and none hoards. */
const blockMs = 250;
/** Whoever would wait longer gives its place up: it would keep the window from others. */
export const paceWaitMs = 1_000;
/** A destination that has no pace is asked again after this. */
const unpacedMs = 5_000;

/**
 * One node's share of a destination's pace. Sends are taken from a block that was reserved for this node in Postgres; when
 * it is used up, or its time is over, the next one is reserved.
 */
export class Pace {
  readonly #reserve: (count: number, withinMs: number) => Promise<Reservation>;
  readonly #monotonic: Monotonic;
  #turn: Promise<unknown> = Promise.resolve();
  #credit = 0;
  #creditEndsAtMs = 0;
  #perSecond = 1;
  #unpacedUntilMs = 0;

  constructor(reserve: (count: number, withinMs: number) => Promise<Reservation>, monotonic: Monotonic = monotonicMs) {
    this.#reserve = reserve;
    this.#monotonic = monotonic;
  }

  /**
   * Waits until so many may be sent, if that is within a second.
   * @returns 0: now; else nothing was taken, and it is worth trying again after so many milliseconds
   */
  take(count: number, signal: AbortSignal): Promise<number> {
    if (this.#monotonic() < this.#unpacedUntilMs) return Promise.resolve(0);
    // one after another, so that a block is shared by those who wait for it
    const turn = this.#turn.then(() => this.#take(count, signal));
    this.#turn = turn.catch(() => undefined);
    return turn;
  }

  async #take(count: number, signal: AbortSignal): Promise<number> {
    signal.throwIfAborted();
    if (this.#credit >= count && this.#monotonic() < this.#creditEndsAtMs) {
      this.#credit -= count;
      return 0;
    }
    const block = Math.max(count, Math.ceil((this.#perSecond * blockMs) / 1000));
    const reservation = await this.#reserve(block, paceWaitMs);
    switch (reservation.kind) {
      case "unpaced":
        this.#unpacedUntilMs = this.#monotonic() + unpacedMs;
        return 0;
      case "full":
        return Math.max(1, reservation.waitMs);
      case "reserved": {
        const { waitMs, lastsMs } = reservation;
        this.#perSecond = lastsMs > 0 ? (block / lastsMs) * 1000 : this.#perSecond;
        this.#credit = block - count;
        this.#creditEndsAtMs = this.#monotonic() + waitMs + lastsMs + blockMs;
        if (waitMs > 0) await sleep(waitMs, signal);
        return 0;
      }
    }
  }
}
