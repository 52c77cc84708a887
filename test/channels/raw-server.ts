import { once } from "node:events";
import { createServer, type Socket } from "node:net";

/** A TCP server that does with each connection what the test says: for what no HTTP server would do. */
export interface RawServer extends AsyncDisposable {
  readonly port: number;
  /** connections taken so far */
  readonly connections: number;
  /** resolves when so many have been taken */
  whenConnected(count: number): Promise<void>;
}

export async function startRawServer(onConnection: (socket: Socket, ordinal: number) => void): Promise<RawServer> {
  const sockets = new Set<Socket>();
  let connections = 0;
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    socket.on("error", () => {});
    connections += 1;
    onConnection(socket, connections);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  return {
    port: address.port,
    get connections() {
      return connections;
    },
    async whenConnected(count) {
      while (connections < count) await once(server, "connection");
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** Calls `onRequest` with the body of each request on the connection, whole requests with a content-length only. */
export function onRequests(socket: Socket, onRequest: (body: string) => void): void {
  let pending = "";
  socket.on("data", (part: Buffer) => {
    pending += part.toString("latin1");
    for (;;) {
      const headEnd = pending.indexOf("\r\n\r\n");
      const length = Number(/content-length: (\d+)/i.exec(pending.slice(0, headEnd))?.[1] ?? Number.NaN);
      const end = headEnd + 4 + length;
      if (headEnd < 0 || pending.length < end) return;
      const body = pending.slice(headEnd + 4, end);
      pending = pending.slice(end);
      onRequest(body);
    }
  });
}
