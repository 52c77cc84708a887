import type { buildConnector } from "undici";
import { connectTarget } from "./warm-sockets.ts";

/**
 * Makes one connection (look-up, TCP and TLS) and closes it again, without a byte of a request.
 *
 * @throws what the connector says, or the signal's reason
 */
export function probeConnection(url: URL, connect: buildConnector.connector, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    if (signal.aborted) return abort();
    signal.addEventListener("abort", abort, { once: true });
    connect(connectTarget(url), (error, socket) => {
      signal.removeEventListener("abort", abort);
      socket?.destroy();
      if (error === null) resolve();
      else reject(error);
    });
  });
}
