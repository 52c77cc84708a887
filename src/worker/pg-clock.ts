import { type ClockReading, clockAt, type Monotonic, monotonicMs, realTime, realTimeOf } from "../clock.ts";

/**
 * Postgres' clocks, kept locally: an offset between its real time and the monotonic clock, taken from the quickest of the
 * last replies (its error is at most half of that reply's round trip), and how carillon.clock() runs against real time,
 * from the last reply alone: a development clock that was set anew counts at once. The node's wall clock has no say.
 */
export class PgClock {
  readonly #monotonic: Monotonic;
  readonly #samples: { readonly offsetMs: number; readonly roundTripMs: number }[] = [];
  #offsetMs: number | null = null;
  #reading = realTime;

  constructor(monotonic: Monotonic = monotonicMs) {
    this.#monotonic = monotonic;
  }

  /** Asks Postgres once, through `read`, and takes the reply into account. */
  async sample(read: () => Promise<ClockReading>): Promise<void> {
    const before = this.#monotonic();
    const reading = await read();
    const after = this.#monotonic();
    this.#samples.push({ offsetMs: reading.realMs - (before + after) / 2, roundTripMs: after - before });
    if (this.#samples.length > samplesKept) this.#samples.shift();
    const quickest = this.#samples.reduce((best, next) => (next.roundTripMs < best.roundTripMs ? next : best));
    this.#offsetMs = quickest.offsetMs;
    this.#reading = reading;
  }

  /** Postgres' real time now, epoch milliseconds: leases, jobs and next tries live by it. */
  realNowMs(): number {
    if (this.#offsetMs === null) throw new Error("the clock was read before its first sample");
    return this.#monotonic() + this.#offsetMs;
  }

  /** What carillon.clock() shows now, epoch milliseconds: due instants and expiries live by it. */
  nowMs(): number {
    return clockAt(this.#reading, this.realNowMs());
  }

  /** What carillon.clock() will show so many real milliseconds from now, epoch milliseconds. */
  shownIn(realMs: number): number {
    return clockAt(this.#reading, this.realNowMs() + realMs);
  }

  /** The real time at which carillon.clock() shows this; both epoch milliseconds. */
  realTimeOf(clockMs: number): number {
    return realTimeOf(this.#reading, clockMs);
  }

  /** Real milliseconds until carillon.clock() shows this (epoch milliseconds); negative: since. */
  realMsUntil(clockMs: number): number {
    return this.realTimeOf(clockMs) - this.realNowMs();
  }

  /** How far this machine's wall clock is ahead of Postgres'. It decides nothing; operators want to know. */
  skewMs(wallMs: number): number {
    return wallMs - this.realNowMs();
  }
}

const samplesKept = 10;
