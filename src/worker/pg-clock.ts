import { type Monotonic, monotonicMs } from "../clock.ts";

/**
 * Postgres' clock, kept locally: an offset between it and the monotonic clock, taken from the quickest of the last
 * replies (its error is at most half of that reply's round trip). The node's wall clock has no say.
 */
export class PgClock {
  readonly #monotonic: Monotonic;
  readonly #samples: { readonly offsetMs: number; readonly roundTripMs: number }[] = [];
  #offsetMs: number | null = null;

  constructor(monotonic: Monotonic = monotonicMs) {
    this.#monotonic = monotonic;
  }

  /** Asks Postgres once, through `read`, and takes the reply into account. */
  async sample(read: () => Promise<number>): Promise<void> {
    const before = this.#monotonic();
    const pgMs = await read();
    const after = this.#monotonic();
    this.#samples.push({ offsetMs: pgMs - (before + after) / 2, roundTripMs: after - before });
    if (this.#samples.length > samplesKept) this.#samples.shift();
    const quickest = this.#samples.reduce((best, next) => (next.roundTripMs < best.roundTripMs ? next : best));
    this.#offsetMs = quickest.offsetMs;
  }

  /** Postgres' time now, epoch milliseconds. */
  nowMs(): number {
    if (this.#offsetMs === null) throw new Error("the clock was read before its first sample");
    return this.#monotonic() + this.#offsetMs;
  }

  /** How far this machine's wall clock is ahead of Postgres'. It decides nothing; operators want to know. */
  skewMs(wallMs: number): number {
    return wallMs - this.nowMs();
  }
}

const samplesKept = 10;
