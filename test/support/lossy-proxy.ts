import { connect, createServer, type Socket } from "node:net";

export interface LossyProxy extends AsyncDisposable {
  /** the database behind the proxy */
  readonly url: string;
  /** Until then every reply comes back: a node that can't reach Postgres at its start does not start. */
  begin(): void;
  /** how often a reply was lost, by statement */
  readonly lost: ReadonlyMap<string, number>;
}

/** The end of every reply: ReadyForQuery, outside a transaction. What was asked for is committed by then. */
const idle = Buffer.from([0x5a, 0, 0, 0, 5, 0x49]);

/**
 * Stands between a client and Postgres, and loses replies: a prepared statement goes through and is committed, and then
 * the connection breaks instead of its reply coming back.
 *
 * @param lose told of each execution of a named statement (its name, and how often it was executed since the beginning):
 *   whether its reply is to be lost
 */
export async function startLossyProxy(
  databaseUrl: string,
  names: readonly string[],
  lose: (name: string, before: number) => boolean,
): Promise<LossyProxy> {
  const target = new URL(databaseUrl);
  const executed = new Map<string, number>();
  const lost = new Map<string, number>();
  const sockets = new Set<Socket>();
  let begun = false;
  // a Bind message says portal (none) and statement, each with a zero behind it
  const binds = names.map((name) => ({ name, bytes: Buffer.from(`\0${name}\0`) }));

  function statementToLose(data: Buffer): string | undefined {
    if (!begun) return undefined;
    const bound = binds.find(({ bytes }) => data.includes(bytes));
    if (bound === undefined) return undefined;
    const before = executed.get(bound.name) ?? 0;
    executed.set(bound.name, before + 1);
    return lose(bound.name, before) ? bound.name : undefined;
  }

  const server = createServer((client) => {
    const upstream = connect(Number(target.port || 5432), target.hostname);
    let losing: string | undefined;
    const end = () => {
      client.destroy();
      upstream.destroy();
    };
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.setNoDelay(true);
      socket.on("error", end);
      socket.on("close", () => {
        sockets.delete(socket);
        end();
      });
    }
    client.on("data", (data) => {
      losing ??= statementToLose(data);
      upstream.write(data);
    });
    upstream.on("data", (data) => {
      if (losing === undefined) {
        client.write(data);
        return;
      }
      if (!data.subarray(-idle.length).equals(idle)) return;
      lost.set(losing, (lost.get(losing) ?? 0) + 1);
      end();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("the proxy has no port");
  const url = new URL(databaseUrl);
  url.hostname = "127.0.0.1";
  url.port = String(address.port);
  return {
    url: url.href,
    lost,
    begin: () => {
      begun = true;
    },
    [Symbol.asyncDispose]: async () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}
