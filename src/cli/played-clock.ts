import { type ClockReading, clockAt, realTimeOf } from "../clock.ts";

/**
 * A development clock that was set on several times: how it went each time. Due instants are told by where they stand on
 * it, receipts by when they came.
 */
export class PlayedClock {
  readonly #readings: ClockReading[] = [];

  /** @param reading begins when the last one ends, and never before it on either clock */
  add(reading: ClockReading): void {
    this.#readings.push(reading);
  }

  /** When it showed this, or would have if it hadn't been set on meanwhile; both epoch milliseconds. */
  realTimeOf(clockMs: number): number {
    return realTimeOf(
      this.#last(({ clockMs: fromMs }) => fromMs <= clockMs),
      clockMs,
    );
  }

  /** What it showed at a real time; both epoch milliseconds. */
  shownAt(realMs: number): number {
    return clockAt(
      this.#last(({ realMs: fromMs }) => fromMs <= realMs),
      realMs,
    );
  }

  #last(begun: (reading: ClockReading) => boolean): ClockReading {
    const reading = this.#readings.findLast(begun) ?? this.#readings[0];
    if (reading === undefined) throw new Error("the clock was never set");
    return reading;
  }
}
