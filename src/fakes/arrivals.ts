/** Counts what has arrived, and tells who waits for a count. */
export class Arrivals {
  readonly #waiters = new Set<{ readonly count: number; readonly reached: () => void }>();
  #count = 0;

  get count(): number {
    return this.#count;
  }

  add(count: number): void {
    this.#count += count;
    for (const waiter of this.#waiters) if (this.#count >= waiter.count) waiter.reached();
  }

  /** Resolves as soon as so many have arrived; rejects with the signal's reason. */
  when(count: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#count >= count) return resolve();
      if (signal?.aborted) return reject(signal.reason);
      const abort = () => {
        this.#waiters.delete(waiter);
        reject(signal?.reason);
      };
      const reached = () => {
        this.#waiters.delete(waiter);
        signal?.removeEventListener("abort", abort);
        resolve();
      };
      const waiter = { count, reached };
      this.#waiters.add(waiter);
      signal?.addEventListener("abort", abort, { once: true });
    });
  }
}
