import { sleep } from "../clock.ts";
import { isTransient } from "../store/database.ts";

/**
 * Repeats what may be repeated until Postgres takes it: after a lost connection, a timeout, a restart. Anything else is
 * thrown on at once.
 * @param signal gives up, with its reason
 * @param onFault told of each failed try
 */
export async function persist<T>(
  signal: AbortSignal,
  run: (repeated: boolean) => Promise<T>,
  onFault: (error: unknown) => void,
): Promise<T> {
  for (let tries = 0; ; tries += 1) {
    signal.throwIfAborted();
    try {
      return await run(tries > 0);
    } catch (error) {
      if (!isTransient(error)) throw error;
      onFault(error);
      await sleep(Math.min(1000, 50 * 2 ** tries), signal);
    }
  }
}
