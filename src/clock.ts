/**
 * Monotonic milliseconds. All local deadlines (leases, timeouts, the wait for an instant) are kept on it: a node's
 * wall clock may jump and therefore decides nothing (ARCHITECTURE.md, "Time").
 */
export type Monotonic = () => number;

export const monotonicMs: Monotonic = () => performance.now();

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
