import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import type { Express } from "express";

export interface ApiServer extends AsyncDisposable {
  readonly url: string;
  readonly port: number;
  /** takes no new connections, lets requests under way finish for `drainMs`, then ends them; twice is fine */
  close(): Promise<void>;
}

export interface ApiServerOptions {
  readonly host: string;
  /** 0: any free one */
  readonly port: number;
  /** how long requests under way may go on once it closes; default 5 s */
  readonly drainMs?: number;
}

/** Longer than the idle timeout of the usual load balancers (60 s), so that they end idle connections and not we. */
const keepAliveMs = 65_000;
const headersTimeoutMs = 10_000;
const requestTimeoutMs = 30_000;

/**
 * Listens with `app` (`createApp`). Slow senders are cut off: headers within 10 s, the whole request within 30 s.
 *
 * @throws the system's error when the address can't be listened on
 */
export async function startApi(app: Express, options: ApiServerOptions): Promise<ApiServer> {
  const { host, port, drainMs = 5000 } = options;
  const server = createServer(
    {
      headersTimeout: headersTimeoutMs,
      requestTimeout: requestTimeoutMs,
      keepAliveTimeout: keepAliveMs,
      connectionsCheckingInterval: 5000,
      maxHeaderSize: 16 * 1024,
    },
    app,
  );
  server.maxRequestsPerSocket = 0;
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, host, () => {
      server.off("error", reject);
      resolve();
    });
  });
  const address = server.address() as AddressInfo;
  const shownHost = address.family === "IPv6" ? `[${address.address}]` : address.address;
  let closed: Promise<void> | undefined;
  const close = () => {
    closed ??= new Promise((resolve) => {
      const cutOff = setTimeout(() => server.closeAllConnections(), drainMs);
      server.close(() => {
        clearTimeout(cutOff);
        resolve();
      });
    });
    return closed;
  };
  return { url: `http://${shownHost}:${address.port}`, port: address.port, close, [Symbol.asyncDispose]: close };
}
