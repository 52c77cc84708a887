import type { Logger } from "./logger.ts";

/** The life of one program: from its start, over the first wish to stop, to its end. */
export interface Lifecycle {
  /** aborted by the first SIGTERM or SIGINT, or by `stop` */
  readonly stopping: AbortSignal;
  /** Has `stop` called at the end. What was added last is stopped first, so that nothing loses what it stands on. */
  onStop(name: string, stop: () => Promise<unknown> | unknown): void;
  /** Has the resource disposed of at the end, and returns it. */
  use<T extends AsyncDisposable>(name: string, resource: T): T;
  /** asks the program to stop, as a first signal would; a double stop is fine */
  stop(reason: string): void;
}

export interface LifecycleOptions {
  readonly log: Pick<Logger, "info" | "error">;
  /** how long each stop may take before the next one is begun; default 15 s */
  readonly stopLimitMs?: number;
  /** for tests: where signals come from */
  readonly signals?: SignalSource;
  /** for tests: ends the program at once */
  readonly exit?: (code: number) => void;
}

export interface SignalSource {
  on(signal: StopSignal, listener: (signal: StopSignal) => void): unknown;
  off(signal: StopSignal, listener: (signal: StopSignal) => void): unknown;
}

const exitCodes = { SIGTERM: 143, SIGINT: 130 } as const;
export type StopSignal = keyof typeof exitCodes;
const stopSignals: readonly StopSignal[] = ["SIGTERM", "SIGINT"];

/**
 * Runs a program until it returns. The first SIGTERM or SIGINT aborts `stopping` and lets the program come to its end
 * by itself; a second one ends it at once. Afterwards whatever was added to the lifecycle is stopped in reverse order.
 *
 * A program that lives until it is told to stop ends with `await untilAborted(lifecycle.stopping)`.
 *
 * @returns the exit code: 0, or 1 where a stop failed or took too long. A second signal ends the process itself, with
 *   128 + the signal's number
 * @throws what `main` throws, after everything has been stopped; the reason of `stopping` counts as a clean end
 */
export async function runUntilSignal(
  main: (lifecycle: Lifecycle) => Promise<void>,
  { log, stopLimitMs = 15_000, signals = process, exit = process.exit }: LifecycleOptions,
): Promise<number> {
  const stopping = new AbortController();
  let faults = 0;
  await using stack = new AsyncDisposableStack();

  function onSignal(signal: StopSignal): void {
    if (stopping.signal.aborted) {
      log.error({ signal }, "asked to stop again: ending at once");
      exit(exitCodes[signal]);
      return;
    }
    log.info({ signal }, "stopping");
    stopping.abort(new Error(`stopped by ${signal}`));
  }

  const lifecycle: Lifecycle = {
    stopping: stopping.signal,
    onStop(name, stop) {
      stack.defer(async () => {
        const fault = await faultOf(stop, stopLimitMs);
        if (fault === undefined) return;
        faults += 1;
        log.error({ part: name, err: fault }, "a part did not stop");
      });
    },
    use(name, resource) {
      lifecycle.onStop(name, () => resource[Symbol.asyncDispose]());
      return resource;
    },
    stop(reason) {
      if (!stopping.signal.aborted) stopping.abort(new Error(reason));
    },
  };

  for (const signal of stopSignals) signals.on(signal, onSignal);
  try {
    await main(lifecycle);
  } catch (error) {
    if (!stopping.signal.aborted || error !== stopping.signal.reason) throw error;
  } finally {
    // whoever still waits for the wish to stop is on the way out with the rest
    lifecycle.stop("the program has ended");
    await stack.disposeAsync();
    for (const signal of stopSignals) signals.off(signal, onSignal);
  }
  return faults === 0 ? 0 : 1;
}

/** Resolves when the signal is aborted; at once if it already is. */
export function untilAborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}

async function faultOf(stop: () => Promise<unknown> | unknown, limitMs: number): Promise<unknown> {
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<Error>((resolve) => {
    timer = setTimeout(() => resolve(new Error(`it took longer than ${limitMs} ms`)), limitMs);
  });
  const stopped = (async () => {
    try {
      await stop();
      return undefined;
    } catch (error) {
      return error ?? new Error("it failed without saying why");
    }
  })();
  try {
    return await Promise.race([stopped, limit]);
  } finally {
    clearTimeout(timer);
  }
}
