import { type Monotonic, monotonicMs } from "../clock.ts";

/**
 * The window: how many deliveries of this worker may have an intent and no recorded outcome, all groups together. It is
 * what a crash can leave in doubt. Whoever writes an intent takes room first and gives it back as outcomes are recorded.
 */
export class Window {
  readonly size: number;
  readonly #monotonic: Monotonic;
  readonly #waiting: Waiting[] = [];
  #free: number;
  #movedAtMs: number;

  constructor(size: number, monotonic: Monotonic = monotonicMs) {
    this.size = size;
    this.#free = size;
    this.#monotonic = monotonic;
    this.#movedAtMs = monotonic();
  }

  get taken(): number {
    return this.size - this.#free;
  }

  /** monotonic milliseconds of the last time that room was given or given back */
  get movedAtMs(): number {
    return this.#movedAtMs;
  }

  /**
   * Waits for room, first come first served. A quarter of the window is waited for (or `want`, if that is less), so that
   * chunks do not crumble; of what is free then, up to `want` is given.
   * @param whole what can't be divided needs at least so much room; a window that is smaller is given as a whole
   * @returns the room given, at least 1
   */
  take(want: number, signal: AbortSignal, whole = 1): Promise<number> {
    signal.throwIfAborted();
    const least = Math.min(this.size, Math.max(whole, Math.min(want, Math.ceil(this.size / 4))));
    return new Promise((resolve, reject) => {
      const stop = () => {
        this.#waiting.splice(this.#waiting.indexOf(waiting), 1);
        reject(signal.reason);
        // who came next may want less
        this.#serve();
      };
      const waiting: Waiting = { want: Math.max(want, least), least, resolve, signal, stop };
      signal.addEventListener("abort", stop, { once: true });
      this.#waiting.push(waiting);
      this.#serve();
    });
  }

  give(room: number): void {
    if (room === 0) return;
    this.#free += room;
    if (this.#free > this.size) throw new Error("more room was given back than was taken");
    this.#serve();
  }

  /** One user with more endpoints than the whole window: the intent stands, so the window is overdrawn until then. */
  overdraw(room: number): void {
    this.#free -= room;
  }

  #serve(): void {
    this.#movedAtMs = this.#monotonic();
    for (let next = this.#waiting[0]; next !== undefined && this.#free >= next.least; next = this.#waiting[0]) {
      this.#waiting.shift();
      next.signal.removeEventListener("abort", next.stop);
      const room = Math.min(next.want, this.#free);
      this.#free -= room;
      next.resolve(room);
    }
  }
}

interface Waiting {
  readonly want: number;
  readonly least: number;
  readonly signal: AbortSignal;
  resolve(room: number): void;
  stop(): void;
}
