/**
 * Monotonic milliseconds. All local deadlines (leases, timeouts, the wait for an instant) are kept on it: a node's
 * wall clock may jump and therefore decides nothing (ARCHITECTURE.md, "Time").
 */
export type Monotonic = () => number;

export const monotonicMs: Monotonic = () => performance.now();

/**
 * How carillon.clock(), by which due instants live, runs against Postgres' real time: what both showed at one instant,
 * and how many of its seconds go into a real one. In production both are the same, at speed 1.
 */
export interface ClockReading {
  /** epoch milliseconds */
  readonly realMs: number;
  /** epoch milliseconds */
  readonly clockMs: number;
  readonly speed: number;
}

/** In production. */
export const realTime: ClockReading = { realMs: 0, clockMs: 0, speed: 1 };

/** What carillon.clock() shows at a real time; epoch milliseconds. */
export function clockAt(reading: ClockReading, realMs: number): number {
  return reading.clockMs + (realMs - reading.realMs) * reading.speed;
}

/** The real time at which carillon.clock() shows this; epoch milliseconds. */
export function realTimeOf(reading: ClockReading, clockMs: number): number {
  return reading.realMs + (clockMs - reading.clockMs) / reading.speed;
}

/** Resolves after `ms`, or rejects with the signal's reason as soon as it is aborted. */
export function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(signal.reason);
      return;
    }
    const stop = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(
      () => {
        signal?.removeEventListener("abort", stop);
        resolve();
      },
      Math.max(0, ms),
    );
    signal?.addEventListener("abort", stop, { once: true });
  });
}
