import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import type { Express } from "express";
import { CarillonError } from "../errors.ts";

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
 * @throws CarillonError bad_configuration when the address is taken; the system's error when it can't be listened on
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
    server.once("error", (error: NodeJS.ErrnoException) => reject(listenFault(error, host, port)));
    server.listen(port, host, () => {
      server.removeAllListeners("error");
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

function listenFault(error: NodeJS.ErrnoException, host: string, port: number): Error {
  if (error.code !== "EADDRINUSE") return error;
  return new CarillonError("bad_configuration", `Port ${port} of ${host} is taken: set PORT to another one, or to 0.`);
}
